"""Backward warping and the points a block looks at, against loops and closed forms."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.aggregation import enlarge
from model.block_input import BlockInput
from model.warp import backward_warp, owners


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


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_block_input_convolved_in_parts_is_the_joined_one_convolved(scale):
    torch.manual_seed(1)
    feature, features0, features1 = torch.rand(6, 20, 8, 12), torch.rand(2, 20, 8, 12), torch.rand(2, 20, 8, 12)
    flow, times, owner = 4 * torch.randn(6, 6, 8, 12), torch.rand(6), owners(2, 6, feature.device)
    conv, looking_once = torch.nn.Conv2d(67, 5, 3, padding=1), torch.nn.Conv2d(67, 5, 1)
    plane = times.view(6, 1, 1, 1).expand(6, 1, 8, 12)
    warped = [backward_warp(features, 0.5 * flow[:, part])
              for features, part in ((features0, slice(0, 2)), (features1, slice(2, 4)))]
    later = torch.cat((feature, flow, *warped, plane), 1)
    shared = feature[:2]  # before the first block: one feature a pair, and no flow
    first = torch.cat((shared[owner], torch.zeros_like(flow), features0[owner], features1[owner], plane), 1)
    for joined, x in ((later, BlockInput(feature, flow, features0, features1, owner, times)),
                      (first, BlockInput(shared, None, features0, features1, owner, times))):
        expected = conv(F.interpolate(joined, scale_factor=1 / scale, mode="bilinear", align_corners=False))
        assert torch.allclose(x.at_scale(scale).convolved(conv), expected, atol=1e-5)
        assert torch.allclose(x.at_every_other().convolved(looking_once), looking_once(joined[..., ::2, ::2]),
                              atol=1e-5)
        some = torch.tensor([4, 0, 3])
        assert torch.allclose(x.of(some).at_scale(scale).convolved(conv), expected[some], atol=1e-5)


def test_enlarging_keeps_a_ramp():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    inside = enlarge(ramp, 2)[0, 0, 0, 1:-1]
    assert torch.allclose(inside.diff(), torch.full((13,), 0.5), atol=1e-6)
