"""Scale-adaptive feature aggregation: the block, its three processing scales, and the selector (paper, Sec. 3.2)."""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from model.block_input import BlockInput, downsample
from model.layout import first_convolution, joined
from model.routing import SCALES, upload
from model.warp import select


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear enlargement of (N, C, H, W) by a whole factor, `align_corners=False`."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def conv3x3(inputs: int, outputs: int, stride: int = 1, activation: Callable[[int], nn.Module] = nn.PReLU
            ) -> nn.Sequential:
    """3x3 convolution, zero padding, and what `activation` makes for its channels: a PReLU each, as published."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), activation(outputs))


def leaky_relu(channels: int) -> nn.Module:
    """The small network's activation: on a CPU it takes a fraction of the time a PReLU does."""
    return nn.LeakyReLU(0.1, inplace=True)


class ResidualBlock(nn.Module):
    """PReLU(beta * conv(PReLU(conv(x))) + x). Beta is one number a channel and starts at 0: the identity.

    For inference beta may be folded into the second convolution (model/prepare.py); it is None then.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.beta: nn.Parameter | None = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv = nn.Sequential(*conv3x3(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1))
        self.prelu = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.conv(x)
        return self.prelu(change.add_(x) if self.beta is None else torch.addcmul(x, change, self.beta.to(x.dtype)))


class AggregationBlock(nn.Module):
    """One block: the same weights at whichever scale the selector chooses.

    Its output is (N, channels, h, w) at half of the frames' resolution; h and w are multiples of 4.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.stem = conv3x3(inputs, channels)
        self.residual = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))

    def process(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        """From the input at 1/`scale`, (N, 3c + 7, h/scale, w/scale), to the output at full size."""
        return enlarge(self.residual(self.stem(x)), scale)

    def at_scale(self, x: BlockInput, scale: int) -> torch.Tensor:
        """Process every sample at 1/`scale` of its size."""
        return self.process(x.at_scale(scale, first_convolution(self.stem).in_channels), scale)

    def forward(self, x: BlockInput, scales: torch.Tensor | int) -> torch.Tensor:
        """Process each sample at its own scale only. `scales`: (N,) on the CPU, of SCALES; or one for all samples."""
        if isinstance(scales, int):
            return self.at_scale(x, scales)
        chosen = scales.unique().tolist()
        if len(chosen) == 1:
            return self.at_scale(x, chosen[0])
        members = [(scales == scale).nonzero()[:, 0] for scale in chosen]
        groups = [self.at_scale(x.of(upload(some, x.owner.device)), scale) for some, scale in zip(members, chosen)]
        return select(torch.cat(groups), upload(torch.cat(members).argsort(), x.owner.device))

    def mix(self, x: torch.Tensor, fine: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """All three scales, mixed by the selector's bits: what training needs for the straight-through gradient.

        `x` is the input at full size. `fine` and `half` are the bits (a, b), (N,) each: a = b = 1 full size, a = 0 and
        b = 1 half, b = 0 a quarter.
        """
        full_size, half_size, quarter = (self.process(downsample(x, scale), scale) for scale in SCALES)
        fine, half = (bit.view(-1, 1, 1, 1).to(quarter.dtype) for bit in (fine, half))
        return half * (fine * full_size + (1 - fine) * half_size) + (1 - half) * quarter


class ScaleSelector(nn.Module):
    """Probabilities (a, b) that a block's input needs full size, and at least half size: (N, 2) float32.

    Published as a 1x1 convolution of stride 1 and then one of stride 2; the second looks at every other point only, so
    the first need not compute the rest, and is given those points. One selector serves all blocks.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.PReLU(channels))
        self.reduce = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.PReLU(channels))
        self.decide = nn.Linear(channels, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From every other point of every other row of a block's input."""
        pooled = self.reduce(self.squeeze(x)).mean((2, 3))
        return torch.sigmoid(self.decide(pooled).float())


class SkipBlock(nn.Module):
    """x + conv(leaky ReLU(conv(x))): the identity stays open from end to end, as suits a deep stack at low resolution.

    The second convolution starts at a tenth of the usual size, so a fresh stack is nearly the identity.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(*conv3x3(channels, channels, activation=leaky_relu),
                                  small_start(nn.Conv2d(channels, channels, 3, 1, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).add_(x)


class FlowBlock(nn.Module):
    """The small network's block: it sees how well the warped frames match, at the scale that it is given them at.

    Args:
        channels: of features, running feature and result.
        matches: channels that say how well they match.
        depth: residual blocks.
    """

    def __init__(self, channels: int, matches: int, depth: int):
        super().__init__()
        self.stem = conv3x3(3 * channels + 6 + matches, channels, activation=leaky_relu)
        self.residual = nn.Sequential(*(SkipBlock(channels) for _ in range(depth)))
        self.to_flow = small_start(nn.Conv2d(channels, 5, 3, 1, 1))

    def forward(self, feature: torch.Tensor, state: torch.Tensor, plane: torch.Tensor, warped0: torch.Tensor,
                warped1: torch.Tensor, matches: Sequence[torch.Tensor]) -> tuple:
        """
        Args:
            feature, state, plane: (N, channels, h, w), (N, 5, h, w) and (N, 1, h, w): running feature, flow state,
                timestep plane, at this block's scale.
            warped0, warped1: (N, channels, h, w) both frames' features, warped by the flows so far.
            matches: of as many channels as were said, (N, ., h, w).

        Returns:
            What to add to the running feature, (N, channels, h, w), and to the flow state, (N, 5, h, w) float32,
            its flows in pixels of this scale.
        """
        x = joined((feature, state, plane, warped0, warped1, *matches), first_convolution(self.stem).in_channels)
        feature = self.residual(self.stem(x))
        return feature, self.to_flow(feature)[:, :5].float()


def small_start(conv: nn.Conv2d) -> nn.Conv2d:
    """A fresh convolution at a tenth of its usual size: what it is added to decides at first."""
    with torch.no_grad():
        conv.weight.mul_(0.1)
        if conv.bias is not None:
            conv.bias.zero_()
    return conv
