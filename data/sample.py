"""From three frames to one training sample, as the paper's section on training describes."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from media.resize import reduce_bicubic

UPSCALE = 4  # the factor the network is trained for

Degrade = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Sample(NamedTuple):
    """One training sample; pictures are BGR, channel first.

    targets: uint8 (9, H, W), the true frames at times 0, timestep and 1, three channels each.
    inputs: float32 (6, H/4, W/4), the low-resolution frames at times 0 and 1. The range is [0, 1], with
        the overshoot that bicubic resizing leaves (it is not clipped, as published).
    timestep: float32 in (0, 1).
    """

    targets: np.ndarray
    inputs: np.ndarray
    timestep: np.float32


def augment_frames(frames: np.ndarray, timestep: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """BGR<->RGB, vertical flip, horizontal flip and time reversal, each with probability 1/2.

    Args:
        frames: (3, H, W, 3), the frames at times 0, timestep, 1.

    Returns:
        A view of `frames`, and the timestep: 1 - timestep where time is reversed.
    """
    swap, vertical, horizontal, reverse = rng.random(4) < 0.5
    if swap:
        frames = frames[..., ::-1]
    if vertical:
        frames = frames[:, ::-1]
    if horizontal:
        frames = frames[:, :, ::-1]
    if reverse:
        frames, timestep = frames[::-1], 1 - timestep
    return frames, timestep


def low_resolution(frames: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, H/4, W/4, 3) float32 around [0, 1]: MATLAB-style bicubic, unrounded."""
    return reduce_bicubic(frames.astype(np.float32) / 255, UPSCALE)


def make_sample(frames: np.ndarray, timestep: float, rng: np.random.Generator, augment: bool = True,
                degrade: Degrade | None = None) -> Sample:
    """Augment three frames and derive the network's inputs from the outer two.

    Args:
        frames: (3, H, W, 3) uint8, the frames at times 0, timestep, 1; H and W multiples of 4.
        degrade: for the enhancement variant, turns the frames into (targets (3, H, W, 3) uint8,
            low-resolution inputs (2, H/4, W/4, 3) float32); None: plain bicubic reduction.
    """
    if augment:
        frames, timestep = augment_frames(frames, timestep, rng)
    frames = np.ascontiguousarray(frames)
    targets, reduced = degrade(frames, rng) if degrade else (frames, low_resolution(frames[::2]))
    return Sample(_channels_first(targets), _channels_first(reduced), np.float32(timestep))


def _channels_first(frames: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) -> contiguous (3N, H, W)."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).reshape(-1, *frames.shape[1:3])
