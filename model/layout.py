"""Channels-last tensors, and channel counts that fill matrix units: what convolutions run fastest on."""
from collections.abc import Sequence

import torch
from torch import nn


def joined(parts: Sequence[torch.Tensor], channels: int) -> torch.Tensor:
    """`torch.cat(parts, 1)`, (N, `channels`, H, W), in the type of the first part, channels-last.

    Zeros follow where the parts have fewer channels: a convolution that was widened for speed has weights of zero there
    (`model.prepare.widen`).
    """
    first = parts[0]
    parts = [part.to(first.dtype) for part in parts]
    missing = channels - sum(part.shape[1] for part in parts)
    if not missing and len(parts) == 1:
        return parts[0].contiguous(memory_format=torch.channels_last)
    if missing:
        parts.append(first.new_zeros(1, 1, 1, 1).expand(first.shape[0], missing, *first.shape[2:]))
    # Laid out by hand: `cat` keeps channels-last only if all of the parts have it.
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], 3).permute(0, 3, 1, 2)


def first_convolution(layers: nn.Sequential) -> nn.Conv2d:
    """The convolution that layers begin with; it knows how many channels they take by now."""
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    return first


def pixel_shuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """`F.pixel_shuffle`, (N, C * factor^2, H, W) -> (N, C, H * factor, W * factor), to channels-last."""
    number, channels, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).view(number, height, width, channels // factor**2, factor, factor)
    rows = cells.permute(0, 1, 4, 2, 5, 3).reshape(number, height * factor, width * factor, channels // factor**2)
    return rows.permute(0, 3, 1, 2)


def pixel_unshuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """`F.pixel_unshuffle`, (N, C, H * factor, W * factor) -> (N, C * factor^2, H, W), to channels-last."""
    number, channels, height, width = x.shape
    cells = x.view(number, channels, height // factor, factor, width // factor, factor)
    rows = cells.permute(0, 2, 4, 1, 3, 5).reshape(number, height // factor, width // factor, channels * factor**2)
    return rows.permute(0, 3, 1, 2)
