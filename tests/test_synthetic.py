"""Generated scenes: they repeat, and move as their paths say."""
import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.synthetic import Layer, LayerPath, render
from dataset import open_dataset


@pytest.mark.parametrize("photos", [False, True])
def test_synthetic_scenes_move_and_repeat(tmp_path, photos):
    folder = None
    if photos:
        folder = tmp_path / "photos"
        folder.mkdir()
        for number in range(10):
            noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(noise, (200, 150), interpolation=cv2.INTER_CUBIC))
    data = open_dataset("synthetic", None, crop=48, photos=folder)
    samples = [data.sample(0, np.random.default_rng(seed)) for seed in range(30)]
    assert samples[0].targets.shape == (9, 48, 48) and samples[0].inputs.shape == (6, 48, 48)
    assert all(0 < sample.timestep < 1 and sample.timestep * 8 % 1 == 0 for sample in samples)
    assert np.array_equal(samples[3].targets, data.sample(9, np.random.default_rng(3)).targets)
    moved = [np.abs(s.targets[:3].astype(float) - s.targets[6:]).mean() for s in samples]
    assert np.mean(np.array(moved) > 2) > 0.7 and len({sample.targets.tobytes() for sample in samples}) == 30
    other = open_dataset("synthetic", None, "val", crop=48, photos=folder).sample(0, np.random.default_rng(3))
    assert not np.array_equal(other.targets, samples[3].targets)
    with pytest.raises(UserError, match="no such folder of photos"):
        open_dataset("synthetic", None, photos=tmp_path / "none")


def test_synthetic_motion_is_what_the_path_says():
    """A layer that moves a whole number of pixels is the same picture, shifted; halfway it is shifted by half."""
    texture = cv2.blur(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), (9, 9))
    still, zero = np.zeros(2), dict(angle=0.0, turn=0.0, zoom=1.0, growth=0.0)
    background = Layer(texture, None, LayerPath(still, np.array([16.0, -8.0]), still, **zero), None)
    frames = [render([background], u, 32).astype(int) for u in (0.0, 0.5, 1.0)]  # 2 rendering pixels a pixel
    assert np.array_equal(frames[1][:-2, 4:], frames[0][2:, :-4])
    assert np.array_equal(frames[2][:-4, 8:], frames[0][4:, :-8])
    mask = np.zeros((200, 200), np.uint8)
    mask[90:110, 90:110] = 255
    square = Layer(np.full_like(texture, 255), mask, LayerPath(still, np.array([0.0, 24.0]), still, **zero), None)
    black = Layer(np.zeros_like(texture), None, background.path, None)
    centres = [np.argwhere(render([black, square], u, 32)[..., 0] > 127).mean(0) for u in (0.0, 0.25, 1.0)]
    assert np.allclose(centres, [[9.5, 15.5], [12.5, 15.5], [21.5, 15.5]], atol=0.01)
    turned = Layer(texture, None, LayerPath(still, still, still, **zero | {"turn": np.pi}), None)  # a half turn
    assert np.array_equal(render([turned], 0.0, 32), render([turned], 1.0, 32)[::-1, ::-1])
