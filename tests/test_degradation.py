"""The enhancement recipe: what each step does, in figures, and what is drawn once for all frames."""
import dataclasses

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.sample import Triplet, make_sample
from degradation import Degradation, Draw, degrade, gaussian_kernel, jpeg, make_degradation, unsharp_mask
from media.resize import low_resolution

NOTHING = dict(sharpen=0.0, resize=0.0, blur=0.0, noise=0.0, jpeg=0.0, blend=0.0)


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 12, 16, 3), np.uint8)
    return np.stack([cv2.resize(frame, (128, 96), interpolation=cv2.INTER_CUBIC) for frame in noise])


def test_every_step_has_its_probability():
    rng = np.random.default_rng(1)
    recipe = Degradation(resize=0.2, blur=0.4, noise=0.6, jpeg=0.8, blend=0.5, gray=0.3)
    draws = [recipe.draw(rng) for _ in range(2000)]
    for step, probability in (("scale", 0.2), ("blur", 0.4), ("noise", 0.6), ("quality", 0.8), ("clean", 0.5)):
        assert abs(np.mean([getattr(draw, step) is not None for draw in draws]) - probability) < 0.05, step
    assert abs(np.mean([draw.gray_noise for draw in draws]) - 0.3) < 0.05
    qualities = [draw.quality for draw in draws if draw.quality is not None]
    assert set(qualities) == set(range(60, 91))
    ways = {draw.interpolation for draw in draws}
    assert ways == {(a, b) for a in (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
                    for b in (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)}
    used = np.array([[draw.scale is not None, draw.noise is not None, draw.quality is not None] for draw in draws])
    assert abs(np.corrcoef(used.T) - np.eye(3)).max() < 0.1, "the steps are drawn independently"


@pytest.mark.parametrize("gray", [False, True])
def test_noise_has_the_drawn_deviation_and_a_new_pattern_in_each_frame(gray):
    clean = np.full((2, 100, 100, 3), 0.5, np.float32)
    noise = degrade(clean, Draw(noise=0.04, gray_noise=gray), np.random.default_rng(0)) - clean
    assert abs(noise.std() - 0.04) < 0.001 and abs(noise.mean()) < 0.001
    channels = np.corrcoef(noise[0].reshape(-1, 3).T)[0, 1]
    assert channels > 0.999 if gray else abs(channels) < 0.05
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_one_draw_for_both_frames(frames):
    """Two equal input frames stay equal where no noise is added, whatever else is drawn."""
    same = np.stack([frames[0], frames[1], frames[0]])
    recipe = Degradation(resize=1, blur=1, noise=0, jpeg=1, blend=1)
    for seed in range(20):
        _, inputs = recipe(same, np.random.default_rng(seed))
        assert np.array_equal(inputs[0], inputs[1])
        assert np.abs(inputs - low_resolution(same[::2])).max() > 0.01


def test_seeded(frames):
    recipe = Degradation()
    first, again, other = (recipe(frames, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[1], other[1])


def test_nothing_drawn_is_plain_reduction(frames):
    targets, inputs = Degradation(**NOTHING)(frames, np.random.default_rng(0))
    assert np.array_equal(targets, frames) and np.array_equal(inputs, low_resolution(frames[::2]))


def test_inputs_are_not_sharpened_and_targets_not_degraded(frames):
    recipe = dataclasses.replace(Degradation(**NOTHING), sharpen=1.0)
    targets, inputs = recipe(frames, np.random.default_rng(0))
    assert np.array_equal(inputs, low_resolution(frames[::2])), "inputs come from the frames as they were"
    assert np.array_equal(targets, unsharp_mask(frames)) and not np.array_equal(targets, frames)
    recipe = dataclasses.replace(Degradation(**NOTHING), noise=1.0, jpeg=1.0, blur=1.0)
    assert np.array_equal(recipe(frames, np.random.default_rng(0))[0], frames)


def test_unsharp_mask_steepens_edges_and_leaves_noise_alone():
    edge = np.full((1, 40, 40, 3), 80, np.uint8)
    edge[:, :, 20:] = 160
    edge = cv2.GaussianBlur(edge[0], (0, 0), 1.0)[None]
    sharp = unsharp_mask(edge).astype(int)
    assert np.diff(sharp[0, 20, :, 0]).max() > np.diff(edge[0, 20, :, 0].astype(int)).max() + 3
    assert np.array_equal(sharp[:, :, :5], edge[:, :, :5])
    noise = (128 + np.random.default_rng(0).integers(-2, 3, (1, 40, 40, 3))).astype(np.uint8)
    assert np.array_equal(unsharp_mask(noise), noise)


def test_jpeg_is_eight_bit_blocks_and_worse_at_lower_quality(frames):
    picture = low_resolution(frames)[0]
    errors = [np.abs(jpeg(picture, quality) - picture.clip(0, 1)).mean() for quality in (90, 75, 60)]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.1
    levels = jpeg(picture, 80) * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-3 and levels.min() >= 0 and levels.max() <= 255.001
    flat = np.full((16, 16, 3), 0.3, np.float32)
    assert np.abs(jpeg(flat, 90) - 0.3).max() < 2 / 255


def test_blur_and_resizing_lose_detail_but_not_brightness_or_place():
    rng = np.random.default_rng(0)
    clean = rng.random((2, 48, 48, 3)).astype(np.float32)
    for draw in (Draw(blur=(1.2, 0.6, 0.3)), Draw(scale=0.5), Draw(scale=0.7, interpolation=(cv2.INTER_LINEAR,) * 2)):
        result = degrade(clean, draw, rng)
        assert result.shape == clean.shape and result.dtype == np.float32
        assert result.std() < 0.8 * clean.std() and abs(result.mean() - clean.mean()) < 0.01
        assert np.corrcoef(result.ravel(), clean.ravel())[0, 1] > 0.3
    kernel = gaussian_kernel(1.2, 0.4, 0.0)
    assert abs(kernel.sum() - 1) < 1e-6 and kernel[3, 4] > kernel[4, 3], "the long axis lies along x at angle 0"
    assert np.allclose(gaussian_kernel(1.2, 0.4, np.pi / 2), kernel.T, atol=1e-6)


def test_blending_goes_back_toward_the_clean_input(frames):
    clean = low_resolution(frames)
    bad = degrade(clean, Draw(quality=60), np.random.default_rng(0))
    blended = degrade(clean, Draw(quality=60, clean=0.25), np.random.default_rng(0))
    assert np.allclose(blended, 0.25 * clean + 0.75 * bad, atol=1e-6)


def test_in_a_sample(frames):
    sample = make_sample(Triplet(frames, 0.25), np.random.default_rng(0), augment=False, degrade=Degradation())
    plain = make_sample(Triplet(frames, 0.25), np.random.default_rng(0), augment=False)
    assert sample.targets.shape == plain.targets.shape and sample.inputs.dtype == np.float32
    assert not np.array_equal(sample.inputs, plain.inputs) and not np.array_equal(sample.targets, plain.targets)
    assert make_degradation("none") is None and isinstance(make_degradation("real"), Degradation)
    with pytest.raises(UserError, match="none, real"):
        make_degradation("hard")
