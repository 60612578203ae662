"""What an image file says beside its pixels, where OpenCV's decoders leave it out: white, alpha, orientation, colours.

Damage is found here too: decoders show what is left of a damaged file.
"""
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

# Pillow's word on odd headers and large images would go past the caller's handling of errors and notes.
warnings.filterwarnings("ignore", module="PIL")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
_EXIF_ORIENTATION = 0x0112
_TURNED_BY_OPENCV = ("TIFF",)
_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


class ColourTag(NamedTuple):
    """How an image's numbers mean colours, as the chunk of a PNG that says so."""

    chunk: bytes  # b"iCCP": an ICC profile; b"cICP": code points of ITU-T H.273
    content: bytes  # the profile itself, or the four code points (primaries, transfer, matrix, full range)

    @property
    def space(self) -> str:
        """What the pixels are: "RGB", "GRAY", "CMYK" ..."""
        return self.content[16:20].decode("latin-1").strip() if self.chunk == b"iCCP" else "RGB"

    def inserted(self, png: bytes) -> bytes:
        """A PNG file's bytes with this chunk behind the header."""
        content = b"ICC profile\0\0" + zlib.compress(self.content) if self.chunk == b"iCCP" else self.content
        checksum = zlib.crc32(self.chunk + content)
        place = len(PNG_SIGNATURE) + 25  # the header chunk has 13 bytes, and length, type and checksum
        return b"".join([png[:place], struct.pack(">I", len(content)), self.chunk, content,
                         struct.pack(">I", checksum), png[place:]])


def open_header(data: bytes) -> Image.Image | None:
    """Pillow's image, of which only the header has been read; None for what Pillow does not know."""
    try:
        return Image.open(io.BytesIO(data))
    except Exception:  # besides UnidentifiedImageError: whatever a plugin meets in a strange file
        return None


def is_whole(data: bytes) -> bool:
    """Whether a PNG or JPEG file is complete (and a PNG undamaged); True for other formats."""
    if data.startswith(PNG_SIGNATURE):
        return _png_chunk(data, b"IEND") is not None
    return _jpeg_is_whole(data) if data.startswith(_JPEG_SIGNATURE) else True


def white_value(data: bytes) -> int | None:
    """The value that stands for white, where OpenCV hands samples out unscaled: 1023 for 10 bits.

    This is so for AVIF, JPEG 2000, and the PNM family (but plain text of up to 255, which OpenCV scales); the samples
    of TIFFs are shifted up, which leaves zeros below. None: white is the greatest value of the pixels' type.
    """
    if (bits := _tiff_depth(data)) is not None:
        return ((1 << bits) - 1) << (16 - bits) if 8 < bits < 16 else None
    if data[4:8] == b"ftyp" and (place := data.find(b"av1C\x81")) >= 0:
        ten, twelve = data[place + 6] & 0x40, data[place + 6] & 0x20  # of the AV1CodecConfigurationRecord
        return 4095 if twelve else 1023 if ten else None
    if data[4:8] == b"jP  " or data.startswith(b"\xff\x4f\xff\x51"):
        place = data.find(b"\xff\x4f\xff\x51")  # SOC and SIZ markers; the first component's depth is 42 bytes on
        return (1 << (data[place + 42] & 0x7F) + 1) - 1 if 0 <= place < len(data) - 42 else None
    netpbm = re.match(rb"P([2356])(?:(?:\s|#[^\n]*\n)+(\d+)){3}\s", data) or re.match(rb"P(7)\s[^\0]*?MAXVAL\s+(\d+)\s",
                                                                                   data)
    if netpbm and not (netpbm[1] in b"23" and int(netpbm[2]) < 256):
        return int(netpbm[2])
    return None


