"""From three frames to one training sample, as the paper's section on training describes."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data.motion import Motion, estimate_motion, flip_motion, reduce_motion
from media.resize import low_resolution

UPSCALE = 4  # the factor the network is trained for

Degrade = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Triplet(NamedTuple):
    """What a dataset gives: three frames of one size, H and W multiples of 4.

    frames: (3, H, W, 3) uint8 BGR at times 0, timestep and 1.
    timestep: in (0, 1).
    motion: the true flow between them, where it is known.
    """

    frames: np.ndarray
    timestep: float
    motion: Motion | None = None


class Sample(NamedTuple):
    """One training sample; images are BGR, channel first.

    targets: uint8 (9, H, W), the true frames at times 0, timestep and 1, three channels each.
    inputs: float32 (6, H/4, W/4), the low-resolution frames at times 0 and 1. The range is [0, 1], with
        the overshoot that bicubic resizing leaves (it is not clipped, as published).
    timestep: float32 in (0, 1).
    flow: float32 (3, 4, H/4, W/4), from each of the three frames to both ends, in low-resolution pixels, and
    confidence: float32 (3, 2, H/4, W/4) in [0, 1], see `data.motion.Motion`; None where it was not asked for.
    """

    targets: np.ndarray
    inputs: np.ndarray
    timestep: np.float32
    flow: np.ndarray | None = None
    confidence: np.ndarray | None = None


def augment_triplet(triplet: Triplet, rng: np.random.Generator) -> Triplet:
    """BGR<->RGB, vertical flip, horizontal flip and time reversal, each with probability 1/2.

    The frames are a view; the timestep becomes 1 - timestep where time is reversed.
    """
    frames, timestep, motion = triplet
    swap, vertical, horizontal, reverse = rng.random(4) < 0.5
    if swap:
        frames = frames[..., ::-1]
    if vertical:
        frames = frames[:, ::-1]
    if horizontal:
        frames = frames[:, :, ::-1]
    if reverse:
        frames, timestep = frames[::-1], 1 - timestep
    return Triplet(frames, timestep, motion and flip_motion(motion, vertical, horizontal, reverse))


def make_sample(triplet: Triplet, rng: np.random.Generator, augment: bool = True, degrade: Degrade | None = None,
                flow: bool = False) -> Sample:
    """Augment three frames and derive the network's inputs from the outer two.

    Args:
        degrade: for the enhancement variant, turns the frames into (targets (3, H, W, 3) uint8,
            low-resolution inputs (2, H/4, W/4, 3) float32); None: plain bicubic reduction.
        flow: fill in flow and confidence: the triplet's own motion, or else an estimate from the true frames.
    """
    if augment:
        triplet = augment_triplet(triplet, rng)
    frames = np.ascontiguousarray(triplet.frames)
    targets, reduced = degrade(frames, rng) if degrade else (frames, low_resolution(frames[::2], UPSCALE))
    motion = reduce_motion(triplet.motion or estimate_motion(frames), UPSCALE) if flow else (None, None)
    return Sample(_channels_first(targets), _channels_first(reduced), np.float32(triplet.timestep), *motion)


def _channels_first(frames: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) -> contiguous (3N, H, W)."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).reshape(-1, *frames.shape[1:3])
