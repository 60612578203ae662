"""The optical flow that a sample's frames are supervised with: its layout, its augmentation, its estimation."""
from typing import Any, NamedTuple

import cv2
import numpy as np

_GREY_LEVELS = 6.0  # a local error of this size divides the confidence by e
_WINDOW = 7         # pixels: side of the square over which the error is averaged


class Motion(NamedTuple):
    """Flow from each of a sample's three frames (timesteps 0, t, 1) to both of its ends.

    flow: float32 (3, 4, H, W), pixels: (x, y) into frame 0, then (x, y) into frame 1. What is seen at p in the
        frame is seen at p + flow in the other one (backward warping reads there). From frame 0 into frame 0, and
        from frame 1 into frame 1, it is zero.
    confidence: float32 (3, 2, H, W) in [0, 1], how far the flow into frame 0, and into frame 1, is to be relied
        on; 0 where what is seen is hidden or outside of the other frame.
    """

    flow: np.ndarray
    confidence: np.ndarray


def flip_motion(motion: Motion, vertical: bool, horizontal: bool, reverse: bool) -> Motion:
    """The motion of the same frames flipped upside down, left to right, and reversed in time."""
    confidence = motion.confidence
    flow = motion.flow.reshape(3, 2, 2, *motion.flow.shape[2:]).copy()  # frame, end, axis, row, column
    if vertical:
        flow, confidence = flow[..., ::-1, :], confidence[..., ::-1, :]
        flow[:, :, 1] *= -1
    if horizontal:
        flow, confidence = flow[..., ::-1], confidence[..., ::-1]
        flow[:, :, 0] *= -1
    if reverse:
        flow, confidence = flow[::-1, ::-1], confidence[::-1, ::-1]
    return Motion(flow.reshape(motion.flow.shape), confidence)


def reduce_motion(motion: Motion, factor: int) -> Motion:
    """The motion of frames reduced by a whole factor, (3, 4, H/factor, W/factor), in their pixels.

    The confidence is averaged over each block; the flow too, each pixel weighing as much as it is relied on.
    """
    height, width = motion.confidence.shape[2:]
    weight = motion.confidence.reshape(3, 2, 1, height, width) + np.float32(1e-6)  # where all is 0, the plain mean
    flow = _block_means(motion.flow.reshape(3, 2, 2, height, width) * weight, factor) / _block_means(weight, factor)
    return Motion(flow.reshape(3, 4, *flow.shape[3:]) / np.float32(factor), _block_means(motion.confidence, factor))


def _block_means(values: np.ndarray, factor: int) -> np.ndarray:
    """(..., H, W) -> (..., H/factor, W/factor): means over blocks; strided sums are faster than a reshaped mean."""
    columns: Any = sum(values[..., start::factor] for start in range(factor))
    return sum(columns[..., start::factor, :] for start in range(factor)) / np.float32(factor * factor)


def estimate_motion(frames: np.ndarray) -> Motion:
    """Motion of three recorded frames, by OpenCV's dense inverse search (Kroeger et al., 2016).

    The confidence is exp(-e / 6 grey levels), where e is the mean absolute difference, over 7x7 pixels, between the
    frame and the other one warped by the flow; 0 where the flow leaves the frame.

    Args:
        frames: (3, H, W, 3) uint8 BGR at timesteps 0, t, 1; H and W at least 16.
    """
    gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_BGR2GRAY) for frame in frames]
    height, width = gray[0].shape
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    flow, confidence = still_motion(height, width)
    rows, columns = pixel_grid(height, width)
    for place, frame in enumerate(gray):
        for end, other in enumerate((gray[0], gray[2])):
            if place == 2 * end:
                continue
            found = search.calc(frame, other, None)
            x, y = columns + found[..., 0], rows + found[..., 1]
            warped = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            error = cv2.blur(cv2.absdiff(warped, frame).astype(np.float32), (_WINDOW, _WINDOW))
            flow[place, 2 * end:2 * end + 2] = found.transpose(2, 0, 1)
            confidence[place, end] = np.exp(-error / _GREY_LEVELS) * inside(x, y)
    return Motion(flow, confidence)


def still_motion(height: int, width: int) -> Motion:
    """Zero flow; confidence 1 from each end into itself and 0 elsewhere."""
    confidence = np.zeros((3, 2, height, width), np.float32)
    confidence[0, 0] = confidence[2, 1] = 1
    return Motion(np.zeros((3, 4, height, width), np.float32), confidence)


def pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns): y as (height, 1) and x as (1, width), float32."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which positions lie in a frame of the same size as the arrays: (H, W) bool."""
    height, width = x.shape
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
