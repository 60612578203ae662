"""Video codecs by name, and the settings their encoders are run with."""
import dataclasses

import av

from common.errors import UserError
from media.video import colour, hdr


@dataclasses.dataclass(frozen=True)
class Codec:
    """An encoder, and what it is run with unless the user says otherwise.

    Attributes:
        formats: pixel formats in order of preference, for sources of 8 bits, and of more.
        crf: the default quality, on the scale of --crf; None: the encoder has no such scale.
        quality: the encoder's options that --crf sets, each with what one step of --crf is on its scale.
        worst: the highest --crf.
        needs: the hardware without which it does not work.
    """

    encoder: str
    formats: tuple[tuple[str, ...], tuple[str, ...]] = (("yuv420p",), ("yuv420p10le", "p010le"))
    crf: int | None = None
    quality: tuple[tuple[str, float], ...] = (("crf", 1),)
    options: tuple[tuple[str, str], ...] = ()
    worst: int = 51
    needs: str = ""


# mbtree=0: on CPUs with AVX-512 x264's macroblock tree reads memory it has not written (found in core 165), and gives
# other bytes every time.
CODECS = {
    "h264": Codec("libx264", crf=16, options=(("mbtree", "0"),)),
    "hevc": Codec("libx265", crf=18, options=(("x265-params", "log-level=error:frame-threads=4"),)),
    "av1": Codec("libsvtav1", crf=20, options=(("svtav1-params", "lp=4"),), worst=63),
    "vp9": Codec("libvpx-vp9", crf=20, options=(("b", "0"), ("row-mt", "1")), worst=63),
    "prores": Codec("prores_ks", (("yuv422p10le",), ()), quality=(), options=(("profile", "hq"), ("vendor", "apl0"))),
    "ffv1": Codec("ffv1", (("yuv444p",), ("yuv444p10le",)), quality=(),
                  options=(("level", "3"), ("g", "1"), ("slices", "16"))),
}

_NV12 = (("nv12",), ("p010le",))
# Hardware encoders, by the end of their names. Without b=0 NVENC keeps to a bit rate, whatever cq says.
_HARDWARE = {
    "_nvenc": Codec("", (("yuv420p",), ("p010le",)), 18, (("cq", 1),), (("b", "0"), ("rc", "vbr")),
                    needs="an NVIDIA GPU that encodes this codec, and its driver"),
    "_qsv": Codec("", _NV12, 18, (("global_quality", 1),), needs="an Intel GPU with Quick Sync, and its driver"),
    "_amf": Codec("", _NV12, 18, (("qp_i", 1), ("qp_p", 1)), (("rc", "cqp"),), needs="an AMD GPU and its driver"),
    # 1 (worst) to 100 in libav's units of 1/118, taken only with the flag.
    "_videotoolbox": Codec("", _NV12, 18, (("global_quality", -118 * 100 / 51),), (("flags", "+qscale"),),
                           needs="a Mac with an encoder for this codec"),
}
_AV1_AMF_STEP = 255 / 51  # its quantizer goes up to 255
# In a file; and VC-2, which takes no frame without a bit rate.
_USELESS = ("libx264rgb", "rawvideo", "wrapped_avframe", "vnull", "vc2")

# In .ts: libav writes others, too, and nobody reads them.
_TRANSPORTED = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """The video encoder's settings as they are used, all defaults resolved.

    Attributes:
        needs: the hardware without which the encoder does not work.
        notes: what the user should know of the choice.
    """

    encoder: str
    pix_fmt: str
    options: tuple[tuple[str, str], ...]
    needs: str = ""
    notes: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """Bits per sample."""
        return max(part.bits for part in av.VideoFormat(self.pix_fmt).components)


def default_codec(suffix: str = "", transfer: int = colour.UNSPECIFIED) -> str:
    """The codec for those who name none: one that the container holds, and for HDR one whose players show HDR."""
    if suffix.lower() == ".webm":
        return "av1"
    return "hevc" if hdr.is_hdr(transfer) and suffix.lower() != ".m4v" else "h264"


def is_held(container, encoder: str) -> bool:
    """Whether an output container holds what an encoder makes, and players find it there."""
    codec = av.codec.Codec(encoder, "w").canonical_name
    return codec in (_TRANSPORTED if container.format.name == "mpegts" else container.supported_codecs)


def fits(codec: str, suffix: str) -> bool:
    """Whether files with that suffix hold a codec, which is named as for `choose_encoding`.

    Raises:
        UserError: there is no such codec here.
    """
    return is_held(av.open(f"probe{suffix}", "w"), _find(codec).encoder)  # no file appears


