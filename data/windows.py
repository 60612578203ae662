"""Samples from windows of consecutive frames: what `adobe240`, `vimeo90k` and `folder` have in common."""
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from common.errors import UserError
from data.base import Dataset
from data.frames import CorruptFrame
from data.packed import TiledFrame, reduce_area
from data.sample import Triplet

_STILL = 2.0  # grey levels: a crop whose first and last frame differ less hardly moves


class FrameSequence(Protocol):
    """Frames by number. `read` takes ascending numbers and gives HxWx3 uint8 BGR frames, or what is cut like them."""

    name: str

    def __len__(self) -> int: ...

    def size(self) -> tuple[int, int]: ...

    def read(self, indices: list[int]) -> Sequence[np.ndarray | TiledFrame]: ...


class Windows(Dataset):
    """Windows of consecutive frames, each a first frame and a gap: inputs are frames 0 and `gap` of the window.

    The sample's frames are the window's first, the k-th and the last, with k uniform in 1..gap-1 and
    timestep k / gap. Where a first frame has several gaps, each sample draws one.

    Args:
        clips: where frames come from.
        gaps: distances between a window's first and last frame.
        allowed: per clip, (len(gaps), frames) bool: whether a window with this gap may start at this frame.
        reduce: the frames are reduced by this whole factor (averaging) before anything else.
        crop_tries: with more than 1, crops are drawn until one moves, at most this often.
        uniform: the clips are known to be of one size, so that looking at the first is enough.

    Raises:
        UserError: a clip's frames are smaller than the crop.
    """

    def __init__(self, clips: Sequence[FrameSequence], gaps: tuple[int, ...], allowed: list[np.ndarray],
                 crop: int | None, reduce: int = 1, crop_tries: int = 1, skip_corrupt: bool = False,
                 uniform: bool = False) -> None:
        super().__init__(crop, skip_corrupt)
        self.clips, self.gaps = clips, gaps
        self._allowed, self._reduce, self._tries = allowed, reduce, crop_tries
        self._starts = [np.flatnonzero(table.any(0)) for table in allowed]
        self._bounds = np.cumsum([len(starts) for starts in self._starts])
        if crop:
            for clip in clips[:1] if uniform else clips:
                self._check_size(clip)

    def __len__(self) -> int:
        return int(self._bounds[-1]) if len(self._bounds) else 0

    def triplet(self, index: int, rng: np.random.Generator, augment: bool, motion: bool = False) -> Triplet:
        number = int(np.searchsorted(self._bounds, index, side="right"))
        starts = self._starts[number]
        start = int(starts[index - (int(self._bounds[number]) - len(starts))])
        clip = self.clips[number]
        gaps = np.flatnonzero(self._allowed[number][:, start])
        gap = self.gaps[int(gaps[rng.integers(len(gaps))])]
        middle = int(rng.integers(1, gap))
        frames = [reduce_area(frame, self._reduce) for frame in clip.read([start, start + middle, start + gap])]
        if len({frame.shape for frame in frames}) > 1:
            raise CorruptFrame(f"frames {start} to {start + gap} of {clip.name} differ in size")
        return Triplet(self._crop(frames, clip, rng, augment), middle / gap)

    def _crop(self, frames: Sequence[np.ndarray | TiledFrame], clip: FrameSequence, rng: np.random.Generator,
              augment: bool) -> np.ndarray:
        height, width = frames[0].shape[:2]
        size = (self.crop, self.crop) if self.crop else (height // 4 * 4, width // 4 * 4)
        if height < size[0] or width < size[1]:
            raise self._too_small(clip, height, width)
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

    def _check_size(self, clip: FrameSequence) -> None:
        try:
            height, width = (side // self._reduce for side in clip.size())
        except CorruptFrame:
            if self._counter is None:
                raise
            return  # its samples will be skipped and counted
        if self.crop and min(height, width) < self.crop:
            raise self._too_small(clip, height, width)

    def _too_small(self, clip: FrameSequence, height: int, width: int) -> UserError:
        return UserError(f"crop {self.crop} is larger than the frames of {clip.name} ({width}x{height}): "
                         "use a smaller --crop or leave that clip out")


def _cut(frames: Sequence[np.ndarray | TiledFrame], top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    return np.stack([frame[top:top + size[0], left:left + size[1]] for frame in frames])


def every_window(count: int, gaps: tuple[int, ...], first: int = 0, end: int | None = None) -> np.ndarray:
    """Table (len(gaps), count) bool of the windows that lie in frames first..end-1 of a clip of `count` frames."""
    starts = np.arange(count)
    return np.stack([(starts >= first) & (starts + gap < (count if end is None else end)) for gap in gaps])


def check_gaps(gap: int | tuple[int, ...]) -> tuple[int, ...]:
    """One gap or several as a tuple. Raises UserError if one leaves no frame between the inputs."""
    gaps = (gap,) if isinstance(gap, int) else tuple(gap)
    if not gaps or min(gaps) < 2:
        raise UserError(f"gap {min(gaps, default=None)}: the two input frames must be at least 2 frames apart")
    return gaps
