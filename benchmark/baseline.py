"""What costs nothing, and every method must beat: bicubic enlargement and linear blending by the timestep."""
import numpy as np

from media.resize import enlarge_bicubic


def bicubic_blend(frame0: np.ndarray, frame1: np.ndarray, timestep: float, height: int, width: int) -> np.ndarray:
    """Both low-resolution frames enlarged as OpenCV does, mixed by their distance in time.

    Args:
        frame0, frame1: HxWx3 of one type. Whole numbers are enlarged as such, rounded: the protocols say so.
        timestep: in [0, 1]; 0 is frame 0.

    Returns:
        (height, width, 3) float32 in the frames' range, not rounded.
    """
    first, second = (enlarge_bicubic(frame, height, width).astype(np.float32) for frame in (frame0, frame1))
    return (1 - timestep) * first + timestep * second
