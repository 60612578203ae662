"""Clips: sequences of frames on disk, as folders of images or as video files, read at random."""
import collections
import concurrent.futures
import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from common.errors import UserError
from common.files import natural_key
from media.image import is_image, list_images, read_bgr, to_display
from media.video import colour

VIDEOS = {".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"}


class CorruptFrame(UserError):
    """A frame that cannot be read, or is missing; the message names its file."""


def read_frame(path: Path) -> np.ndarray:
    """HxWx3 uint8 BGR, as stored. Raises CorruptFrame if the file is missing, damaged or no image."""
    try:
        return read_bgr(path)
    except UserError as error:
        raise CorruptFrame(str(error)) from error


class FrameFolder:
    """The images of one folder, in natural order."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.files = list_images(path)

    def __len__(self) -> int:
        return len(self.files)

    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame."""
        return read_frame(self.files[0]).shape[:2]

    @functools.cached_property
    def missing(self) -> list[tuple[int, int]]:
        """Holes in the numbering, as (position after the hole, frames missing).

        Frames may be numbered in steps (1, 5, 9 ...): the commonest step is the folder's own.
        """
        numbers = [int(file.stem) if file.stem.isdecimal() else _last_number(file.stem) for file in self.files]
        known = [number for number in numbers if number is not None]
        if len(numbers) < 2 or len(known) < len(numbers):
            return []
        steps = np.diff(known)
        step = collections.Counter(steps.tolist()).most_common(1)[0][0]
        if step <= 0:
            return []
        return [(int(i) + 1, int(steps[i]) // step - 1) for i in np.flatnonzero(steps > step)]

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (ascending), HxWx3 uint8 BGR each."""
        self._check_numbers(indices[0], indices[-1])
        return [read_frame(self.files[index]) for index in indices]

    def origin(self, index: int) -> Path:
        """The file of a frame."""
        return self.files[index]

    def frames(self, pool: concurrent.futures.Executor) -> Iterator[np.ndarray]:
        """All frames in order, HxWx3 uint8 BGR, up to the first damaged or missing one: it raises CorruptFrame."""
        return ordered_map(pool, self._frame, range(len(self)))

    def _frame(self, index: int) -> np.ndarray:
        self._check_numbers(index - 1, index)
        return read_frame(self.files[index])

    def _check_numbers(self, first: int, last: int) -> None:
        for position, count in self.missing:
            if first < position <= last:
                raise CorruptFrame(f"{count} frame(s) missing before {self.files[position]}")


def _last_number(stem: str) -> int | None:
    parts = [part for part in natural_key(stem) if isinstance(part, int)]
    return parts[-1] if parts else None


class VideoFile:
    """A video file; reading seeks to the key frame before the first frame wanted and decodes from there.

    The frames are those that `inference_video.py` sees (`media.video.colour`): the matrix and range the file is tagged
    with, chroma interpolated at its place. With `as_published` they are those of OpenCV's VideoCapture instead, which
    repeats each chroma sample of 4:2:0 over its 2x2 pixels (at sharp coloured edges up to some 60 grey levels off):
    with it the field has extracted Adobe240, and published figures are measured on such frames.
    """

    def __init__(self, path: Path, name: str, as_published: bool = False) -> None:
        self.path, self.name, self._as_published = path, name, as_published

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise CorruptFrame(f"cannot read {self.path}: it holds no video")
                yield container
        except (av.FFmpegError, OSError) as error:
            raise CorruptFrame(f"cannot read {self.path}: {error}") from error

    @functools.cached_property
    def _times(self) -> list[int | None]:
        """Presentation times of all frames, in order, from the container: nothing is decoded."""
        with self._open() as container:
            times = [packet.pts for packet in container.demux(video=0) if packet.size and not packet.is_discard]
        return times if None in times else sorted(times)  # type: ignore[type-var]

    def __len__(self) -> int:
        return len(self._times)

    def size(self) -> tuple[int, int]:
        """(height, width) of the frames as they are stored: a phone's video may be shown on its side."""
        with self._open() as container:
            return container.streams.video[0].height, container.streams.video[0].width

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (ascending), HxWx3 uint8 BGR each."""
        position = {time: index for index, time in enumerate(self._times)}
        found = self._decode(indices, position, seek=None not in position)
        if indices[0] not in found and None not in position:
            found = self._decode(indices, position, seek=False)  # some containers seek to a frame too late
        for index in indices:
            if index not in found:
                raise CorruptFrame(f"cannot decode frame {index} of {self.path}")
        return [found[index] for index in indices]

    def origin(self, index: int) -> Path:
        """The file that all frames are in."""
        return self.path

    def _decode(self, indices: list[int], position: dict[int | None, int], seek: bool) -> dict[int, np.ndarray]:
        wanted, found, damaged = set(indices), {}, False
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # frame threads would decode far past the frames wanted
            if seek and (start := self._times[indices[0]]) is not None:
                container.seek(start, stream=stream)
            for count, frame in enumerate(container.decode(stream)):
                index = count if None in position else position.get(frame.pts, -1)
                # Decoders guess what they cannot read; what is predicted from that is spoilt too, up to a key frame.
                damaged = frame.is_corrupt or damaged and not frame.key_frame
                if index in wanted:
                    if damaged:
                        raise CorruptFrame(f"frame {index} of {self.path} is damaged")
                    found[index] = self._image(frame, stream.codec_context)
                if index >= indices[-1]:
                    break
        return found

    def frames(self, pool: concurrent.futures.Executor | None = None) -> Iterator[np.ndarray]:
        """All frames in order, HxWx3 uint8 BGR, up to the first that is damaged: it raises CorruptFrame.

        libav has threads of its own and needs no `pool`.
        """
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for index, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise CorruptFrame(f"frame {index} of {self.path} is damaged")
                yield self._image(frame, stream.codec_context)

    def _image(self, frame: av.VideoFrame, context: av.VideoCodecContext) -> np.ndarray:
        """HxWx3 uint8 BGR, turned as the file says it is to be shown (phones record on their side)."""
        if self._as_published:
            image = frame.to_ndarray(format="bgr24")
        else:
            image = colour.to_bgr(frame, colour.colour_of(frame, context))
            image = image if image.dtype == np.uint8 else to_display(image)
        return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90))) if frame.rotation else image


def find_clips(root: Path) -> list[FrameFolder | VideoFile]:
    """Every video file, and every folder that holds images, under `root`, at any depth, in natural order.

    A clip's name is its path relative to `root`, a video's without the suffix.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    clips: list[FrameFolder | VideoFile] = []
    for folder, videos in walk(root):
        clips += [VideoFile(video, str(video.relative_to(root).with_suffix(""))) for video in videos]
        images = FrameFolder(folder, str(folder.relative_to(root)))
        if len(images) > 1:
            clips.append(images)
    return sorted(clips, key=lambda clip: natural_key(clip.name))


def walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder at and below `root` with the video files in it, hidden ones left out.

    Links are followed, and each folder is visited once, by the shortest way: links may lead in circles.
    """
    visited = {root.resolve()}
    level = [root]
    while level:
        below = []
        for folder in level:
            entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
            yield folder, [entry for entry in entries if entry.suffix.lower() in VIDEOS and entry.is_file()]
            below += [entry for entry in entries if not is_image(entry) and entry.is_dir()]
        level = []
        for folder in sorted(below, key=lambda folder: folder.is_symlink()):  # a folder's own name before a link's
            if (target := folder.resolve()) not in visited:
                visited.add(target)
                level.append(folder)


def ordered_map(pool: concurrent.futures.Executor, function: Callable[[Any], Any], items: Iterable) -> Iterator:
    """`map` in a pool that works ahead only a little. An error of `items` comes after the results before it."""
    items = iter(items)
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    failure = None
    while True:
        try:
            waiting.append(pool.submit(function, next(items)))
        except StopIteration:
            break
        except UserError as error:
            failure = error
            break
        if len(waiting) > 2 * (os.cpu_count() or 1):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failure:
        raise failure
