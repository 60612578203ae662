"""Generated scenes: they repeat, move as their paths say, and their true flow leads where it should."""
import cv2
import numpy as np
import pytest
import torch

from common.errors import UserError
from data.stream import TrainingStream
from data.synthetic import Layer, LayerPath, render, true_flow
from dataset import open_dataset
from model.loss import flow_loss


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


def test_true_flow_is_what_the_path_says():
    """A background that moves 8 pixels right and 4 up, and a square on it that moves 12 down."""
    still, zero = np.zeros(2), dict(angle=0.0, turn=0.0, zoom=1.0, growth=0.0)
    texture, mask = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8)
    mask[90:110, 90:110] = 255
    background = Layer(texture, None, LayerPath(still, np.array([16.0, -8.0]), still, **zero), None)
    square = Layer(texture, mask, LayerPath(still, np.array([0.0, 24.0]), still, **zero), None)
    flow = true_flow([background, square], 0.25, 32)
    assert flow.shape == (8, 8, 4)
    assert np.allclose(flow[3, 4], [0, -3, 0, 9])  # on the square: pixels 12 to 21 across, 9 to 18 down at that time
    assert np.allclose(flow[6, 4], [-2, 1, 6, -3])
    assert np.isnan(flow[4, 7, 2:]).all() and np.isfinite(flow[4, 7, :2]).all()  # it leaves the picture on the right


def test_true_flow_fetches_the_frames_from_each_other():
    """Frames 0 and 1 fetched along the flow look like the frame between, however a sample is turned over."""
    data = open_dataset("synthetic", None, crop=64, flow=True)
    left = []
    for position in range(24):
        targets, _, _, flow = TrainingStream(data, 0, flow=True)[position]
        frames, flow = targets.view(3, 3, 64, 64).permute(0, 2, 3, 1).numpy(), flow.view(3, 2, 2, 16, 16).numpy()
        y, x = np.mgrid[:16, :16].astype(np.float32) * 4 + np.float32(1.5)
        for moment in range(3):
            here = cv2.remap(frames[moment], x, y, cv2.INTER_LINEAR).astype(float)
            for outer in (0, 1):
                if moment == 2 * outer:
                    assert np.nanmax(np.abs(flow[moment, outer])) < 0.1  # OpenCV samples at 1/32 pixels
                    continue
                dx, dy = np.nan_to_num(flow[moment, outer])
                fetched, unmoved = (cv2.remap(frames[2 * outer], *where, cv2.INTER_LINEAR).astype(float)
                                    for where in ((x + dx, y + dy), (x, y)))
                known = np.isfinite(flow[moment, outer, 0])
                left.append([np.abs(other - here)[known].mean() for other in (fetched, unmoved)])
    fetched, unmoved = np.mean(left, 0)
    assert fetched < 0.35 * unmoved, (fetched, unmoved)


def test_recorded_frames_have_no_true_flow(tmp_path):
    (tmp_path / "clip").mkdir()
    for number in range(9):
        cv2.imwrite(str(tmp_path / "clip" / f"{number}.png"), np.full((32, 32, 3), 20 * number, np.uint8))
    data = open_dataset("folder", tmp_path, crop=32, held_out=0)
    assert len(TrainingStream(data, 0)[0]) == 3
    assert torch.isnan(TrainingStream(data, 0, flow=True)[0][3]).all()


def test_flow_loss_is_the_mean_error_where_flow_is_known():
    rng = np.random.default_rng(0)
    flow, truth = rng.normal(size=(6, 4, 8, 12)).astype(np.float32), rng.normal(size=(2, 12, 2, 3)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.3] = np.nan
    total = 0.0
    for sample, channel, row, column in np.ndindex(2, 12, 2, 3):
        if not np.isnan(truth[sample, channel, row, column]):
            cell = flow[3 * sample + channel // 4, channel % 4, 4 * row:4 * row + 4, 4 * column:4 * column + 4]
            total += abs(cell.mean() - truth[sample, channel, row, column])
    predicted = torch.from_numpy(flow).requires_grad_()
    loss = flow_loss(predicted, torch.from_numpy(truth))
    loss.backward()
    assert abs(loss.item() - total / truth.size) < 1e-5 and predicted.grad.isfinite().all()
