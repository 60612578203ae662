"""What the small network is made of, each part against a loop or a closed form."""
import numpy as np
import pytest
import torch
from tiny_networks import small_model

from model.aggregation import SkipBlock
from model.correlation import correlation
from model.frames import GAIN, compare
from model.propagation import propagate
from model.routing import Routing


@pytest.mark.parametrize("radius", [1, 3])
def test_correlation_is_the_cosine_of_every_pair_in_the_window(radius):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 2, 5, 4, 6))
    found = correlation(*(torch.from_numpy(x).float() for x in (first, second)), radius).numpy()
    assert found.shape == (2, (2 * radius + 1) ** 2, 4, 6)
    channel = 0
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            for y in range(4):
                for x in range(6):
                    inside = 0 <= y + dy < 4 and 0 <= x + dx < 6
                    for n in range(2):
                        a, b = first[n, :, y, x], second[n, :, y + dy, x + dx] if inside else np.zeros(5)
                        expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b) if inside else 0
                        assert abs(found[n, channel, y, x] - expected) < 1e-5
            channel += 1


def test_features_that_vanish_correlate_with_nothing():
    found = correlation(torch.zeros(1, 4, 3, 3), torch.rand(1, 4, 3, 3), 1)
    assert torch.equal(found, torch.zeros_like(found))


def test_what_frames_at_output_resolution_differ_by_is_laid_out_by_low_resolution_pixels():
    rng = np.random.default_rng(1)
    warped0, warped1, mixed = rng.random((3, 2, 3, 8, 12))
    difference, detail = compare(*(torch.from_numpy(x) for x in (warped0, warped1, mixed)), 4, torch.float64)
    assert difference.shape == (2, 48, 2, 3) and detail.shape == (2, 16, 2, 3)
    for n, y, x in np.ndindex(2, 8, 12):
        plane, row, column = y % 4 * 4 + x % 4, y // 4, x // 4
        for c in range(3):
            expected = GAIN * (warped0[n, c, y, x] - warped1[n, c, y, x])
            assert abs(difference[n, 16 * c + plane, row, column] - expected) < 1e-9
        around = mixed[n, :, 4 * row:4 * row + 4, 4 * column:4 * column + 4].mean()
        assert abs(detail[n, plane, row, column] - GAIN * (mixed[n, :, y, x].mean() - around)) < 1e-9


def test_the_finest_block_sees_what_warped_frames_differ_by():
    """Other frames with the same features: blocks before the finest move nothing, that one does."""
    model = small_model()
    with torch.no_grad():
        encoded = model.encode(torch.full((2, 3, 8, 8), 0.5))
        found, changed = (model.interpolate(*frames.split(1), *encoded.split(1), torch.tensor([[0.5]]),
                                            Routing(scale=1)) for frames in torch.rand(2, 2, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(found.flows[:-1], changed.flows[:-1]))
    assert (found.flows[-1] - changed.flows[-1]).abs().max() > 1e-3


def neighbours_misfit(frames, flow, y, x):
    """How much both frames differ by whole-pixel flows (4, h, w) around a pixel, edges repeated."""
    height, width = flow.shape[1:]
    total = 0.0
    for v in range(y - 2, y + 3):
        for u in range(x - 2, x + 3):
            v_in, u_in = np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)
            colours = [frame[:, np.clip(v_in + int(dy), 0, height - 1), np.clip(u_in + int(dx), 0, width - 1)]
                       for frame, (dx, dy) in zip(frames, flow[:, v_in, u_in].reshape(2, 2))]
            total += np.abs(colours[0] - colours[1]).mean()
    return total / 25


def test_a_pixel_takes_over_the_flow_of_a_neighbour_that_clearly_fits_better():
    rng = np.random.default_rng(4)
    frames = rng.random((2, 3, 11, 12)).astype(np.float32)
    frames[1, :, :, 2:] = frames[0, :, :, :-2]  # most of it moves by two pixels
    flow = np.zeros((4, 11, 12), np.float32)
    flow[2, :, 6:] = 2
    flow[:2] = rng.integers(-1, 1, (2, 11, 12))
    state = torch.from_numpy(np.concatenate((flow, rng.random((1, 11, 12)).astype(np.float32))))[None]
    found = propagate(tuple(torch.from_numpy(frame)[None] for frame in frames), state, torch.tensor([0]))[0].numpy()
    assert np.array_equal(found[4], state[0, 4].numpy())
    taken = set()
    for y, x in np.ndindex(11, 12):
        candidates = [flow, *(np.pad(flow, ((0, 0), (3, 3), (3, 3)), "edge")[:, 3 + dy:14 + dy, 3 + dx:15 + dx]
                              for dy, dx in ((-3, 0), (0, -3), (0, 3), (3, 0)))]
        own, *others = (neighbours_misfit(frames, candidate, y, x) for candidate in candidates)
        best = int(np.argmin([0.9 * own - 0.002, *others]))
        taken.add(best)
        assert np.array_equal(found[:4, y, x], candidates[best][:, y, x]), (y, x)
    assert taken == {0, 1, 2, 3, 4}


def test_a_fresh_residual_block_is_nearly_the_identity():
    torch.manual_seed(0)
    x = torch.rand(1, 16, 8, 8)
    assert (SkipBlock(16)(x) - x).abs().max() < 0.1
