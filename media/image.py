"""Finding, reading and writing still images, with damage found before anything is computed."""
import os
import stat
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from common.files import atomic_path, natural_key
from media.exr import read_exr, write_exr

# The caller gets one exception per broken file; OpenCV's log would say it again, in several lines.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm", ".exr")
_WRITTEN_16_BIT = (".png", ".tif", ".tiff", ".jp2", ".ppm", ".pgm")
_EXR_MAGIC = b"\x76\x2f\x31\x01"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8"


def is_image(path: str | Path) -> bool:
    """Whether a file's name is an image's; hidden files (`._a.png` of macOS, unfinished ones) are none."""
    name = os.path.basename(path)
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """The images of a folder in natural order (img2 before img10), hidden files and pipes left out.

    Args:
        recursive: look into its folders too, hidden ones and links left out; the order is by path then.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    found, folders = [], [Path(folder)]
    while folders:
        here = folders.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            raise UserError(f"cannot read the folder {here}: {error.strerror or error}") from error
        for entry in entries:
            if entry.is_dir():
                if recursive and not entry.name.startswith(".") and not entry.is_symlink():  # links may go in circles
                    folders.append(here / entry.name)
            elif is_image(entry.name) and (entry.is_file() or entry.is_symlink()):  # dead links fail in reading
                found.append(here / entry.name)
    return sorted(found, key=lambda path: (natural_key(path), str(path)))  # f1 and f01 are alike by the first


def read_image(path: str | Path, upright: bool = True) -> np.ndarray:
    """Read an image of any format OpenCV knows, or OpenEXR; the content decides, not the file's name.

    Palettes and 1-bit images come out as 8-bit colour or gray, gray with alpha as BGRA, animations as their
    first frame.

    Args:
        upright: turn JPEGs upright by their EXIF orientation; other formats are taken as stored.

    Returns:
        (H, W) gray, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16, or float32 (scene-linear, unbounded).

    Raises:
        UserError: the file is missing, unreadable, cut short, or no image.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise UserError(f"cannot read {path}: not a file but a pipe or a device")  # could wait for ever
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if data.startswith(_EXR_MAGIC):
        return read_exr(path)
    is_jpeg = data.startswith(_JPEG_MAGIC)
    if data.startswith(_PNG_MAGIC) and not _png_is_whole(data) or is_jpeg and not _jpeg_is_whole(data):
        raise UserError(f"cannot read {path}: the file is cut short or damaged")
    # UNCHANGED keeps alpha but ignores EXIF; JPEGs, the ones that rely on EXIF, have no alpha.
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if is_jpeg and upright else cv2.IMREAD_UNCHANGED
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise UserError(f"cannot read {path}: not a picture in a known format, or damaged")
    if picture.dtype == np.float64:
        picture = picture.astype(np.float32)
    if picture.dtype not in (np.uint8, np.uint16, np.float32) or picture.ndim == 3 and picture.shape[2] not in (3, 4):
        shape = "x".join(map(str, picture.shape))
        raise UserError(f"cannot use {path}: {shape} pixels of type {picture.dtype}; 8 or 16 bits or float is needed")
    return picture


def read_bgr(path: str | Path, deep: bool = False) -> np.ndarray:
    """Read an image as training and benchmarks need it: colours as stored, not turned by metadata, alpha left out.

    Args:
        deep: keep 16 bits, in place of rounding them to 8.

    Returns:
        (H, W, 3) BGR, uint8; or uint16 with `deep` where the file has more than 8 bits.

    Raises:
        UserError: as `read_image`, and for floats.
    """
    image = read_image(path, upright=False)
    if image.dtype == np.float32:
        raise UserError(f"cannot use {path}: it holds floats; an image of 8 or 16 bits is needed")
    if image.dtype == np.uint16 and not deep:
        image = np.rint(image / np.float32(257)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def write_image(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture in the format its suffix names; `path` is replaced only by a complete file.

    WebP is written lossless; floats go to .exr only, as half floats; 16 bits only where the format holds them.

    Args:
        path: ends in one of `IMAGE_SUFFIXES`; missing folders are made.
        picture: as `read_image` returns them.

    Raises:
        UserError: the suffix does not fit the pixels, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".exr":
        return write_exr(path, picture)
    if suffix not in IMAGE_SUFFIXES or picture.dtype == np.float32:
        raise UserError(f"cannot write {path}: {picture.dtype} pixels need a name ending in "
                        f"{'.exr' if picture.dtype == np.float32 else '.png or another picture format'}")
    if picture.dtype == np.uint16 and suffix not in _WRITTEN_16_BIT:
        raise UserError(f"cannot write {path}: {suffix} holds no 16-bit pixels; use .png")
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    _, encoded = cv2.imencode(suffix, picture, options)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def to_display(picture: np.ndarray) -> np.ndarray:
    """Turn a picture of `read_image`'s kinds into (H, W, 3) uint8 BGR as a screen shows it.

    16 bits are rounded to 8; scene-linear floats get the sRGB curve and are clipped at 1; alpha is laid over white.
    """
    if picture.dtype == np.float32:
        linear = picture.clip(0, 1)
        value = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)
        if picture.ndim == 3 and picture.shape[2] == 4:
            value[..., 3] = linear[..., 3]  # coverage is no light
    else:
        value = picture.astype(np.float32) / np.iinfo(picture.dtype).max
    if value.ndim == 2:
        value = cv2.cvtColor(value, cv2.COLOR_GRAY2BGR)
    if value.shape[2] == 4:
        value = value[..., :3] * value[..., 3:] + 1 - value[..., 3:]
    return np.rint(value * 255).clip(0, 255).astype(np.uint8)


def _png_is_whole(data: bytes) -> bool:
    """Whether every chunk up to IEND is there with its right checksum; decoders show a damaged file in part."""
    position = len(_PNG_MAGIC)
    while position + 12 <= len(data):
        length, = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        body = data[position + 4:end - 4]
        if end > len(data) or zlib.crc32(body) != struct.unpack_from(">I", data, end - 4)[0]:
            return False
        if body[:4] == b"IEND":
            return True
        position = end
    return False


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end marker follows the compressed data; a thumbnail inside the header has one of its own."""
    position = len(_JPEG_MAGIC)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if marker == 0xDA:  # start of scan: from here on 0xFF is stuffed, so the end marker is unmistakable
            return data.find(b"\xff\xd9", position) >= 0
        position += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated as filling
    return False
