"""What x264 and x265 must be told about narrow frames, so that the same frames always give the same bytes."""

_NARROW = 64  # columns
# Both estimate how far blocks matter to later frames, and look beyond the last block there: x265 writes past its
# buffers and may end the process (found in 4.1), x264 now and then chooses other quantizers (found in core 165).
_ESTIMATE_OFF = {"libx264": ("x264-params", "mbtree=0"), "libx265": ("x265-params", "cutree=0")}


def reproducible(encoder: str, width: int, options: dict[str, str]) -> dict[str, str]:
    """The encoder's options for frames of `width` columns: as they are, or without that estimate."""
    if width >= _NARROW or encoder not in _ESTIMATE_OFF:
        return options
    name, off = _ESTIMATE_OFF[encoder]
    return options | {name: ":".join(filter(None, [options.get(name), off]))}
