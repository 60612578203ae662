"""Backward warping and the points a block looks at, against loops and closed forms."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.aggregation import enlarge
from model.block_input import BlockInput
from model.layout import pixel_shuffle
from model.warp import backward_warp, clamped, owners, sample_means


def warp_by_loop(image, flow):
    channels, height, width = image.shape
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            x = min(max(column + flow[0, row, column], 0), width - 1)
            y = min(max(row + flow[1, row, column], 0), height - 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            right, below = min(left + 1, width - 1), min(top + 1, height - 1)
            upper = image[:, top, left] * (left + 1 - x) + image[:, top, right] * (x - left)
            lower = image[:, below, left] * (left + 1 - x) + image[:, below, right] * (x - left)
            out[:, row, column] = upper * (top + 1 - y) + lower * (y - top)
    return out


@pytest.mark.parametrize("channels", [3, 32])  # pictures and features take different ways
def test_warp_equals_a_loop_and_reaches_beyond_the_border(channels):
    rng = np.random.default_rng(0)
    image = rng.random((2, channels, 6, 9))
    flow = rng.normal(0, 4, (2, 2, 6, 9))
    found = backward_warp(torch.from_numpy(image).float(), torch.from_numpy(flow).float()).numpy()
    expected = np.stack([warp_by_loop(image[i], flow[i]) for i in range(2)])
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("channels", [3, 32])
def test_one_picture_serves_several_flows_and_whole_steps_copy(channels):
    image = torch.rand(2, channels, 8, 8)
    flow = torch.zeros(4, 2, 8, 8)
    flow[1, 0] = 3  # fetch from three pixels to the right
    flow[3, 1] = -2
    found = backward_warp(image, flow)
    assert torch.allclose(found[0], image[0], atol=1e-6)
    assert torch.allclose(found[1, :, :, :5], image[0, :, :, 3:], atol=1e-6)
    assert torch.allclose(found[3, :, 2:], image[1, :, :6], atol=1e-6)


def test_both_ways_of_warping_have_the_same_gradients():
    """The features' way on a CPU against PyTorch's own sampling, which every device has."""
    torch.manual_seed(0)
    image, flow = torch.rand(2, 16, 8, 8, dtype=torch.float64), 2 * torch.randn(2, 2, 8, 8, dtype=torch.float64)
    gradients = []
    for part in (slice(None), slice(0, 3)):
        leaf_image, leaf_flow = image.clone().requires_grad_(), flow.clone().requires_grad_()
        (backward_warp(leaf_image[:, part], leaf_flow)[:, :3] ** 2).sum().backward()
        gradients.append((leaf_image.grad, leaf_flow.grad))
    for first, second in zip(*gradients):
        assert torch.allclose(first, second, atol=1e-9)


@pytest.mark.parametrize("points", ["rows of a table", "grid_sample"])
def test_block_input_is_the_joined_one_downsampled(points, monkeypatch):
    """Warped only where it is looked at, and the same as the paper's: all warped, joined, then downsampled."""
    if points == "grid_sample":  # as on devices without an embedding bag
        monkeypatch.setattr("model.warp._in_rows", lambda image: False)
    torch.manual_seed(1)
    feature, features = torch.rand(6, 20, 8, 12), torch.rand(2, 40, 8, 12)
    flow, times, owner = 4 * torch.randn(6, 6, 8, 12), torch.rand(6), owners(2, 6, feature.device)
    warped = [backward_warp(features[:, part], 0.5 * flow[:, xy])
              for part, xy in ((slice(0, 20), slice(0, 2)), (slice(20, 40), slice(2, 4)))]
    expected = torch.cat((feature, flow, *warped, times.view(6, 1, 1, 1).expand(6, 1, 8, 12)), 1)
    x = BlockInput(feature, flow, features, owner, times)
    for scale in (1, 2, 4):
        smaller = F.interpolate(expected, scale_factor=1 / scale, mode="bilinear", align_corners=False)
        assert torch.allclose(x.at_scale(scale, 67), smaller, atol=1e-5)
        some = torch.tensor([4, 0, 3])
        assert torch.allclose(x.of(some).at_scale(scale, 67), smaller[some], atol=1e-5)
    assert torch.allclose(x.at_every_other(67), expected[..., ::2, ::2], atol=1e-5)
    assert torch.equal(x.at_scale(2, 72)[:, 67:], torch.zeros(6, 5, 4, 6))
    assert x.at_scale(1, 72).is_contiguous(memory_format=torch.channels_last)


