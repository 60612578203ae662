"""Encoding frames: writers for the segments of a video or of an image sequence."""
import dataclasses
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from common.errors import UserError
from media.image import write_image
from media.narrow import reproducible
from media.video import colour
from media.video.codecs import Encoding, is_held
from media.video.orientation import turned
from media.video.packing import Packing

# Encoders choose their threads by the machine, and some give other bytes then: the numbers are fixed here.
_THREADS = 8


def padded_size(width: int, height: int, pix_fmt: str) -> tuple[int, int]:
    """(width, height) rounded up to whole chroma samples: encoders refuse an odd size with halved chroma."""
    format_ = av.VideoFormat(pix_fmt, 64, 64)
    if format_.is_rgb or len(format_.components) < 3:
        return width, height
    across, down = 64 // format_.chroma_width(64), 64 // format_.chroma_height(64)
    return -(-width // across) * across, -(-height // down) * down


@dataclasses.dataclass(frozen=True)
class Shape:
    """What all segments of one video have in common."""

    width: int  # before padding
    height: int
    colour: colour.Colour
    aspect: Fraction | None
    clock: Fraction  # seconds per tick of the encoder
    rate: Fraction  # frames per second, on average


def packing_for(encoding: Encoding, shape: Shape) -> Packing:
    """How the encoder takes the frames."""
    return Packing(encoding.pix_fmt, shape.colour, *padded_size(shape.width, shape.height, encoding.pix_fmt))


class VideoSegmentWriter:
    """Writes frames to `path`, a Matroska file whose packets carry the frame's number as time stamp.

    Matroska holds every codec but rounds times to milliseconds; the real times are put in when segments are joined.
    `tick_of`: when an output frame is shown, in ticks of the encoder's clock; rate control goes by it.
    """

    def __init__(self, path: Path, encoding: Encoding, shape: Shape, tick_of: Callable[[int], int]):
        self.encoding, self.shape, self.tick_of = encoding, shape, tick_of
        self.number_of: dict[int, int] = {}
        self.order: list[int] = []
        self.packing = packing_for(encoding, shape)
        self.container = av.open(str(path), "w", format="matroska")
        self.stream = add_encoder(self.container, encoding, shape)

    def write(self, made: np.ndarray | list[np.ndarray], index: int) -> None:
        """Append output frame `index`: a BGR image, or its planes as `packing_for` makes them."""
        frame = self.packing.frame(made) if isinstance(made, list) else self.packing.image(made)
        frame.pts, frame.time_base = self.tick_of(index), self.shape.clock
        self.number_of[frame.pts] = len(self.number_of)
        self._mux(self.stream.encode(frame))

    def close(self) -> dict:
        """Finish the file; what joining needs to know of it."""
        self._mux(self.stream.encode(None))
        self.container.close()
        delay = max(position - number for position, number in enumerate(self.order))
        return {"frames": len(self.order), "delay": delay}

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None
            number = self.number_of[packet.pts]
            self.order.append(number)
            packet.time_base = Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = number, len(self.order) - 1000, 1
            self.container.mux(packet)


class ImageSegmentWriter:
    """Writes frames as numbered PNGs into the folder `path`, turned as the display matrix says: PNGs have none."""

    def __init__(self, path: Path, first: int, matrix: tuple[int, ...] | None = None):
        self.path, self.first, self.matrix, self.count = path, first, matrix, 0
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()

    def write(self, image: np.ndarray, index: int) -> None:
        write_image(self.path / f"{self.first + self.count:08d}.png", turned(image, self.matrix))
        self.count += 1

    def close(self) -> dict:
        return {"frames": self.count}


def add_encoder(container, encoding: Encoding, shape: Shape):
    """Add the video stream to an output container.

    Raises:
        UserError: the container does not hold the codec.
    """
    if not is_held(container, encoding.encoder):
        raise UserError(f"{container.format.name} files cannot hold {encoding.encoder}: choose another --codec, or "
                        "an --output ending in .mkv")
    width, height = padded_size(shape.width, shape.height, encoding.pix_fmt)
    options = reproducible(encoding.encoder, width, dict(encoding.options))
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 writes past every log setting
    stream = container.add_stream(encoding.encoder, rate=shape.rate, options=options)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = width, height, encoding.pix_fmt
    context.time_base = shape.clock
    context.thread_count = _THREADS
    apply_tags(context, encoding, shape)
    return stream


def apply_tags(context, encoding: Encoding, shape: Shape) -> None:
    """Write down how the numbers mean colours, and the shape of a pixel."""
    rgb = av.VideoFormat(encoding.pix_fmt).is_rgb
    context.colorspace = colour.RGB if rgb else shape.colour.matrix
    context.color_range = 2 if rgb or shape.colour.full else 1
    context.color_primaries, context.color_trc = shape.colour.primaries, shape.colour.transfer
    if shape.aspect:
        context.sample_aspect_ratio = shape.aspect
