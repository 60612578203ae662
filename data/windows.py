"""Samples from windows of consecutive frames: what `adobe240`, `vimeo90k` and `folder` have in common."""
from typing import Protocol

import numpy as np

from common.errors import UserError
from data.base import Dataset
from data.packed import reduce_area

_STILL = 2.0  # grey levels: a crop whose first and last frame differ less hardly moves


class Clip(Protocol):
    name: str

    def __len__(self) -> int: ...

    def read(self, indices: list[int]) -> list[np.ndarray]: ...


class Windows(Dataset):
    """Every window of `gap` + 1 consecutive frames of every clip.

    The sample's frames are the window's first, the k-th and the last, with k uniform in 1..gap-1 and
    timestep k / gap.

    Args:
        clips: where frames come from.
        starts: per clip, the first frames of its windows, ascending.
        gaps: distances between a window's first and last frame; with several, each sample draws one of
            those whose last frame the clip (up to `ends`) still has. `starts` must fit the smallest.
        ends: per clip, one past the last frame that may be used; None: all its frames.
        reduce: the frames are reduced by this whole factor (averaging) before anything else.
        crop_tries: with more than 1, crops are drawn until one moves, at most this often.
    """

    def __init__(self, clips: list[Clip], starts: list[np.ndarray], gaps: tuple[int, ...], crop: int | None,
                 ends: list[int] | None = None, reduce: int = 1, crop_tries: int = 1,
                 skip_corrupt: bool = False) -> None:
        super().__init__(crop, skip_corrupt)
        self.clips, self.gaps = clips, tuple(sorted(gaps))
        self._starts, self._reduce, self._tries = starts, reduce, crop_tries
        self._ends = ends or [len(clip) for clip in clips]
        self._bounds = np.cumsum([len(clip_starts) for clip_starts in starts])

    def __len__(self) -> int:
        return int(self._bounds[-1]) if len(self._bounds) else 0

    def window(self, index: int) -> tuple[int, int]:
        """(number of the clip, first frame) of the window at `index`."""
        clip = int(np.searchsorted(self._bounds, index, side="right"))
        before = int(self._bounds[clip - 1]) if clip else 0
        return clip, int(self._starts[clip][index - before])

    def frames(self, index: int, rng: np.random.Generator, augment: bool) -> tuple[np.ndarray, float]:
        number, start = self.window(index)
        clip = self.clips[number]
        fitting = [gap for gap in self.gaps if start + gap < self._ends[number]]
        gap = fitting[int(rng.integers(len(fitting)))] if len(fitting) > 1 else fitting[0]
        middle = int(rng.integers(1, gap))
        frames = [reduce_area(frame, self._reduce) for frame in clip.read([start, start + middle, start + gap])]
        if len({frame.shape for frame in frames}) > 1:
            raise UserError(f"the frames of {clip.name} differ in size")
        return self._crop(frames, clip, rng, augment), middle / gap

    def _crop(self, frames: list[np.ndarray], clip: Clip, rng: np.random.Generator, augment: bool) -> np.ndarray:
        height, width = frames[0].shape[:2]
        size = (self.crop, self.crop) if self.crop else (height // 4 * 4, width // 4 * 4)
        if height < size[0] or width < size[1]:
            raise UserError(f"crop {self.crop} is larger than the frames of {clip.name} ({width}x{height}): "
                            f"use a smaller --crop")
        room = height - size[0], width - size[1]
        if not augment or self.crop is None:
            return _cut(frames, room[0] // 2, room[1] // 2, size)
        for _ in range(self._tries):
            cut = _cut(frames, int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)), size)
            if self._tries == 1:
                break
            first, last = cut[0, ::4, ::4].astype(np.int16), cut[2, ::4, ::4].astype(np.int16)
            if np.abs(first - last).mean() > _STILL:
                break
        return cut


def _cut(frames: list[np.ndarray], top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    return np.stack([frame[top:top + size[0], left:left + size[1]] for frame in frames])


def every_start(count: int, gap: int) -> np.ndarray:
    """The first frames of all windows of gap + 1 frames in `count` frames."""
    return np.arange(max(0, count - gap))


def check_gaps(gap: int | tuple[int, ...]) -> tuple[int, ...]:
    """One gap or several as a tuple. Raises UserError if one leaves no frame between the inputs."""
    gaps = (gap,) if isinstance(gap, int) else tuple(gap)
    if not gaps or min(gaps) < 2:
        raise UserError(f"gap {gap}: the two input frames must be at least 2 frames apart")
    return gaps