def test_border_padding_without_border_padding():
    """For devices whose `grid_sample` only knows zeros: the same values and gradients, at and beyond the border too."""
    torch.manual_seed(0)
    image, flow = torch.rand(1, 3, 6, 9, dtype=torch.float64), 4 * torch.randn(1, 6, 9, 2, dtype=torch.float64)
    rows, columns = torch.linspace(-1, 1, 6, dtype=torch.float64), torch.linspace(-1, 1, 9, dtype=torch.float64)
    still = torch.stack((columns.expand(6, 9), rows[:, None].expand(6, 9)), -1)[None]
    for grid in (still, still + flow / 4):
        found = []
        for mode, change in (("border", lambda grid: grid), ("zeros", clamped)):
            leaf = grid.clone().requires_grad_()
            sampled = F.grid_sample(image, change(leaf), padding_mode=mode, align_corners=True)
            (sampled**2).sum().backward()
            found.append((sampled.detach(), leaf.grad))
        for first, second in zip(*found):
            assert torch.allclose(first, second, atol=1e-9)


def test_images_of_one_row_or_column_can_be_sampled():
    for height, width in ((1, 5), (5, 1), (1, 1)):
        for channels in (3, 16):
            image, flow = torch.rand(1, channels, height, width), torch.full((1, 2, height, width), 7.0)
            expected = image[..., -1:, -1:].expand_as(image)
            assert torch.allclose(backward_warp(image, flow), expected, atol=1e-6)


def test_pixels_are_found_beyond_what_float32_can_count(monkeypatch):
    monkeypatch.setattr("model.warp._in_rows", lambda image: True)  # with one channel, so that memory suffices
    size = 4099  # its square is more than 2^24: odd numbers of rows are lost there
    image = torch.zeros(1, 1, size, size, dtype=torch.bfloat16)
    image[..., -2:, :] = torch.arange(size) % 2
    x = torch.arange(size - 9, size - 1.0).view(1, 1, 8, 1, 1)
    found = sample_means(image, x, torch.full_like(x, size - 2), owners(1, 1, image.device))
    assert torch.equal(found.flatten(), x.flatten() % 2)


@pytest.mark.parametrize("factor", [2, 4])
def test_pixel_shuffle_is_torchs(factor):
    x = torch.rand(2, 3 * factor**2, 4, 5).contiguous(memory_format=torch.channels_last)
    assert torch.equal(pixel_shuffle(x, factor), F.pixel_shuffle(x, factor))
    assert pixel_shuffle(x, factor).is_contiguous(memory_format=torch.channels_last)


def test_enlarging_keeps_a_ramp():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    inside = enlarge(ramp, 2)[0, 0, 0, 1:-1]
    assert torch.allclose(inside.diff(), torch.full((13,), 0.5), atol=1e-6)


@pytest.mark.parametrize("channels", [3, 32])
def test_flow_that_is_not_a_number_spoils_its_own_pixels_alone(channels):
    """Forward and backward: the process goes on, and a loss of it is no number, by which a training skips the step."""
    torch.manual_seed(0)
    image, flow = torch.rand(1, channels, 8, 8, requires_grad=True), torch.randn(1, 2, 8, 8)
    whole = backward_warp(image.detach(), flow)
    broken = flow.clone()
    broken[0, 0, 2, 3] = broken[0, 1, 5, 1] = float("nan")
    broken.requires_grad_()
    found = backward_warp(image, broken)
    spoilt = torch.zeros(8, 8, dtype=torch.bool)
    spoilt[2, 3] = spoilt[5, 1] = True
    assert found[..., spoilt].isnan().all() and torch.equal(found[..., ~spoilt], whole[..., ~spoilt])
    found.sum().backward()
    assert broken.grad[..., ~spoilt].isfinite().all()
