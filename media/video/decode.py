"""Reading a video: what it is, when each frame is shown, and any run of its frames."""
import collections
import dataclasses
import hashlib
import itertools
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from common.errors import UserError
from media.libav_log import unlogged
from media.video import colour
from media.video.deinterlace import deinterlaced
from media.video.hdr import StaticMetadata, lost_with_the_frames, static_metadata
from media.video.packets import Damage, decoded

# What is taken for a video in a folder; libav goes by the content, so a file that is named may have any suffix.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob",
                  ".wmv", ".flv", ".3gp", ".ogv", ".mxf")
# Every read starts a decoder of its own with this many threads: the same frames come out wherever it starts.
_THREADS = 4
_FIRST_FRAMES = 24  # looked at to see whether interlaced frames are marked as such


@dataclasses.dataclass
class FrameFormat:
    """What the output has to keep of the source's frames."""

    width: int
    height: int
    depth: int  # bits per sample; more than 8 are read as uint16
    colour: colour.Colour
    aspect: Fraction | None = None  # of a pixel
    matrix: tuple[int, ...] | None = None  # display matrix (rotation, mirroring), 9 numbers as libav gives them
    hdr: StaticMetadata = StaticMetadata()


@dataclasses.dataclass
class Stamp:
    """When a frame is shown, as the file says; in ticks of the source's time base."""

    pts: int | None
    duration: int
    corrupt: bool = False


