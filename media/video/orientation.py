"""Turning images as a video's display matrix has players do it."""
import numpy as np


def is_sideways(matrix: tuple[int, ...] | None) -> bool:
    """Whether a display matrix (9 numbers, row by row, as libav gives them) makes an image's columns its rows."""
    return matrix is not None and matrix[0] == matrix[4] == 0 and matrix[1] != 0 and matrix[3] != 0


def turned(image: np.ndarray, matrix: tuple[int, ...] | None, back: bool = False) -> np.ndarray:
    """Turn and mirror an (H, W, ...) image as a display matrix says, or `back` again.

    Matrices that do anything but quarter turns and mirroring leave the image as it is.
    """
    a, b, _, c, d = (matrix or (1, 0, 0, 0, 1))[:5]  # column x, row y is shown in column ax + cy, row bx + dy
    sideways = is_sideways(matrix)
    if not sideways and (b or c):
        return image
    across, down = ((b, c) if back else (c, b)) if sideways else (a, d)
    image = image.swapaxes(0, 1) if sideways else image
    return np.ascontiguousarray(image[::-1 if down < 0 else 1, ::-1 if across < 0 else 1])
