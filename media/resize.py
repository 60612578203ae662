"""Resizing as the field does it: MATLAB-style bicubic reduction, OpenCV bicubic enlargement."""
import functools

import cv2
import numpy as np


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -0.5, which MATLAB's imresize uses."""
    x = np.abs(x)
    return np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0.0))


@functools.lru_cache(maxsize=64)
def _reduction_matrix(size: int, factor: int) -> np.ndarray:
    """(ceil(size / factor), size) float32 matrix that reduces one axis.

    The kernel is stretched by `factor` (antialiasing), the image is mirrored at its edges, and the
    weights of each output pixel are normalised to a sum of one.
    """
    outputs = -(-size // factor)
    centres = (np.arange(outputs) + 0.5) * factor - 0.5
    first = np.floor(centres - 2 * factor).astype(int)
    taps = first[:, None] + np.arange(4 * factor + 2)
    weights = _cubic((centres[:, None] - taps) / factor)
    weights /= weights.sum(1, keepdims=True)
    taps = np.mod(taps, 2 * size)
    taps = np.where(taps < size, taps, 2 * size - 1 - taps)
    matrix = np.zeros((outputs, size))
    np.add.at(matrix, (np.arange(outputs)[:, None], taps), weights)
    return matrix.astype(np.float32)


def reduce_bicubic(frames: np.ndarray, factor: int = 4) -> np.ndarray:
    """Reduce images as MATLAB's `imresize(x, 1/factor, 'bicubic')` does, without rounding or clipping.

    Args:
        frames: (..., H, W, C), any number type; the value range is kept.
        factor: whole number; each side becomes ceil(side / factor).

    Returns:
        (..., ceil(H/factor), ceil(W/factor), C) float32. Values may overshoot the input's range.
    """
    rows = _reduction_matrix(frames.shape[-3], factor)
    columns = _reduction_matrix(frames.shape[-2], factor)
    *lead, height, width, channels = frames.shape
    # Two matrix products over every frame at once: BLAS does what a loop over rows would.
    flat = np.ascontiguousarray(frames, np.float32).reshape(-1, height, width * channels)
    reduced = np.matmul(rows, flat).reshape(-1, width, channels)
    reduced = np.matmul(columns, reduced)
    return reduced.reshape(*lead, len(rows), len(columns), channels)


def low_resolution(frames: np.ndarray, factor: int = 4, rounded: bool = False) -> np.ndarray:
    """The low-resolution frames of the field, for training and benchmarks alike: `reduce_bicubic` of 8-bit frames.

    Args:
        frames: (..., H, W, C) uint8.
        rounded: give uint8, as benchmarks' files hold them; else float32 around [0, 1], neither rounded nor clipped,
            as networks are trained on them.
    """
    if rounded:
        return np.clip(np.rint(reduce_bicubic(frames, factor)), 0, 255).astype(np.uint8)
    return reduce_bicubic(frames.astype(np.float32) / 255, factor)


def enlarge_bicubic(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge one HxW[xC] image with OpenCV's bicubic kernel (a = -0.75); the number type is kept."""
    if frame.shape[:2] == (height, width):
        return frame
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
