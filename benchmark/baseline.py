"""The baselines every network must beat: bicubic enlargement, with blending or with classical optical flow.

A further baseline is one function here and one line in `BASELINES`; every benchmark, report and comparison knows it
then.
"""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from media.resize import enlarge_bicubic


class Baseline(NamedTuple):
    """A method without weights.

    Attributes:
        title: what tables call it.
        between: (frame0, frame1, timesteps, (height, width)) -> one (height, width, 3) float32 frame per timestep,
            not rounded, in the range of the input frames, which are HxWx3 BGR and smaller.
    """

    title: str
    between: Callable[[np.ndarray, np.ndarray, Sequence[float], tuple[int, int]], list[np.ndarray]]


def bicubic_blend(frame0: np.ndarray, frame1: np.ndarray, timestep: float, height: int, width: int) -> np.ndarray:
    """Both low-resolution frames enlarged as OpenCV does, mixed by their distance in time.

    Args:
        frame0, frame1: HxWx3 of one type. Whole numbers are enlarged as such, rounded: the protocols say so.
        timestep: in [0, 1]; 0 is frame 0.

    Returns:
        (height, width, 3) float32 in the frames' range, not rounded.
    """
    return _blend(*_enlarged(frame0, frame1, (height, width)), [timestep])[0]


def bicubic_flow(frame0: np.ndarray, frame1: np.ndarray, timesteps: Sequence[float],
                 size: tuple[int, int]) -> list[np.ndarray]:
    """Optical flow between the enlarged frames; both warped to each timestep, and blended by their distance in time.

    The flow is OpenCV's DIS (Kroeger et al., ECCV 2016) on the gray frames, in both directions. Flow is taken to be
    the same at a timestep as at the same place of the frame it starts from, and motion to be even: the simplest of
    the usual approximations. (That of Super SloMo, Jiang et al., CVPR 2018, differs by less than 0.1 dB here.)

    Args:
        frame0, frame1: uint8 HxWx3, or float32 in [0, 1].
        timesteps: each in [0, 1].
        size: (height, width) of the result.
    """
    first, second = _enlarged(frame0, frame1, size)
    scale = 1 if frame0.dtype == np.uint8 else 255
    gray0, gray1 = (cv2.cvtColor(np.clip(np.rint(frame * scale), 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
                    for frame in (first, second))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    forward, backward = dis.calc(gray0, gray1, None), dis.calc(gray1, gray0, None)
    return [_blend(_warp(first, t * backward), _warp(second, (1 - t) * forward), [t])[0] for t in timesteps]


def _enlarged(frame0: np.ndarray, frame1: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return enlarge_bicubic(frame0, *size).astype(np.float32), enlarge_bicubic(frame1, *size).astype(np.float32)


def _blend(first: np.ndarray, second: np.ndarray, timesteps: Sequence[float]) -> list[np.ndarray]:
    return [(1 - t) * first + t * second for t in timesteps]


def _warp(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Each pixel from where (H, W, 2) `flow` points to, in pixels, x before y; the border is repeated."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    flow = flow.astype(np.float32)
    return cv2.remap(frame, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


BASELINES: dict[str, Baseline] = {
    "bicubic": Baseline("Bicubic + blending", lambda frame0, frame1, timesteps, size: _blend(
        *_enlarged(frame0, frame1, size), timesteps)),
    "flow": Baseline("Bicubic + DIS flow", bicubic_flow),
}
