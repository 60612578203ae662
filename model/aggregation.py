"""Scale-adaptive feature aggregation: the block, its three processing scales, and the selector (paper, Sec. 3.2)."""
import torch
import torch.nn.functional as F
from torch import nn

SCALES = (1, 2, 4)  # a block works on its input at full, half or quarter size


def resize(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Bilinear resizing of (N, C, H, W) by `factor`, `align_corners=False`, not antialiased."""
    if factor == 1:
        return x
    if factor == 0.5:  # every sampling point falls between four pixels: the same thing, faster
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, zero padding, with a PReLU per channel."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class ResidualBlock(nn.Module):
    """PReLU(beta * conv(PReLU(conv(x))) + x). Beta is one number a channel and starts at 0: the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv = nn.Sequential(*conv3x3(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1))
        self.prelu = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prelu(torch.addcmul(x, self.conv(x), self.beta.to(x.dtype)))


class AggregationBlock(nn.Module):
    """One block: the same weights at whichever scale the selector chooses.

    (N, inputs, h, w) -> (N, channels, h, w); h and w multiples of 4.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.stem = conv3x3(inputs, channels)
        self.residual = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))

    def at_scale(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        """Process every sample at 1/`scale` of its size."""
        return resize(self.residual(self.stem(resize(x, 1 / scale))), scale)

    def forward(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Process each sample at its own scale only. `scales`: (N,) whole numbers on the CPU, of SCALES."""
        chosen = scales.unique().tolist()
        if len(chosen) == 1:
            return self.at_scale(x, chosen[0])
        out = None
        for scale in chosen:
            members = (scales == scale).nonzero()[:, 0].to(x.device)
            part = self.at_scale(x.index_select(0, members), scale)
            out = x.new_empty((len(x), *part.shape[1:])) if out is None else out
            out.index_copy_(0, members, part)
        return out

    def mix(self, x: torch.Tensor, fine: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """All three scales, mixed by the selector's bits: what training needs for the straight-through gradient.

        `fine` and `half` are the bits (a, b), (N,) each: a = b = 1 full size, a = 0 and b = 1 half, b = 0 a quarter.
        """
        fine, half = fine.view(-1, 1, 1, 1).to(x.dtype), half.view(-1, 1, 1, 1).to(x.dtype)
        full_size, half_size, quarter = (self.at_scale(x, scale) for scale in SCALES)
        return half * (fine * full_size + (1 - fine) * half_size) + (1 - half) * quarter


class ScaleSelector(nn.Module):
    """Probabilities (a, b) that a block's input needs full size, and at least half size.

    (N, inputs, h, w) -> (N, 2) float32. One selector serves all blocks.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.PReLU(channels))
        self.reduce = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.PReLU(channels))
        self.decide = nn.Linear(channels, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Published as a 1x1 convolution of stride 1 and then one of stride 2; the second looks at
        # every other pixel only, so the first need not compute the rest.
        pooled = self.reduce(self.squeeze(x[..., ::2, ::2])).mean((2, 3))
        return torch.sigmoid(self.decide(pooled).float())


def chosen_scales(probabilities: torch.Tensor, cap: int = 1) -> torch.Tensor:
    """(N,) scales of SCALES from (N, 2) probabilities by thresholds at 0.5, none finer than 1/`cap`."""
    fine, half = (probabilities.detach().cpu() >= 0.5).unbind(1)
    scales = torch.where(half, torch.where(fine, 1, 2), 4)
    return scales.clamp(min=cap)


def straight_through_bits(probabilities: torch.Tensor) -> torch.Tensor:
    """Bernoulli draws of `probabilities` whose gradient is the probabilities' own (paper, Sec. 3.2)."""
    bits = torch.bernoulli(probabilities.detach())
    return bits + probabilities - probabilities.detach()