def choose_encoding(codec: str = "h264", crf: float | None = None, preset: str | None = None,
                    pix_fmt: str | None = None, depth: int = 8,
                    metadata: hdr.StaticMetadata = hdr.StaticMetadata()) -> Encoding:  # noqa: B008
    """Settings for a codec of `CODECS`, or for any encoder libav has.

    Args:
        crf: quality from 0 (best) on; for every encoder on the scale of its codec's usual software encoder.
        depth: the source's bits per sample.
        metadata: the source's static HDR metadata.

    Raises:
        UserError: no such codec or pixel format here, or one the encoder does not take.
    """
    known = _find(codec)
    notes = []
    pix_fmt = pix_fmt and _checked_format(known.encoder, pix_fmt) or _usual_format(known, depth)
    encoding = Encoding(known.encoder, pix_fmt, ())
    if encoding.depth < min(depth, 10):
        notes.append(f"{codec} with {pix_fmt} keeps {encoding.depth} of the source's {depth} bits")
    options = {**dict(known.options), **_quality(known, codec, crf)}
    if preset is not None:
        options["preset"] = preset
    if metadata:
        carried = hdr.encoder_options(known.encoder, metadata)
        if carried is None:
            notes.append(f"{codec} does not carry the mastering display and light level of HDR10: hevc and av1 do")
        for name, value in (carried or {}).items():
            options[name] = ":".join(filter(None, [options.get(name), value]))
    return Encoding(known.encoder, pix_fmt, tuple(sorted(options.items())), known.needs, tuple(notes))


def _find(name: str) -> Codec:
    """The codec of that name; an encoder that is not listed is run as libav runs it."""
    if name.lower() in CODECS:
        return CODECS[name.lower()]
    try:
        encoder = av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        encoder = None
    if encoder is None or encoder.type != "video" or encoder.name in _USELESS:
        raise UserError(f"there is no video codec {name!r} here: give {', '.join(CODECS)}, or the name of another "
                        "FFmpeg encoder such as h264_nvenc")
    if not is_held(av.open("probe.mkv", "w"), encoder.name):  # no file appears
        raise UserError(f"{name} does not fit into Matroska, which the work is put together from: give "
                        f"{', '.join(CODECS)}, or --png for images")
    for codec in CODECS.values():
        if codec.encoder == encoder.name:
            return codec
    for ending, codec in _HARDWARE.items():
        if encoder.name.endswith(ending):
            step = _AV1_AMF_STEP if name == "av1_amf" else 1
            return dataclasses.replace(codec, encoder=name, quality=tuple((o, s * step) for o, s in codec.quality))
    return Codec(name)


def _taken_formats(encoder: str) -> list[str]:
    """Pixel formats the encoder takes, as far as it says."""
    return [format_.name for format_ in av.codec.Codec(encoder, "w").video_formats or []]


def _checked_format(encoder: str, pix_fmt: str) -> str:
    taken = _taken_formats(encoder)
    if taken and pix_fmt not in taken:
        raise UserError(f"{encoder} takes no pixel format {pix_fmt!r}, but {', '.join(taken)}")
    try:
        format_ = av.VideoFormat(pix_fmt)
    except ValueError as error:
        raise UserError(f"there is no pixel format {pix_fmt!r}") from error
    if not format_.components:
        raise UserError(f"pixel format {pix_fmt} stands for frames of a device: choose another, or leave it out")
    if colour.has_alpha(format_):
        raise UserError(f"pixel format {pix_fmt} has an alpha channel, which is not kept: choose one without")
    return pix_fmt


def _usual_format(codec: Codec, depth: int) -> str:
    taken = _taken_formats(codec.encoder)
    shallow, deep = codec.formats
    wishes = [*(deep if depth > 8 else ()), *shallow, *taken]
    return next(wish for wish in wishes if wish in taken or not taken)


def _quality(known: Codec, name: str, crf: float | None) -> dict[str, str]:
    """--crf in the encoder's own options."""
    if crf is None:
        if known.crf is None:
            return {}
        crf = known.crf
    elif not known.quality:
        raise UserError(f"{name} knows no --crf: leave it out")
    elif not 0 <= crf <= known.worst:
        raise UserError(f"--crf {crf:g} is not between 0 and {known.worst}")
    values = {}
    for option, step in known.quality:
        value = step * crf if step > 0 else step * (crf - known.worst)  # some count from the worst on
        values[option] = f"{value:g}" if option in ("crf", "cq") else str(max(1, round(value)))
    return values
