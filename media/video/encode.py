"""Encoding frames: codecs by name, and writers for the pieces (segments) of a video or of a picture sequence."""
import dataclasses
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from common.errors import UserError
from media.image import write_image
from media.video import colour

# Encoders choose their threads by the machine, and some give other bytes then: the numbers are fixed here.
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class Codec:
    """An encoder and what it is run with unless the user says otherwise."""

    encoder: str
    formats: tuple[str, str]  # pixel formats for sources of 8 bits, and of more
    crf: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    worst: int = 51  # the highest crf


# mbtree=0: on CPUs with AVX-512 x264's macroblock tree reads memory it has not written (found in core 165), and gives
# other bytes every time.
CODECS = {
    "h264": Codec("libx264", ("yuv420p", "yuv420p10le"), 16, (("mbtree", "0"),)),
    "hevc": Codec("libx265", ("yuv420p", "yuv420p10le"), 18, (("x265-params", "log-level=error:frame-threads=4"),)),
    "av1": Codec("libsvtav1", ("yuv420p", "yuv420p10le"), 20, (("svtav1-params", "lp=4"),), 63),
    "vp9": Codec("libvpx-vp9", ("yuv420p", "yuv420p10le"), 20, (("b", "0"), ("row-mt", "1")), 63),
    "prores": Codec("prores_ks", ("yuv422p10le", "yuv422p10le"), None, (("profile", "hq"), ("vendor", "apl0"))),
    "ffv1": Codec("ffv1", ("yuv444p", "yuv444p10le"), None, (("level", "3"), ("g", "1"), ("slices", "16"))),
}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """The video encoder's settings as they are used, all defaults resolved."""

    encoder: str
    pix_fmt: str
    options: tuple[tuple[str, str], ...]

    @property
    def depth(self) -> int:
        return colour.depth_of(av.VideoFormat(self.pix_fmt))


def choose_encoding(codec: str = "h264", crf: float | None = None, preset: str | None = None,
                    pix_fmt: str | None = None, depth: int = 8) -> Encoding:
    """Settings for a codec of `CODECS`, or for any encoder libav has; `depth` is the source's bits per sample.

    Raises:
        UserError: no such codec or pixel format here, or one the encoder does not take.
    """
    known = CODECS.get(codec.lower())
    encoder = known.encoder if known else codec
    try:
        if known is None and codec in ("libx264rgb", "rawvideo", "wrapped_avframe", "vnull"):
            raise av.codec.codec.UnknownCodecError(codec)  # of no use in a file
        av_codec = av.codec.Codec(encoder, "w")
        if av_codec.type != "video":
            raise av.codec.codec.UnknownCodecError(codec)
    except av.codec.codec.UnknownCodecError as error:
        raise UserError(f"there is no video codec {codec!r} here: give {', '.join(CODECS)}, or the name of another "
                        "FFmpeg encoder such as h264_nvenc") from error
    if av_codec.canonical_name not in av.open("probe.mkv", "w").supported_codecs:  # no file appears
        raise UserError(f"{codec} does not fit into Matroska, which the work is put together from: give "
                        f"{', '.join(CODECS)}, or --png for pictures")
    known = known or next((entry for entry in CODECS.values() if entry.encoder == av_codec.name),
                          Codec(codec, ("yuv420p", "yuv420p10le")))
    taken = [format_.name for format_ in av_codec.video_formats or []]
    if pix_fmt is not None:
        if taken and pix_fmt not in taken:
            raise UserError(f"{codec} takes no pixel format {pix_fmt!r}, but {', '.join(taken)}")
        if colour.has_alpha(av.VideoFormat(pix_fmt)):
            raise UserError(f"pixel format {pix_fmt} has an alpha channel, which is not kept: choose one without")
    else:
        wishes = (known.formats[depth > 8], known.formats[0], *taken)
        pix_fmt = next(wish for wish in wishes if wish in taken or not taken)
    options = dict(known.options)
    if crf is None:
        crf = known.crf
    elif known.crf is None and known in CODECS.values():
        raise UserError(f"{codec} knows no --crf: leave it out")
    elif not 0 <= crf <= known.worst:
        raise UserError(f"--crf {crf:g} is not between 0 and {known.worst}")
    if crf is not None:
        options["crf"] = f"{crf:g}"
    if preset is not None:
        options["preset"] = preset
    return Encoding(encoder, pix_fmt, tuple(sorted(options.items())))


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


