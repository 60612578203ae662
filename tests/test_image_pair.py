"""What lies between two images of any kind, with predictors whose answers are known."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from common.errors import UserError
from media.image_pair import LogCurve, prepare_pair, spread_colours

RNG = np.random.default_rng(1)
COLOUR = cv2.resize(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8), (49, 33), interpolation=cv2.INTER_CUBIC)
GRAY = COLOUR[..., 1].copy()


class Enlarging:
    """A predictor that knows the first image only, and counts what it was given."""

    def __init__(self):
        self.encoded = 0

    def encode(self, frame, upscale):
        self.encoded += 1
        height, width = (round(side * upscale) for side in frame.shape[:2])
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)

    def between(self, first, second, timesteps, details=None):
        if details is not None:
            height, width = first.shape[:2]
            details.append(SimpleNamespace(flow=np.zeros((height, width, 4), np.float32),
                                           mask=np.ones((height, width), np.float32)))
        return [first] * len(timesteps)


class Moving(Enlarging):
    """A predictor for a motion by 8 pixels to the right, whose frames are a little wrong everywhere."""

    def between(self, first, second, timesteps, details=None):
        frames = super().between(first, second, timesteps, details)
        if details is None:
            return frames
        moved = round(8 * timesteps[0])
        details[0].flow[..., 0], details[0].flow[..., 2] = -moved, 8 - moved
        return [np.roll(frame, moved, 1) + RNG.uniform(-0.02, 0.02, frame.shape).astype(np.float32) for frame in frames]


def only(pair, predictor=None, timestep=0.25, upscale=1):
    (image, details), = pair.between(predictor or Enlarging(), [timestep], upscale)
    assert details is None
    return image


def disc(x, hidden=0, dtype=np.uint8):
    """A white disc on transparent `hidden`, as programs export it."""
    columns, rows = np.meshgrid(np.arange(64), np.arange(48))
    inside = (columns - x)**2 + (rows - 24)**2 < 15**2
    colours = np.where(inside, np.iinfo(dtype).max, hidden)
    return np.dstack([colours] * 3 + [inside * np.iinfo(dtype).max]).astype(dtype)


def test_log_curve_is_exact_both_ways_and_near_srgb():
    for lowest, peak in ((0.0, 1.0), (0.0, 900.0), (-0.5, 12.0), (0.0, 0.0)):
        curve = LogCurve(lowest, peak)
        light = np.linspace(lowest, peak, 1001, dtype=np.float32)
        value = curve.encode(light)
        assert value.min() == 0 and value.max() <= 1
        np.testing.assert_allclose(curve.decode(value), light, rtol=2e-5, atol=2e-6 * max(peak, 1))
    assert abs(float(LogCurve(0, 1).encode(np.float32(0.18))) - 0.46) < 0.05


def test_one_value_far_below_zero_leaves_the_rest_its_levels():
    light = np.geomspace(0.01, 1, 100, dtype=np.float32)
    curve = LogCurve.around([np.append(light, np.float32(-500))])
    levels = np.rint(curve.encode(light) * 255) / 255  # about what a network tells apart
    np.testing.assert_allclose(curve.decode(levels), light, rtol=0.2)


def test_pair_takes_the_richer_kind():
    alpha = np.maximum(GRAY, 1)
    pair = prepare_pair(GRAY, np.dstack([COLOUR, alpha]) * np.uint16(257))
    assert not pair.gray and pair.curve is None
    np.testing.assert_array_equal(pair.frames[0], np.dstack([GRAY] * 3) * np.uint16(257))
    np.testing.assert_array_equal(pair.frames[1], COLOUR * np.uint16(257))
    assert (pair.alphas[0] == 65535).all()
    np.testing.assert_array_equal(pair.alphas[1], alpha * np.uint16(257))
    gray = prepare_pair(GRAY, GRAY)
    assert gray.gray and gray.alphas is None
    np.testing.assert_array_equal(only(gray), GRAY)


def test_gray_is_the_mean_of_what_comes_back():
    class Tinting(Enlarging):
        def between(self, first, second, timesteps, details=None):
            return [first // 2 + np.array([0, 0, 2], np.uint8)]  # the mean is 2/3 more than the first

    np.testing.assert_array_equal(only(prepare_pair(GRAY, GRAY), Tinting()), GRAY // 2 + 1)


def test_linear_pair_comes_back_unclipped():
    light = (RNG.random((8, 9, 3)) * 30 - 0.2).astype(np.float32)
    pair = prepare_pair(light, light[::-1])
    assert pair.frames[0].min() >= 0 and pair.frames[0].max() <= 1
    np.testing.assert_allclose(only(pair), light, rtol=1e-4, atol=1e-4)


def test_alpha_moves_in_images_wider_than_opencv_can_warp():
    alpha = np.zeros((4, 8200), np.uint8)
    alpha[:, 3000:5000] = 255
    first, second = (np.dstack([np.full_like(alpha, 99)] * 3 + [alpha]) for alpha in (alpha, np.roll(alpha, 2, 1)))
    moved = only(prepare_pair(first, second), Moving(), upscale=4)[..., 3]  # by 2 of the 8 output pixels
    assert moved.shape == (16, 32800)
    middle = np.average(np.arange(32800), weights=moved.sum(0, dtype=np.int64))
    assert abs(middle - (12000 + 19999) / 2 - 2) < 0.1
    assert (moved[:, 12020:19980] == 255).all() and not moved[:, :11980].any() and not moved[:, 20020:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_alpha_moves_by_itself_and_stays_exact_inside_and_outside(dtype):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    alpha = np.zeros((20, 30), dtype)
    alpha[5:12, 6:14] = peak
    colours = (COLOUR[:20, :30] / 255 * peak).astype(dtype)
    pair = prepare_pair(np.dstack([colours, alpha]), np.dstack([colours, np.roll(alpha, 8, 1)]))
    moved = only(pair, Moving())  # at t = 1/4 the alpha has moved by 2 pixels
    assert moved.dtype == dtype
    expected = np.roll(alpha, 2, 1)
    edge = cv2.dilate(expected, np.ones((3, 3))) != cv2.erode(expected, np.ones((3, 3)))
    np.testing.assert_array_equal(moved[..., 3][~edge], expected[~edge])
    assert np.abs(moved[..., 3].astype(float) - expected)[edge].max() <= 0.05 * peak


def test_opaque_images_need_no_second_look_and_stay_opaque():
    predictor = Moving()
    pair = prepare_pair(np.dstack([COLOUR, np.full_like(GRAY, 255)]), COLOUR)
    image = only(pair, predictor, upscale=2)
    assert image.shape == (66, 98, 4) and image.dtype == np.uint8
    assert (image[..., 3] == 255).all()
    assert predictor.encoded == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_ring_of_hidden_colour_around_what_is_visible(dtype):
    image = only(prepare_pair(disc(28, dtype=dtype), disc(28, dtype=dtype)), upscale=4).astype(np.float64)
    image /= np.iinfo(dtype).max
    over_white = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
    assert over_white.min() > 0.9999 and (image[..., 3] % 1 > 0).any()


def test_colours_are_spread_smoothly_from_the_visible_ones():
    colours = np.zeros((32, 96, 3), np.uint8)
    colours[:, :16], colours[:, 80:] = (0, 0, 200), (200, 0, 0)
    alpha = np.zeros((32, 96), np.uint8)
    alpha[:, :16] = alpha[:, 80:] = 255
    alpha[0, 0] = 1
    colours[0, 0] = 77  # visible, if hardly: it keeps its colour, and others hardly get any of it
    spread = spread_colours(colours, alpha)
    np.testing.assert_array_equal(spread[alpha > 0], colours[alpha > 0])
    row = spread[20].astype(int)  # from one colour to the other without a step
    assert np.abs(row[16] - (0, 0, 200)).max() < 12 and np.abs(row[79] - (200, 0, 0)).max() < 12
    assert (np.diff(row[:, 0]) >= 0).all() and np.diff(row[:, 0]).max() < 25
    assert (np.abs(row.sum(-1) - 200) <= 2).all()
    np.testing.assert_array_equal(spread_colours(colours, np.zeros_like(alpha)), colours)


def test_pairs_that_do_not_fit_are_refused():
    light = COLOUR.astype(np.float32)
    broken = light.copy()
    broken[2, 3] = np.nan, np.inf, 0
    for first, second, message in ((COLOUR, COLOUR[1:], "49x33.*49x32"), (COLOUR, light, "linear"),
                                   (light, broken, "B: 2 of its values")):
        with pytest.raises(UserError, match=message):
            prepare_pair(first, second, ("A", "B"))
