"""Drawing on the demo scene's canvases.

Lengths are in pixels of the 1280x720 image. Canvases are `S` times finer, with `MARGIN` pixels more
on every side, and hold premultiplied BGRA floats in [0, 1].
"""
from collections.abc import Sequence

import cv2
import numpy as np

WIDTH, HEIGHT, MARGIN, S = 1280, 720, 96, 2
CANVAS = ((HEIGHT + 2 * MARGIN) * S, (WIDTH + 2 * MARGIN) * S)
Points = Sequence[tuple[float, float]]


def grid() -> tuple[np.ndarray, np.ndarray]:
    """y and x of every canvas pixel, in image pixels."""
    y, x = np.mgrid[:CANVAS[0], :CANVAS[1]].astype(np.float32)
    return y / S - MARGIN, x / S - MARGIN


def layer(paint: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """A canvas covered with `paint`, (H, W, 3), where `alpha`, (H, W), says so; None: everywhere."""
    if alpha is None:
        alpha = np.ones(CANVAS, np.float32)
    return np.dstack([paint.clip(0, 1) * alpha[..., None], alpha]).astype(np.float32)


def _fixed(points: Points) -> np.ndarray:
    """Image coordinates as the fixed-point canvas coordinates that OpenCV draws with (shift = 4)."""
    return np.rint((np.array(points) + MARGIN) * S * 16).astype(np.int32)


def polygon(canvas: np.ndarray, points: Points, paint: np.ndarray) -> None:
    """Fill a polygon with one colour."""
    cv2.fillPoly(canvas, [_fixed(points)], (*map(float, paint), 1.0), shift=4)


def box(canvas: np.ndarray, left: float, top: float, right: float, bottom: float, paint: np.ndarray) -> None:
    """Fill an upright rectangle with one colour."""
    polygon(canvas, [(left, top), (right, top), (right, bottom), (left, bottom)], paint)


def disc(canvas: np.ndarray, x: float, y: float, across: float, down: float, paint: np.ndarray) -> None:
    """Fill an ellipse of these half axes with one colour."""
    angles = np.linspace(0, 2 * np.pi, 32)
    polygon(canvas, [(x + across * np.cos(a), y + down * np.sin(a)) for a in angles], paint)


def line(canvas: np.ndarray, points: Points, paint: np.ndarray, width: float) -> None:
    """Draw an open line through `points`."""
    cv2.polylines(canvas, [_fixed(points)], False, (*map(float, paint), 1.0), max(1, round(width * S)), shift=4)


def mask(points: Points) -> np.ndarray:
    """(H, W) float32 canvas, 1 inside the polygon."""
    shape = np.zeros(CANVAS, np.float32)
    cv2.fillPoly(shape, [_fixed(points)], 1.0, shift=4)
    return shape
