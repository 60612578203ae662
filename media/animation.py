"""A short run of frames as an animated GIF or an MP4, through PyAV."""
import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import av.filter
import numpy as np

from common.errors import UserError
from common.files import atomic_path
from media.narrow import reproducible

SLOWEST = 0.01  # frames per second


class Animation(Protocol):
    """What `open_animation` gives: `add` the frames in order."""

    def add(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 BGR frame; all frames have the first one's size."""


@contextlib.contextmanager
def open_animation(path: str | Path, fps: float) -> Iterator[Animation]:
    """Open an animation for writing; the file appears when the block ends without an error.

    `.gif`: one palette for the whole run, error diffusion, endless loop; frame times are whole
    hundredths of a second, and the frames are held in memory until the end. `.mp4`: H.264 that any
    player takes; an odd last row or column is repeated, because 4:2:0 colour needs even sizes.

    Raises:
        UserError: the suffix is neither, the rate is beyond what the format can say, or the file cannot be written.
    """
    kinds: dict[str, type[_Gif] | type[_Mp4]] = {".gif": _Gif, ".mp4": _Mp4}
    kind = kinds.get(Path(path).suffix.lower())
    if kind is None:
        raise UserError(f"cannot write {path}: an animation's name ends in .gif or .mp4")
    if not SLOWEST <= fps <= kind.fastest:
        raise UserError(f"cannot write {path}: {fps:g} frames per second are not between {SLOWEST} and {kind.fastest}")
    # Absolute, because libav takes `Alien:2.mp4` for a protocol.
    with _encoder_errors(path), atomic_path(Path(path).absolute()) as temporary:
        temporary.touch()  # the encoder opens its file late; a place that cannot be written to must show now
        with av.open(str(temporary), "w") as container:
            animation = kind(container, fps)
            yield animation
            animation.finish()


@contextlib.contextmanager
def _encoder_errors(path: str | Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; its frames may be too large for the format") from error


class _Mp4:
    fastest = 1000

    def __init__(self, container: av.container.OutputContainer, fps: float):
        self._container = container
        self._stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, what players assume for HD
        context.color_range = 1
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not self._count:
            self._stream.height, self._stream.width = even.shape[:2]
            self._stream.options = dict(reproducible("libx264", even.shape[1], {"crf": "16", "preset": "medium"}))
        image = av.VideoFrame.from_ndarray(even, format="bgr24").reformat(format="yuv420p", dst_colorspace="ITU709")
        image.pts = self._count
        image.time_base = 1 / self._stream.codec_context.framerate
        self._container.mux(self._stream.encode(image))
        self._count += 1

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


class _Gif:
    fastest = 100  # times are whole hundredths of a second

    def __init__(self, container: av.container.OutputContainer, fps: float):
        self._container = container
        self._rate = Fraction(fps).limit_denominator(1001)
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        if not self._count:
            self._start(height, width)
        image = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="rgb24")
        image.pts = self._count
        image.time_base = 1 / self._rate
        self._source.push(image)
        self._count += 1

    def _start(self, height: int, width: int) -> None:
        self._stream = self._container.add_stream("gif", rate=self._rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "pal8"
        graph = av.filter.Graph()
        self._source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"),
                                        time_base=1 / self._rate)
        split = graph.add("split")
        palette = graph.add("palettegen", "stats_mode=full:reserve_transparent=0")
        use = graph.add("paletteuse", "dither=sierra2_4a")
        self._sink = graph.add("buffersink")
        self._source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def finish(self) -> None:
        self._source.push(None)
        with contextlib.suppress(EOFError, BlockingIOError):
            while True:
                self._container.mux(self._stream.encode(self._sink.pull()))  # type: ignore[arg-type]
        self._container.mux(self._stream.encode(None))
