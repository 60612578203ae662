"""Finding, reading and writing still images, with damage found before anything is computed."""
import os
import stat
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common.errors import UserError
from common.files import atomic_path, natural_key
from media.exr import read_exr, write_exr
from media.image_header import (
    ColourTag,
    animation_frames,
    colour_tag,
    is_whole,
    open_header,
    orientation,
    turned,
    white_value,
    with_alpha,
)

# The caller gets one exception per broken file; OpenCV's log would say it again, in several lines.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm", ".exr")
_WRITTEN_16_BIT = (".png", ".tif", ".tiff", ".jp2", ".ppm", ".pgm")
_EXR_MAGIC = b"\x76\x2f\x31\x01"


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


class LoadedImage(NamedTuple):
    """An image as users need it: the pixels, and what the file says about them.

    Attributes:
        pixels: (H, W) gray, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16, or float32 (scene-linear, unbounded).
            Alpha is straight, but in floats: there colours are multiplied by it, as OpenEXR has them.
        colour: the ICC profile or the like, None where there is none (sRGB is meant then).
        notes: what of the file is left out, one line each.
    """

    pixels: np.ndarray
    colour: ColourTag | None
    notes: list[str]


def load_image(path: str | Path, upright: bool = True) -> LoadedImage:
    """Read an image of any format OpenCV or Pillow knows, or OpenEXR; the content decides, not the file's name.

    Samples of fewer bits than their type (10-bit AVIF) are scaled to its full range. Palettes and 1-bit images come
    out as 8-bit colour or gray, gray with alpha as BGRA.

    Args:
        upright: turn the image as EXIF (or AVIF's own boxes) say it is to be shown; a TIFF is always turned.

    Raises:
        UserError: the file is missing, unreadable, cut short, no image, or an animation.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise UserError(f"cannot read {path}: not a file but a pipe or a device")  # could wait for ever
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if data.startswith(_EXR_MAGIC):
        return LoadedImage(read_exr(path), None, [])
    if not is_whole(data):
        raise UserError(f"cannot read {path}: the file is cut short or damaged")
    header = open_header(data)
    if header and (frames := animation_frames(header)) > 1:
        raise UserError(f"cannot use {path}: it is an animation of {frames} frames, and a still image is needed; "
                        "extract the frames you want as PNG files")
    pixels = _to_full_range(_decode(data), white_value(data))
    pixels = with_alpha(pixels, header, data)
    if pixels is None:
        what = "HEIC cannot be read; save it as JPEG, PNG or AVIF" if data[8:12] in (b"heic", b"heix") else \
            "not an image in a known format, or damaged"
        raise UserError(f"cannot read {path}: {what}")
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32) or pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        shape = "x".join(map(str, pixels.shape))
        raise UserError(f"cannot use {path}: {shape} pixels of type {pixels.dtype}; 8 or 16 bits or float is needed")
    if upright and header:
        pixels = turned(pixels, orientation(header))
    colour, notes = colour_tag(header, data), []
    if colour and colour.space != ("GRAY" if pixels.ndim == 2 else "RGB"):
        notes.append(f"{path}: its {colour.space} colour profile is left out, which its pixels as read do not fit")
        colour = None
    if header and header.format == "TIFF" and (pages := getattr(header, "n_frames", 1)) > 1:
        notes.append(f"{path}: the first of {pages} pages is taken")
    return LoadedImage(pixels, colour, notes)


def read_image(path: str | Path) -> np.ndarray:
    """The pixels of `load_image`, upright."""
    return load_image(path).pixels


def _decode(data: bytes) -> np.ndarray | None:
    """OpenCV's pixels as stored; None for what it cannot read."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        return None


def _to_full_range(pixels: np.ndarray | None, white: int | None) -> np.ndarray | None:
    """Integer pixels scaled so that `white` becomes the greatest value of their type."""
    if pixels is None or white is None or pixels.dtype not in (np.uint8, np.uint16):
        return pixels
    top = np.iinfo(pixels.dtype).max
    if white in (0, top):
        return pixels
    return ((np.minimum(pixels, white) * np.uint32(top) + white // 2) // white).astype(pixels.dtype)


def read_bgr(path: str | Path, deep: bool = False) -> np.ndarray:
    """Read an image as training and benchmarks need it: colours as stored, not turned by metadata, alpha left out.

    Args:
        deep: keep 16 bits, in place of rounding them to 8.

    Returns:
        (H, W, 3) BGR, uint8; or uint16 with `deep` where the file has more than 8 bits.

    Raises:
        UserError: as `load_image`, and for floats.
    """
    image = load_image(path, upright=False).pixels
    if image.dtype == np.float32:
        raise UserError(f"cannot use {path}: it holds floats; an image of 8 or 16 bits is needed")
    if image.dtype == np.uint16 and not deep:
        image = np.rint(image / np.float32(257)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def write_image(path: str | Path, image: np.ndarray, colour: ColourTag | None = None) -> None:
    """Write an image in the format its suffix names; `path` is replaced only by a complete file.

    WebP is written lossless; floats go to .exr only, as half floats; 16 bits only where the format holds them.

    Args:
        path: ends in one of `IMAGE_SUFFIXES`; missing folders are made.
        image: as `read_image` returns them.
        colour: what the numbers mean; PNG files alone can be given it.

    Raises:
        UserError: the suffix does not fit the pixels or `colour`, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if colour and suffix != ".png":
        raise UserError(f"cannot write {path}: a colour profile is kept in .png only")
    if suffix == ".exr":
        return write_exr(path, image)
    if suffix not in IMAGE_SUFFIXES or image.dtype == np.float32:
        raise UserError(f"cannot write {path}: {image.dtype} pixels need a name ending in "
                        f"{'.exr' if image.dtype == np.float32 else '.png or another image format'}")
    if image.dtype == np.uint16 and suffix not in _WRITTEN_16_BIT:
        raise UserError(f"cannot write {path}: {suffix} holds no 16-bit pixels; use .png")
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    try:
        done, encoded = cv2.imencode(suffix, image, options)
    except cv2.error:  # by OpenCV 4; 5 returns False
        done = False
    if not done:
        raise UserError(f"cannot write {path}: {suffix} does not hold {image.shape[1]}x{image.shape[0]} pixels; choose "
                        "another format or size")
    data = encoded.tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(colour.inserted(data) if colour else data)


def to_display(image: np.ndarray) -> np.ndarray:
    """Turn an image of `read_image`'s kinds into (H, W, 3) uint8 BGR as a screen shows it, over white.

    16 bits are rounded to 8; scene-linear floats get the sRGB curve and are clipped at 1.
    """
    if image.dtype == np.float32:
        linear = image if image.ndim == 2 or image.shape[2] == 3 else image[..., :3] + 1 - image[..., 3:]
        linear = linear.clip(0, 1)
        value = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    else:
        value = image.astype(np.float32) / np.iinfo(image.dtype).max
        if value.ndim == 3 and value.shape[2] == 4:
            value = value[..., :3] * value[..., 3:] + 1 - value[..., 3:]
    value = np.rint(value * 255).astype(np.uint8)
    return cv2.cvtColor(value, cv2.COLOR_GRAY2BGR) if value.ndim == 2 else value
