"""Reading videos and picture sequences: what they are, when each frame is shown, and any run of their frames."""
import collections
import dataclasses
import hashlib
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from common.errors import UserError
from common.files import natural_key
from media.image import PICTURE_SUFFIXES, read_image
from media.video import colour

# Every read starts a decoder of its own with this many threads: the same frames come out wherever it starts.
_THREADS = 4


@dataclasses.dataclass
class Look:
    """What the output has to keep of the source's picture."""

    width: int
    height: int
    depth: int  # bits per sample; more than 8 are read as uint16
    colour: colour.Colour
    aspect: Fraction | None = None  # of a pixel
    matrix: tuple[int, ...] | None = None  # display matrix (rotation, mirroring), 9 numbers as libav gives them


@dataclasses.dataclass
class Stamp:
    """When a frame is shown, as the file says; in ticks of the source's time base."""

    pts: int | None
    duration: int
    corrupt: bool = False


class VideoSource:
    """One video stream of a file: the default one, or else the first that is no cover picture.

    Attributes:
        path, look, time_base, rate (frames per second by the header, a Fraction), notes (things to tell the user).

    Raises:
        UserError: the file is missing, cannot be read, or has no video.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.notes: list[str] = []
        self._counted: _Counted | None = None
        with self._open() as container:
            videos = [s for s in container.streams.video if s.codec_context is not None and not _is_cover(s)]
            if not videos:
                raise UserError(f"{path} has no video stream")
            stream = next((s for s in videos if s.disposition & av.stream.Disposition.default), videos[0])
            if len(videos) > 1:
                self.notes.append(f"{len(videos)} video streams: stream {stream.index} is taken")
            self.index = stream.index
            self.time_base = stream.time_base
            self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.declared = _declared_end(container, stream)
            self.look = self._first_look(container, stream)

    def identity(self) -> list:
        """What tells this file from another of the same name: size, time of change, and its head."""
        status = self.path.stat()
        with open(self.path, "rb") as file:
            head = hashlib.sha256(file.read(1 << 16)).hexdigest()
        return [status.st_size, status.st_mtime_ns, head]

    def scan(self) -> Iterator[tuple[Stamp, list[np.ndarray]]]:
        """Decode everything once: each frame's stamp and planes. Damage ends it, or costs single frames; see notes."""
        damaged = 0
        corrupt: set[int | None] = set()
        with self._open() as container:
            stream = self._stream(container)
            for packet in demuxed(container, [stream]):
                if packet is None:
                    damaged += 1
                    break
                if packet.is_corrupt:
                    corrupt.add(packet.pts)
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    damaged += 1
                    continue
                for frame in frames:
                    bad = frame.is_corrupt or frame.pts in corrupt
                    yield Stamp(frame.pts, frame.duration or 0, bad), self._planes(frame)
        if damaged:
            self.notes.append(f"{damaged} damaged places were skipped")

    def read(self, first: int, last: int, stamps: list[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        """Frames first..last (by their number in the time line) as (number, BGR picture).

        Args:
            stamps: all frames' times where they can be trusted to find frames by; None: frames are counted.

        Raises:
            UserError: the file no longer gives the frames it gave before.
        """
        expected = first
        for found in self._ways_to(first, last, stamps):
            for number, frame in found:
                if number > expected:
                    break  # damage hides frames, depending on where decoding starts
                if number == expected:
                    yield number, self._picture(frame)
                    expected += 1
                if expected > last:
                    return
        raise UserError(f"frame {expected} of {self.path} cannot be read again: has the file changed?")

    def _ways_to(self, first: int, last: int, stamps: list[int] | None) -> Iterator[Iterator]:
        """Ways to find frames first..last, quick ones first; each gives (number, frame)."""
        if stamps is None:
            if self._counted is None or self._counted.oldest > first:
                self._counted = _Counted(self._decoded_from(None))
            yield self._counted.frames(first)
            return
        wanted = {stamps[k]: k for k in range(first, last + 1)}
        for start in self._starts(stamps[first]):
            yield ((wanted[frame.pts], frame) for frame in self._decoded_from(start) if frame.pts in wanted)

    def _decoded_from(self, start: int | None) -> Iterator[av.VideoFrame]:
        """Decoded frames from a key frame at or before `start` on, or all; none where that fails."""
        with self._open() as container:
            stream = self._stream(container)
            if start is not None:
                try:
                    container.seek(start, stream=stream)
                except av.error.FFmpegError:
                    return  # MPEG program streams have no index, and looking for the place may fail
            yield from self._decode(container, stream, must_reach=start)

    def _starts(self, target: int) -> Iterator[int | None]:
        """Places to start decoding from so that frame `target` comes out right: ever earlier, at last the beginning."""
        second = int(1 / self.time_base)
        for back in (0, 1, 4, 16):
            yield target - back * second
        yield None

    def _decode(self, container, stream, must_reach: int | None) -> Iterator[av.VideoFrame]:
        """Decoded frames, with damage skipped as in `scan`; nothing if decoding would start after `must_reach`."""
        begun = False
        for packet in demuxed(container, [stream]):
            if packet is None:
                return
            # A key frame shown after the wanted one has leading frames that lack their references.
            if not begun and must_reach is not None and (packet.pts is None or packet.pts > must_reach):
                return
            begun = True
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            yield from frames

    def _open(self):
        try:
            return av.open(str(self.path.absolute()), metadata_errors="replace")  # `a:b` would be protocol `a`
        except av.error.FFmpegError as error:
            raise UserError(f"cannot read {self.path}: {_reason(error)}") from error

    def _stream(self, container):
        stream = container.streams[self.index]
        stream.codec_context.thread_count = _THREADS
        stream.codec_context.thread_type = "FRAME"
        return stream

    def _first_look(self, container, stream) -> Look:
        frame = next(self._decode(container, stream, must_reach=None), None)
        if frame is None:
            raise UserError(f"no frame of {self.path} can be decoded")
        if colour.has_alpha(frame.format) or stream.metadata.get("alpha_mode") == "1":  # a second picture, in WebM
            self.notes.append("the alpha channel is dropped")
        if frame.interlaced_frame:
            self.notes.append("the video is interlaced; deinterlace it first for good results")
        matrix = next((struct.unpack("<9i", bytes(data)) for data in frame.side_data
                       if data.type.name == "DISPLAYMATRIX"), None)
        aspect = stream.sample_aspect_ratio
        return Look(frame.width, frame.height, colour.depth_of(frame.format),
                    colour.colour_of(frame, stream.codec_context), aspect or None, matrix)

    def _planes(self, frame: av.VideoFrame) -> list[np.ndarray]:
        frame = self._sized(frame)
        if frame.format.is_rgb or frame.format.has_palette:
            return [colour.to_bgr(frame, self.look.colour)]
        return colour.samples(frame)

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        return colour.to_bgr(self._sized(frame), self.look.colour)

    def _sized(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A stream may change its size on the way; the first frame's is kept."""
        if (frame.width, frame.height) == (self.look.width, self.look.height):
            return frame
        return frame.reformat(width=self.look.width, height=self.look.height, interpolation="BICUBIC")


class _Counted:
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

    def frames(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, frame) from `first` on."""
        yield from [(number, frame) for number, frame in self._kept if number >= first]
        for number, frame in self._coming:
            self._kept.append((number, frame))
            if number >= first:
                yield number, frame


def demuxed(container, streams: list) -> Iterator[av.Packet | None]:
    """The streams' packets; None at last where the file cannot be read any further."""
    packets = container.demux(streams)
    while True:
        try:
            yield from packets
            return
        except IndexError:  # PyAV does not know streams that appear on the way, as in transport streams: pass over them
            packets = container.demux(streams)
        except av.error.FFmpegError:
            yield None
            return


class PictureSource:
    """A folder of pictures as a video, in natural order; the same attributes and methods as `VideoSource`.

    Raises:
        UserError: no pictures there, or a picture that cannot be used.
    """

    def __init__(self, folder: str | Path, fps: Fraction):
        self.path = Path(folder)
        self.notes: list[str] = []
        if not self.path.is_dir():
            raise UserError(f"{folder} is not a folder of pictures")
        self.files = sorted((f for f in self.path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES),
                            key=lambda f: natural_key(f.name))
        if not self.files:
            raise UserError(f"there are no pictures in {folder}")
        self.time_base = 1 / fps
        self.rate, self.declared = fps, None
        first = read_image(self.files[0])
        self.dtype, self.shape = first.dtype, first.shape[:2]
        if first.dtype == np.float32:
            raise UserError(f"{self.files[0]} holds floats: videos are made of pictures of 8 or 16 bits")
        if first.ndim == 3 and first.shape[2] == 4:
            self.notes.append("the alpha channel is dropped")
        self.look = Look(first.shape[1], first.shape[0], 8 * first.dtype.itemsize,
                         colour.Colour(colour.BT709, False, colour.BT709, colour.BT709))

    def identity(self) -> list:
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in self.files]

    def scan(self) -> Iterator[tuple[Stamp, list[np.ndarray]]]:
        for number in range(len(self.files)):
            yield Stamp(number, 1), [self._picture(number)]

    def read(self, first: int, last: int, stamps: list[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        for number in range(first, last + 1):
            yield number, self._picture(number)

    def _picture(self, number: int) -> np.ndarray:
        file = self.files[number]
        picture = read_image(file)
        if picture.shape[:2] != self.shape or picture.dtype != self.dtype:
            raise UserError(f"{file} is {picture.shape[1]}x{picture.shape[0]} {picture.dtype}, unlike {self.files[0]} "
                            f"({self.shape[1]}x{self.shape[0]} {self.dtype})")
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture[..., :3]


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
    return error.strerror
