"""Scene cuts and repeated frames, found from neighbouring frames of a video."""
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT, BLOCK, REACH, STEP = 96, 54, 6, 6, 2
_STILL_MOST, _STILL_MANY = 10, 5  # grey levels: what lossy codecs change in some, and in many blocks of a still
_FLOOR = 4.0  # grey levels: what noise and slow fades may change in a flat block
DEFAULT_THRESHOLD = 0.45  # neighbours within shots score below 0.3, unrelated images above 0.48


class Relation(NamedTuple):
    """How a frame follows the one before it."""

    is_cut: bool
    repeats: int | None  # the index of the earlier frame that it shows again
    alike: int | None  # the same for a frame that only looks the same


def relations(frames: Iterable[list[np.ndarray]], threshold: float, depth: int,
              by_eye: bool = False) -> Iterator[Relation]:
    """Compare each frame with the ones before it, holding three at a time.

    A frame repeats an earlier one if no sample differs by more than one code value, the rounding noise of
    a codec. It is compared with the first frame of the run, so that slow fades cannot creep through.

    Args:
        frames: for each frame its planes, as `media.video.colour.samples` gives them.
        threshold: frames whose `cut_score` is above it belong to different scenes; from 1 on none do.
        depth: bits per sample.
        by_eye: look for frames that are alike, too: drawings that are shown for several frames, and come out of a
            lossy codec a little different each time. If not, only repeated frames count as alike.
    """
    previous: np.ndarray | None = None
    repeated: list[np.ndarray] = []
    similar: list[np.ndarray] = []
    repeated_index = similar_index = 0
    for index, planes in enumerate(frames):
        small = thumbnail(planes, depth)
        repeats = previous is not None and np.abs(small - previous).max() <= 2 and _same(planes, repeated)
        alike = repeats or by_eye and previous is not None and _looks_same(planes, similar, depth)
        is_cut_here = not alike and previous is not None and is_cut(previous, small, threshold)
        yield Relation(is_cut_here, repeated_index if repeats else None, similar_index if alike else None)
        if not repeats:
            repeated, repeated_index = [np.array(plane) for plane in planes], index
        if not alike:
            similar, similar_index = repeated, index
        previous = small


def thumbnail(planes: list[np.ndarray], depth: int) -> np.ndarray:
    """(54, 96) float32 luma in 0..255, averaged over areas, of a frame's planes (or of one H x W x 3 image)."""
    luma = planes[0]
    small = cv2.resize(luma, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small if small.ndim == 2 else small.mean(2)) / (1 << depth - 8)


def is_cut(first: np.ndarray, second: np.ndarray, threshold: float) -> bool:
    """Whether `cut_score` is above `threshold`; most pairs are settled without a search."""
    return cut_score(first, second, reach=0) > threshold and cut_score(first, second) > threshold


def cut_score(first: np.ndarray, second: np.ndarray, reach: int = REACH) -> float:
    """How badly the second thumbnail is explained by moving parts of the first: 0 perfectly, towards 1 not at all.

    Each 6x6 block of the second is looked for in the first within `reach` pixels (6% of the width). The score
    is what remains, compared with what remains if the block is taken as flat: remaining / (remaining + contrast
    + 4 grey levels). Moving objects and cameras keep it low where a plain difference of frames does not,
    and fades stay low where a correlation does not.
    """
    rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
    # A change of brightness alone is a fade or a flash, not another scene.
    first = first + float(second.mean() - first.mean())
    padded = cv2.copyMakeBorder(first, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    remaining = np.full((rows, columns), np.inf, np.float32)
    for y in range(0, 2 * reach + 1, STEP):
        for x in range(0, 2 * reach + 1, STEP):
            difference = cv2.absdiff(padded[y:y + HEIGHT, x:x + WIDTH], second)
            remaining = np.minimum(remaining, _block_means(difference))
    means = cv2.resize(_block_means(second), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    contrast = float(cv2.absdiff(second, means).mean())
    rest = float(remaining.mean())
    return rest / (rest + contrast + _FLOOR)


def _block_means(image: np.ndarray) -> np.ndarray:
    return image.reshape(HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK).mean((1, 3))


def _same(planes: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) or int(cv2.absdiff(a, b).max()) <= 1 for a, b in zip(planes, others))


def _looks_same(planes: list[np.ndarray], others: list[np.ndarray], depth: int) -> bool:
    """Whether two frames differ by no more than lossy codecs change a still.

    As libav's filter mpdecimate decides it: by the mean difference of 8x8 blocks, of which none may exceed a high bound
    (something small moves), and only a third a low one (all moves a little, or becomes brighter).
    """
    for one, other in zip(planes, others):
        size = max(1, one.shape[1] // 8), max(1, one.shape[0] // 8)
        blocks = cv2.resize(cv2.absdiff(one, other), size, interpolation=cv2.INTER_AREA)
        if blocks.max() > _STILL_MOST << depth - 8 or (blocks > _STILL_MANY << depth - 8).mean() > 1 / 3:
            return False
    return True
