"""Scale-adaptive feature aggregation: the block, its three processing scales, and the selector (paper, Sec. 3.2)."""
import torch
import torch.nn.functional as F
from torch import nn

from model.block_input import BlockInput
from model.warp import select

SCALES = (1, 2, 4)  # a block works on its input at full, half or quarter size


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear enlargement of (N, C, H, W) by a whole factor, `align_corners=False`."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, zero padding, with a PReLU per channel."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class ResidualBlock(nn.Module):
    """PReLU(beta * conv(PReLU(conv(x))) + x). Beta is one number a channel and starts at 0: the identity.

    For inference beta may be folded into the second convolution (model/prepare.py); it is None then.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
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

    def at_scale(self, x: BlockInput, scale: int) -> torch.Tensor:
        """Process every sample at 1/`scale` of its size."""
        conv, prelu = self.stem
        return enlarge(self.residual(prelu(x.at_scale(scale).convolved(conv))), scale)

    def forward(self, x: BlockInput, scales: torch.Tensor) -> torch.Tensor:
        """Process each sample at its own scale only. `scales`: (N,) whole numbers on the CPU, of SCALES."""
        chosen = scales.unique().tolist()
        if len(chosen) == 1:
            return self.at_scale(x, chosen[0])
        members = [(scales == scale).nonzero()[:, 0].to(x.owner.device) for scale in chosen]
        groups = [self.at_scale(x.of(some), scale) for some, scale in zip(members, chosen)]
        return select(torch.cat(groups), torch.cat(members).argsort())

    def mix(self, x: BlockInput, fine: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """All three scales, mixed by the selector's bits: what training needs for the straight-through gradient.

        `fine` and `half` are the bits (a, b), (N,) each: a = b = 1 full size, a = 0 and b = 1 half, b = 0 a quarter.
        """
        full_size, half_size, quarter = (self.at_scale(x, scale) for scale in SCALES)
        fine, half = (bit.view(-1, 1, 1, 1).to(quarter.dtype) for bit in (fine, half))
        return half * (fine * full_size + (1 - fine) * half_size) + (1 - half) * quarter


class ScaleSelector(nn.Module):
    """Probabilities (a, b) that a block's input needs full size, and at least half size: (N, 2) float32.

    One selector serves all blocks.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.PReLU(channels))
        self.reduce = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.PReLU(channels))
        self.decide = nn.Linear(channels, 2)

    def forward(self, x: BlockInput) -> torch.Tensor:
        # Published as a 1x1 convolution of stride 1 and then one of stride 2; the second looks at
        # every other point only, so the first need not compute the rest.
        conv, prelu = self.squeeze
        pooled = self.reduce(prelu(x.at_every_other().convolved(conv))).mean((2, 3))
        return torch.sigmoid(self.decide(pooled).float())


def chosen_scales(probabilities: torch.Tensor, cap: int = 1) -> torch.Tensor:
    """(N,) scales of SCALES from (N, 2) probabilities (or bits) by thresholds at 0.5, none finer than 1/`cap`."""
    fine, half = (probabilities.detach().cpu() >= 0.5).unbind(1)
    scales = torch.where(half, torch.where(fine, 1, 2), 4)
    return scales.clamp(min=cap)


def straight_through_bits(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Bernoulli bits whose gradient is that of their probabilities (paper, Sec. 3.2). `draws`: uniform in [0, 1)."""
    bits = (draws < probabilities.detach()).float()
    return bits + probabilities - probabilities.detach()