def _tiff_depth(data: bytes) -> int | None:
    """The bits per sample of a TIFF's first page; None if the file is no TIFF, or does not say."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    try:
        start, = struct.unpack_from(f"{order}I", data, 4)
        count, = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, values, place = struct.unpack_from(f"{order}HHII", data, entry)
            if tag == 258:  # BitsPerSample: one or two values stand in the entry itself
                return struct.unpack_from(f"{order}H", data, entry + 8 if values <= 2 else place)[0]
    except struct.error:  # cut short
        pass
    return None


def animation_frames(header: Image.Image) -> int:
    """How many frames an animation has; 1 for a still image, also one of several pages (TIFF) or parts (JPEG)."""
    animated = header.format in ("GIF", "WEBP", "PNG", "AVIF") and getattr(header, "is_animated", False)
    return getattr(header, "n_frames", 1) if animated else 1


def orientation(header: Image.Image) -> int:
    """How OpenCV's pixels are to be turned, as EXIF counts it: 1 not at all, 6 clockwise, 8 counter-clockwise ..."""
    if header.format in _TURNED_BY_OPENCV:
        return 1
    try:
        value = header.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for damaged EXIF data, which are no reason to refuse the image
        return 1
    return value if value in range(1, 9) else 1


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image as it is to be shown, by its EXIF orientation (1 to 8)."""
    if orientation >= 5:  # 5 to 8 are 1 to 4 mirrored at the diagonal
        image = image.swapaxes(0, 1)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    flips = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}[orientation]
    return np.ascontiguousarray(image[::flips[0], ::flips[1]])


def colour_tag(header: Image.Image | None, data: bytes) -> ColourTag | None:
    """What the file says about its colours; None if nothing, or only that they are the usual ones (sRGB, BT.709)."""
    if header and header.info.get("icc_profile"):
        return ColourTag(b"iCCP", header.info["icc_profile"])
    code = _png_chunk(data, b"cICP")
    if data[4:8] == b"ftyp" and (place := data.find(b"colrnclx")) >= 0:
        primaries, transfer, _ = struct.unpack_from(">HHH", data, place + 8)
        code = bytes([primaries & 255, transfer & 255, 0, 1])  # the decoder has made RGB of full range of it
    if code is None or code[0] in (1, 2) and code[1] in (1, 2, 6, 13, 14, 15):
        return None
    return ColourTag(b"cICP", code)


def with_alpha(pixels: np.ndarray | None, header: Image.Image | None, data: bytes) -> np.ndarray | None:
    """The pixels with the alpha that OpenCV has dropped, or multiplied into the colours, if the file has one.

    Args:
        pixels: as OpenCV gives them; None where it cannot read the file. What Pillow can read is read then.
    """
    if pixels is not None and pixels.ndim == 2 and (key := _transparent_gray(data)) is not None:
        alpha = np.where(pixels == key, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
        return np.dstack([pixels] * 3 + [alpha])
    if data.startswith(b"BM") and pixels is not None and (opacity := _bmp_alpha(data, *pixels.shape[:2])) is not None:
        return np.dstack([pixels[..., :3], opacity])
    if header is None or header.mode not in _EIGHT_BIT_MODES:
        return pixels
    if pixels is None:
        return _by_pillow(header)
    # OpenCV has read TIFF's colours through an interface that multiplies them by alpha.
    lacking = pixels.ndim == 2 or pixels.shape[2] < 4 or header.format == "TIFF"
    if header.has_transparency_data and lacking and pixels.dtype == np.uint8:
        return _by_pillow(header)
    return pixels


def _by_pillow(header: Image.Image) -> np.ndarray | None:
    """Pillow's pixels, gray, BGR or BGRA, uint8; None if it cannot read them."""
    try:
        if header.has_transparency_data:
            return np.asarray(header.convert("RGBA"))[..., [2, 1, 0, 3]]
        return np.asarray(header.convert("L")) if header.mode in "1L" else np.asarray(header.convert("RGB"))[..., ::-1]
    except Exception:  # damaged files raise OSError, SyntaxError, ValueError and others
        return None


def _transparent_gray(data: bytes) -> int | None:
    """The gray of a gray PNG that stands for transparent, as pixels of 8 or 16 bits have it; None if there is none."""
    key = _png_chunk(data, b"tRNS")
    if key is None or len(key) != 2:
        return None
    depth = data[24]  # bits per sample in the file
    return int.from_bytes(key, "big") * (255 // (2**depth - 1) if depth < 8 else 1)


def _bmp_alpha(data: bytes, height: int, width: int) -> np.ndarray | None:
    """The fourth bytes of a BMP of 32 bits without masks, (H, W) uint8; None for other BMPs.

    The format calls them reserved; programs write alpha into them, or nothing, which leaves them all zero.
    """
    offset, size = struct.unpack_from("<I4xI", data, 10) if len(data) >= 34 else (0, 0)
    if size < 40 or struct.unpack_from("<HI", data, 28) != (32, 0) or len(data) < offset + 4 * height * width:
        return None
    alpha = np.frombuffer(data, np.uint8, 4 * height * width, offset)[3::4].reshape(height, width)
    upwards = struct.unpack_from("<i", data, 22)[0] > 0
    return (alpha[::-1] if upwards else alpha) if alpha.any() else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of a PNG's chunks up to IEND, or to the first that is cut short or has a wrong checksum."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data) or zlib.crc32(data[position + 4:end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return
        yield kind, data[position + 8:end - 4]
        if kind == b"IEND":
            return
        position = end


def _png_chunk(data: bytes, wanted: bytes) -> bytes | None:
    """The content of a PNG's IEND, or of its first chunk of a type before the pixels; None if there is none."""
    for kind, content in _png_chunks(data) if data.startswith(PNG_SIGNATURE) else ():
        if kind == wanted:
            return content
        if kind == b"IDAT" and wanted != b"IEND":
            break
    return None


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end marker follows the compressed data; a thumbnail inside the header has one of its own."""
    position = len(_JPEG_SIGNATURE)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if marker == 0xDA:  # start of scan: from here on 0xFF is stuffed, so the end marker is unmistakable
            return data.find(b"\xff\xd9", position) >= 0
        position += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated as filling
    return False
