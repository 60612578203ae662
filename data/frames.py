"""Clips: sequences of frames on disk, as folders of pictures or as video files, read at random."""
import functools
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np

from common.errors import UserError
from common.files import natural_key

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
VIDEOS = {".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"}


class CorruptFrame(UserError):
    """A frame that cannot be read, or is missing; the message names its file."""


def read_picture(path: Path) -> np.ndarray:
    """HxWx3 uint8 BGR. Raises CorruptFrame if the file is missing, damaged or no picture."""
    try:
        frame = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        frame = None
    if frame is None:
        raise CorruptFrame(f"cannot read {path}: missing or damaged; replace it, or use --skip_corrupt")
    return frame


class FrameFolder:
    """The pictures of one folder, in natural order."""

    def __init__(self, path: Path, name: str, files: list[Path] | None = None) -> None:
        if files is None:
            files = [file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != "."]
        self.path, self.name = path, name
        self.files = sorted(files, key=lambda file: natural_key(file.name))

    def __len__(self) -> int:
        return len(self.files)

    @functools.cached_property
    def missing(self) -> list[tuple[int, int]]:
        """Holes in the numbering, as (position after the hole, frames missing).

        Frames may be numbered in steps (1, 5, 9 ...): the commonest step is the folder's own.
        """
        numbers = [int(file.stem) if file.stem.isdecimal() else _last_number(file.stem) for file in self.files]
        if len(numbers) < 2 or None in numbers:
            return []
        steps = np.diff(numbers)
        step = Counter(steps.tolist()).most_common(1)[0][0]
        if step <= 0:
            return []
        return [(int(i) + 1, int(steps[i]) // step - 1) for i in np.flatnonzero(steps > step)]

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (ascending), HxWx3 uint8 BGR each."""
        for position, count in self.missing:
            if indices[0] < position <= indices[-1]:
                raise CorruptFrame(f"{count} frame(s) missing before {self.files[position]}")
        return [read_picture(self.files[index]) for index in indices]


def _last_number(stem: str) -> int | None:
    parts = [part for part in natural_key(stem) if isinstance(part, int)]
    return parts[-1] if parts else None


class VideoFile:
    """A video file; reading seeks to the key frame before the first frame wanted and decodes from there."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    @functools.cached_property
    def _times(self) -> list[int | None]:
        """Presentation times of all frames, in order, from the container: nothing is decoded."""
        try:
            with av.open(str(self.path)) as container:
                packets = container.demux(video=0)
                times = [packet.pts for packet in packets if packet.size and not packet.is_discard]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise CorruptFrame(f"cannot read {self.path}: {error}") from error
        return times if None in times else sorted(times)

    def __len__(self) -> int:
        return len(self._times)

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (ascending), HxWx3 uint8 BGR each."""
        wanted, found = set(indices), {}
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "SLICE"  # frame threads would decode far past the frames wanted
                seekable = None not in self._times
                if seekable:
                    position = {time: index for index, time in enumerate(self._times)}
                    container.seek(self._times[indices[0]], stream=stream)
                for count, frame in enumerate(container.decode(stream)):
                    index = position.get(frame.pts, -1) if seekable else count
                    if index in wanted:
                        found[index] = frame.to_ndarray(format="bgr24")
                    if index >= indices[-1]:
                        break
        except (av.FFmpegError, IndexError, OSError) as error:
            raise CorruptFrame(f"cannot read {self.path}: {error}") from error
        for index in indices:
            if index not in found:
                raise CorruptFrame(f"cannot decode frame {index} of {self.path}")
        return [found[index] for index in indices]

    def __iter__(self):
        """All frames in order, HxWx3 uint8 BGR."""
        try:
            with av.open(str(self.path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format="bgr24")
        except (av.FFmpegError, IndexError, OSError) as error:
            raise CorruptFrame(f"cannot read {self.path}: {error}") from error


def find_clips(root: Path) -> list[FrameFolder | VideoFile]:
    """Every video file, and every folder that holds pictures, under `root`, at any depth, in natural order.

    A clip's name is its path relative to `root`, a video's without the suffix.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    clips: list[FrameFolder | VideoFile] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        pictures = []
        for entry in folder.iterdir():
            suffix = entry.suffix.lower()
            if entry.name.startswith("."):
                continue
            if suffix in VIDEOS and entry.is_file():
                clips.append(VideoFile(entry, str(entry.relative_to(root).with_suffix(""))))
            elif suffix in PICTURES:
                pictures.append(entry)
            elif entry.is_dir():
                folders.append(entry)
        if len(pictures) > 1:
            clips.append(FrameFolder(folder, str(folder.relative_to(root)), pictures))
    return sorted(clips, key=lambda clip: natural_key(clip.name))
