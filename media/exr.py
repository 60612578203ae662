"""OpenEXR images: scene-linear floats, through the OpenEXR package (OpenCV's wheels are built without it)."""
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR

from common.errors import UserError
from common.files import atomic_path

HALF_MAX = 65504.0
_descriptors = threading.Lock()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the library's own complaints off stdout and stderr: it writes to the file descriptors."""
    with _descriptors, open(os.devnull, "w") as nothing:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)


def read_exr(path: str | Path) -> np.ndarray:
    """Read the first part of an EXR file, placed in its display window (black where it holds no data).

    Returns:
        (H, W) for a Y file, (H, W, 3) BGR for RGB, (H, W, 4) BGRA for RGBA or Y with A; float32,
        scene-linear, unbounded. Other channels (depth, further layers) are left out.

    Raises:
        UserError: the file is not a complete EXR, or holds neither R, G, B nor Y.
    """
    try:
        with _silence(), contextlib.redirect_stdout(None):
            part = OpenEXR.File(str(path), separate_channels=True).parts[0]
            header = part.header
            channels = {name: np.asarray(channel.pixels, np.float32) for name, channel in part.channels.items()}
    except Exception as error:  # the binding raises RuntimeError, ValueError and others for broken files
        raise UserError(f"cannot read {path}: not a complete OpenEXR image") from error
    if {"R", "G", "B"} <= channels.keys():
        names = "BGRA" if "A" in channels else "BGR"
    elif "Y" in channels and not {"RY", "BY"} & channels.keys():
        names = "YYYA" if "A" in channels else "Y"
    else:
        found = ", ".join(sorted(channels))
        raise UserError(f"cannot use {path}: it holds the channels {found}; R, G and B, or Y, are needed")
    planes = [channels[name] for name in names]
    if len({plane.shape for plane in planes}) > 1:
        raise UserError(f"cannot use {path}: its channels have different sizes")
    image = planes[0] if len(planes) == 1 else np.dstack(planes)
    return _in_display_window(image, header["dataWindow"], header["displayWindow"])


def _in_display_window(image: np.ndarray, data: tuple, display: tuple) -> np.ndarray:
    """Cut or pad `image`, which covers the `data` window, to the `display` window; (x, y) corners, inclusive."""
    (left, top), (right, bottom) = (np.asarray(corner, int) for corner in display)
    x, y = np.asarray(data[0], int) - (left, top)
    placed = np.zeros((bottom - top + 1, right - left + 1, *image.shape[2:]), np.float32)
    inside = image[max(-y, 0):, max(-x, 0):][:max(len(placed) - max(y, 0), 0), :max(placed.shape[1] - max(x, 0), 0)]
    placed[max(y, 0):max(y, 0) + len(inside), max(x, 0):max(x, 0) + inside.shape[1]] = inside
    return placed


def write_exr(path: str | Path, image: np.ndarray) -> None:
    """Write a float image as half floats (losslessly packed); what a half cannot hold becomes +-65504.

    Args:
        path: replaced only by a complete file.
        image: (H, W) gray, (H, W, 3) BGR or (H, W, 4) BGRA, scene-linear.

    Raises:
        UserError: the file cannot be written.
    """
    half = np.clip(image, -HALF_MAX, HALF_MAX).astype(np.float16)
    names = "Y" if half.ndim == 2 else "BGRA"[:half.shape[2]]
    planes = np.atleast_3d(half)
    channels = {name: np.ascontiguousarray(planes[..., i]) for i, name in enumerate(names)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as temporary:
        try:
            with _silence():
                OpenEXR.File(header, channels).write(str(temporary))
        except RuntimeError as error:
            raise UserError(f"cannot write {path}: {error}") from error
