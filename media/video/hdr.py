"""What HDR videos say of their brightness beside the transfer function, and how encoders are told of it.

Static metadata of HDR10: the mastering display's colour volume (SMPTE ST 2086) and the content light level (CTA-861.3).
Metadata that changes from frame to frame (HDR10+, Dolby Vision) describes the source's own frames and is not kept.
"""
import dataclasses
import struct
from collections.abc import Iterable, Sequence

PQ, HLG = 16, 18  # transfer characteristics, by ITU-T H.273
_DYNAMIC = {"DYNAMIC_HDR_PLUS": "HDR10+", "DOVI_RPU_BUFFER": "Dolby Vision", "DOVI_METADATA": "Dolby Vision",
            "DYNAMIC_HDR_VIVID": "HDR Vivid"}
# Units of the metadata in HEVC and H.264: chromaticities in 0.00002, luminances in 0.0001 cd/m2.
_CHROMATICITY, _LUMINANCE = 50_000, 10_000


@dataclasses.dataclass(frozen=True)
class StaticMetadata:
    """HDR10's static metadata; None where the video does not say.

    Attributes:
        primaries: CIE x, y of the mastering display's red, green, blue and white.
        luminance: its lowest and highest luminance, cd/m2.
        light_level: MaxCLL and MaxFALL, the brightest pixel and the brightest frame on average, cd/m2.
    """

    primaries: tuple[tuple[float, float], ...] | None = None
    luminance: tuple[float, float] | None = None
    light_level: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return self.primaries is not None or self.light_level is not None


def is_hdr(transfer: int) -> bool:
    return transfer in (PQ, HLG)


def static_metadata(side_data: Iterable) -> StaticMetadata:
    """Read the static metadata among a decoded frame's side data (libav's AVMasteringDisplayMetadata and
    AVContentLightMetadata)."""
    primaries = luminance = light_level = None
    for data in side_data:
        if data.type.name == "MASTERING_DISPLAY_METADATA":
            *numbers, has_primaries, has_luminance = struct.unpack("<22i", bytes(data)[:88])
            values = [a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2])]
            if has_primaries and has_luminance:
                primaries = tuple(zip(values[:8:2], values[1:8:2]))
                luminance = values[8], values[9]
        elif data.type.name == "CONTENT_LIGHT_LEVEL":
            light_level = struct.unpack("<2I", bytes(data)[:8])
    return StaticMetadata(primaries, luminance, light_level if light_level and any(light_level) else None)


def lost_with_the_frames(side_data: Iterable) -> list[str]:
    """Names of what a decoded frame carries that no new frame will."""
    names = {data.type.name for data in side_data}
    lost = sorted({_DYNAMIC[name] + " metadata" for name in names if name in _DYNAMIC})
    return lost + ["closed captions"] * ("A53_CC" in names)


def encoder_options(encoder: str, metadata: StaticMetadata) -> dict[str, str] | None:
    """The encoder's option that carries the metadata, as {name: value}; None if it has none."""
    if encoder not in ("libx264", "libx265", "libsvtav1"):
        return None
    svt = encoder == "libsvtav1"
    parts = []
    if metadata.primaries is not None:
        parts.append("mastering-display=" + _display(metadata, 1 if svt else _CHROMATICITY, 1 if svt else _LUMINANCE))
    if metadata.light_level is not None:
        name = {"libx264": "cll", "libx265": "max-cll", "libsvtav1": "content-light"}[encoder]
        parts.append(f"{name}={metadata.light_level[0]},{metadata.light_level[1]}")
    text = ":".join(parts)
    if encoder == "libx265":
        return {"x265-params": "hdr10=1:" + text.replace("mastering-display", "master-display")}
    return {"svtav1-params" if svt else "x264-params": text}


def _display(metadata: StaticMetadata, chromaticity: int, luminance: int) -> str:
    """Colour volume in the notation that x264, x265 and SVT-AV1 share, in whole units or (unit 1) decimals."""
    def pair(values: Sequence[float], unit: int) -> str:
        return "(" + ",".join(f"{value:.5f}" if unit == 1 else str(round(value * unit)) for value in values) + ")"

    assert metadata.primaries is not None and metadata.luminance is not None
    red, green, blue, white = metadata.primaries
    lowest, highest = metadata.luminance
    points = "".join(name + pair(point, chromaticity)
                     for name, point in (("G", green), ("B", blue), ("R", red), ("WP", white)))
    return points + "L" + pair((highest, lowest), luminance)