class VideoSource:
    """One video stream of a file: the default one, or else the first that is no cover image.

    To read frames by number, give `read` the times of all frames as `media.video.probe.survey` finds them
    (`Survey.stamps`). Whoever knows the times otherwise, from the packets for instance, may give those: strictly
    increasing, in `time_base`, one for each frame that decoding gives. Frames come out as (H, W, 3) BGR, uint8, or
    full-range uint16 of videos of more than 8 bits, converted by the video's own matrix and range
    (`media.video.colour`), and as stored: turning them upright by `format.matrix` is left to the caller
    (`media.video.orientation.turned`). Each read opens the file anew: objects can be copied to other processes, and
    read in several threads unless they have no times.

    Args:
        deinterlace: one of `media.video.deinterlace.MODES`, or None to take frames as they are.

    Attributes:
        path, index (of the stream), format (FrameFormat), time_base, rate (frames per second by the header, a
        Fraction, which may be far from the truth), declared (where the video ends by the header, in seconds, or
        None), notes (things to tell the user).

    Raises:
        UserError: the file is missing, cannot be read, or has no video.
    """

    @unlogged()
    def __init__(self, path: str | Path, deinterlace: str | None = None):
        self.path = Path(path)
        self.notes: list[str] = []
        self._deinterlace, self._only_flagged = deinterlace, False
        self._per_tick = 2 if deinterlace else 1  # ticks of `time_base` in one of the stream
        self._counted: _CountedFrames | None = None
        if self.path.exists() and not self.path.is_file():
            kind = "a folder" if self.path.is_dir() else "a pipe or a device: save it as a file first"
            raise UserError(f"cannot read {path}: it is {kind}")
        with self._open() as container:
            videos = [s for s in container.streams.video if s.codec_context is not None and not _is_cover(s)]
            if not videos:
                raise UserError(f"{path} has no video stream")
            stream = next((s for s in videos if s.disposition & av.stream.Disposition.default), videos[0])
            if len(videos) > 1:
                self.notes.append(f"{len(videos)} video streams: stream {stream.index} is taken")
            self.index = stream.index
            self.time_base = stream.time_base / self._per_tick
            self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            if deinterlace == "field":
                self.rate *= 2
            self.declared = _declared_end(container, stream)
            self.format = self._look(container, stream)

    def identity(self) -> list:
        """What tells this file from another of the same name: size, time of change, and its head."""
        status = self.path.stat()
        with open(self.path, "rb") as file:
            head = hashlib.sha256(file.read(1 << 16)).hexdigest()
        return [status.st_size, status.st_mtime_ns, head]

    def scan(self, since: int | None = None, until: int | None = None) -> Iterator[tuple[Stamp, list[np.ndarray]]]:
        """Decode everything once: each frame's stamp and planes. Damage ends it, or costs single frames; see notes.

        since, until: times, in ticks, between which all frames are wanted; others may be left out.
        """
        damage = Damage()
        count = interlaced = 0
        lost: set[str] = set()
        around = int(1 / self.time_base)  # a second
        frames = self._frames(damage=damage) if since is None else self._frames_since(since - around, damage)
        for frame in frames:
            if until is not None and frame.pts is not None and frame.pts > until + around:
                break
            count += 1
            interlaced += frame.interlaced_frame
            lost.update(lost_with_the_frames(frame.side_data))
            corrupt = frame.is_corrupt or frame.pts is not None and frame.pts // self._per_tick in damage.packets
            yield Stamp(frame.pts, frame.duration or 0, corrupt), self._planes(frame)
        if lost:
            self.notes.append(f"left out: {', '.join(sorted(lost))}")
        if damage.places:
            self.notes.append(f"{damage.places} damaged places were skipped")
        if interlaced > count // 10 and self._deinterlace is None:
            self.notes.append("the video is interlaced: --deinterlace makes whole frames of its fields first")

    def read(self, first: int, last: int, stamps: list[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        """Frames first..last, as (number, BGR image).

        Args:
            stamps: the times of all frames, by which they are found; None: frames are counted from the beginning.

        Raises:
            UserError: the file no longer gives the frames it gave before.
        """
        found = self._by_count(first) if stamps is None else self._by_time(first, last, stamps)
        number = first - 1
        for number, frame in found:
            yield number, colour.to_bgr(self._sized(frame), self.format.colour)
            if number == last:
                return
        raise UserError(f"frame {number + 1} of {self.path} cannot be read again: has the file changed?")

    def _by_count(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, frame) from `first` on, counted from the beginning of the file."""
        if self._counted is None or self._counted.oldest > first:
            self._counted = _CountedFrames(self._frames())
        yield from self._counted.since(first)

    def _by_time(self, first: int, last: int, stamps: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, frame) from `first` to `last`, none left out; fewer if the file does not give them all.

        Damage hides frames, depending on where decoding starts. Where one is missing, decoding starts further back,
        and goes on from that frame.
        """
        number_of: dict[int | None, int] = {stamps[k]: k for k in range(first, last + 1)}
        expected = first
        second = int(1 / self.time_base)
        # Deinterlacing looks at the frame before: a few frames earlier there is one in any case.
        earlier = int(4 / (self.rate * self.time_base)) if self._deinterlace else 0
        near = max(stamps[0], stamps[first] - earlier)
        for start in (near, near - second, near - 4 * second, near - 16 * second, None):
            for frame in self._frames(start):
                number = number_of.get(frame.pts, -1)
                if number > expected:
                    break
                if number == expected:
                    yield number, frame
                    expected += 1
                if expected > last:
                    return

    def _frames_since(self, start: int, damage: Damage) -> Iterator[av.VideoFrame]:
        """Frames from a key frame at or before `start` on, or all if that fails."""
        frames = self._frames(start, damage)
        first = next(frames, None)
        yield from self._frames(damage=damage) if first is None else itertools.chain([first], frames)

    def _frames(self, start: int | None = None, damage: Damage | None = None) -> Iterator[av.VideoFrame]:
        """The frames as they are worked on, from a key frame at or before `start` on, or all; none if that fails."""
        with unlogged():
            yield from self._decoded_frames(start, damage)

    def _decoded_frames(self, start: int | None, damage: Damage | None) -> Iterator[av.VideoFrame]:
        with self._open() as container:
            stream = container.streams[self.index]
            stream.codec_context.thread_count = _THREADS
            stream.codec_context.thread_type = "FRAME"
            if start is not None:
                start //= self._per_tick
            frames = decoded(container, stream, start, damage)
            if self._deinterlace:
                frames = deinterlaced(map(self._sized, frames), self._deinterlace, stream.time_base, self._only_flagged)
            yield from frames

    def _open(self):
        try:
            return av.open(str(self.path.absolute()), metadata_errors="replace")  # `a:b` would be protocol `a`
        except av.error.FFmpegError as error:
            raise UserError(f"cannot read {self.path}: {_reason(error)}") from error

    def _look(self, container, stream) -> FrameFormat:
        """Decode the first frames to see what they are like."""
        frames = decoded(container, stream)
        frame = next(frames, None)
        if frame is None:
            why = ": animated WebP is beyond FFmpeg; save its frames as PNG files and give their folder as --img" \
                if stream.codec_context.name == "webp" else ""
            raise UserError(f"no frame of {self.path} can be decoded{why}")
        if self._deinterlace:
            others = (other for other, _ in zip(frames, range(_FIRST_FRAMES)))
            self._only_flagged = frame.interlaced_frame or any(other.interlaced_frame for other in others)
        if colour.has_alpha(frame.format) or stream.metadata.get("alpha_mode") == "1":  # a second image, in WebM
            self.notes.append("the alpha channel is dropped")
        side_data: Any = frame.side_data  # whose entries PyAV declares as text
        matrix = next((struct.unpack("<9i", bytes(data)) for data in side_data
                       if data.type.name == "DISPLAYMATRIX"), None)
        aspect = stream.sample_aspect_ratio
        return FrameFormat(frame.width, frame.height, colour.depth_of(frame.format),
                           colour.colour_of(frame, stream.codec_context), aspect or None, matrix,
                           static_metadata(frame.side_data))

    def _planes(self, frame: av.VideoFrame) -> list[np.ndarray]:
        frame = self._sized(frame)
        if frame.format.is_rgb or frame.format.has_palette:
            return [colour.to_bgr(frame, self.format.colour)]
        return colour.samples(frame)

    def _sized(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A stream may change its size on the way; the first frame's is kept."""
        if (frame.width, frame.height) == (self.format.width, self.format.height):
            return frame
        return frame.reformat(width=self.format.width, height=self.format.height, interpolation="BICUBIC")


class _CountedFrames:
    """The frames of a file that has no times to find them by: decoded once, from the beginning on.

    The last few are kept, because the segments that are read one after another have frames in common.
    """

    def __init__(self, frames: Iterator[av.VideoFrame]):
        self._coming = enumerate(frames)
        self._kept: collections.deque = collections.deque(maxlen=2)

    @property
    def oldest(self) -> int:
        """The first number that can still be had."""
        return self._kept[0][0] if self._kept else 0

    def since(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, frame) from `first` on."""
        yield from [(number, frame) for number, frame in self._kept if number >= first]
        for number, frame in self._coming:
            self._kept.append((number, frame))
            if number >= first:
                yield number, frame


def _is_cover(stream) -> bool:
    return bool(stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails))


def _declared_end(container, stream) -> Fraction | None:
    """Where the video ends by the header, in seconds; None if it does not say."""
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska
    if tag:
        return (int(tag[1]) * 60 + int(tag[2])) * 60 + Fraction(tag[3])
    if container.duration and len(container.streams) == 1:
        return Fraction((container.start_time or 0) + container.duration, av.time_base)
    return None


def _reason(error: av.error.FFmpegError) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return "not a video, or cut off before its index (a copy that did not finish?)"
    return str(error.strerror)