class VideoPiece:
    """Writes frames to `path`, a Matroska file whose packets carry the frame's number as time stamp.

    Matroska holds every codec but rounds times to milliseconds; the real times are put in when pieces are joined.
    `tick_of`: when an output frame is shown, in ticks of the encoder's clock; rate control goes by it.
    """

    def __init__(self, path: Path, encoding: Encoding, shape: Shape, tick_of: Callable[[int], int]):
        self.encoding, self.shape, self.tick_of = encoding, shape, tick_of
        self.number_of: dict[int, int] = {}
        self.order: list[int] = []
        self.container = av.open(str(path), "w", format="matroska")
        self.stream = add_encoder(self.container, encoding, shape)

    def write(self, picture: np.ndarray, index: int) -> None:
        """Append output frame `index`, a BGR picture."""
        shape = self.shape
        width, height = self.stream.width, self.stream.height
        if (shape.width, shape.height) != (width, height):
            picture = cv2.copyMakeBorder(picture, 0, height - shape.height, 0, width - shape.width,
                                         cv2.BORDER_REPLICATE)
        frame = colour.from_bgr(fit_depth(picture, self.encoding.depth), self.encoding.pix_fmt, shape.colour)
        frame.pts, frame.time_base = self.tick_of(index), shape.clock
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
            number = self.number_of[packet.pts]
            self.order.append(number)
            packet.time_base = Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = number, len(self.order) - 1000, 1
            self.container.mux(packet)


class PicturePiece:
    """Writes frames as numbered PNGs into the folder `path`, turned as the display matrix says: PNGs have none."""

    def __init__(self, path: Path, first: int, matrix: tuple[int, ...] | None = None):
        self.path, self.first, self.matrix, self.count = path, first, matrix, 0
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()

    def write(self, picture: np.ndarray, index: int) -> None:
        write_image(self.path / f"{self.first + self.count:08d}.png", turned(picture, self.matrix))
        self.count += 1

    def close(self) -> dict:
        return {"frames": self.count}


def add_encoder(container, encoding: Encoding, shape: Shape):
    """Add the video stream to an output container.

    Raises:
        UserError: the container does not hold the codec.
    """
    try:
        codec = av.codec.Codec(encoding.encoder, "w").canonical_name
        if container.format.name == "mpegts" and codec not in ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"):
            raise ValueError(f"{codec} would be written, but read back by nobody")
        stream = container.add_stream(encoding.encoder, rate=shape.rate, options=dict(encoding.options))
    except ValueError as error:
        raise UserError(f"{container.format.name} files cannot hold {encoding.encoder}: choose another --codec, or "
                        "an --output ending in .mkv") from error
    context = stream.codec_context
    stream.width, stream.height = padded_size(shape.width, shape.height, encoding.pix_fmt)
    stream.pix_fmt = encoding.pix_fmt
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


def is_sideways(matrix: tuple[int, ...] | None) -> bool:
    """Whether a display matrix (9 numbers, row by row) makes a picture's columns its rows."""
    return matrix is not None and matrix[0] == matrix[4] == 0 and matrix[1] != 0 and matrix[3] != 0


def turned(picture: np.ndarray, matrix: tuple[int, ...] | None, back: bool = False) -> np.ndarray:
    """Turn and mirror a picture as a display matrix has players do it, or `back` again.

    Matrices that do anything else leave the picture as it is.
    """
    a, b, _, c, d = (matrix or (1, 0, 0, 0, 1))[:5]  # column x, row y is shown in column ax + cy, row bx + dy
    sideways = is_sideways(matrix)
    if not sideways and (b or c):
        return picture
    across, down = ((b, c) if back else (c, b)) if sideways else (a, d)
    picture = picture.swapaxes(0, 1) if sideways else picture
    return np.ascontiguousarray(picture[::-1 if down < 0 else 1, ::-1 if across < 0 else 1])


def fit_depth(picture: np.ndarray, depth: int) -> np.ndarray:
    """uint8 for encoders of 8 bits, full-range uint16 for deeper ones."""
    if depth > 8 and picture.dtype == np.uint8:
        return picture.astype(np.uint16) * 257
    if depth == 8 and picture.dtype == np.uint16:
        return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return picture
