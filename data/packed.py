"""The packed cache: frames decoded once into one memory-mapped file, from which training reads only what it crops.

A cache is a folder with `frames.bin` and `index.json`, which says where each clip's frames lie and how much each
frame differs from the one before. The frames are kept in one of three formats:

    raw    HxWx3 uint8 BGR, one frame after the other
    jpeg   squares of 128x128 pixels, each a JPEG of quality 97 without chroma subsampling: a tenth of the size
    webp   the same squares as lossless WebP: about the size of jpeg, exact, slow to pack

Of the squares, `tiles.npy` holds where each begins in `frames.bin`. A crop decodes the few squares that it touches.
"""
import json
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np

from common.errors import UserError
from data.frames import CorruptFrame

VERSION = 2
READABLE = (1, 2)  # version 1 is raw
TILE = 128
FORMATS = {"raw": None,
           "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                             cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]),
           "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101])}  # above 100: lossless


class TiledFrame:
    """One frame of a cache, kept as encoded squares: `frame[top:bottom, left:right]` decodes those it touches.

    Like an array of shape (H, W, 3) that can only be cut so, or taken as a whole by `np.asarray`.
    """

    def __init__(self, name: str, shape: tuple[int, int, int], data: np.ndarray, bounds: np.ndarray) -> None:
        """`data`: the bytes of `frames.bin`; `bounds`: where this frame's squares begin, row by row, and its end."""
        self.shape = shape
        self._name, self._data, self._bounds = name, data, bounds
        self._decoded: dict[int, np.ndarray] = {}

    def __getitem__(self, area: tuple[slice, slice]) -> np.ndarray:
        """HxWx3 uint8 BGR of the area; both slices without a step."""
        (top, bottom, _), (left, right, _) = (part.indices(side) for part, side in zip(area, self.shape))
        result = np.empty((max(0, bottom - top), max(0, right - left), 3), np.uint8)
        columns = -(-self.shape[1] // TILE)
        for row in range(top // TILE, -(-bottom // TILE)):
            for column in range(left // TILE, -(-right // TILE)):
                y, x = row * TILE, column * TILE
                rows = slice(max(top, y), min(bottom, y + TILE))
                places = slice(max(left, x), min(right, x + TILE))
                result[rows.start - top:rows.stop - top, places.start - left:places.stop - left] = (
                    self._tile(row * columns + column)[rows.start - y:rows.stop - y, places.start - x:places.stop - x])
        return result

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:, :], dtype)

    def _tile(self, number: int) -> np.ndarray:
        if number not in self._decoded:
            tile = cv2.imdecode(self._data[self._bounds[number]:self._bounds[number + 1]], cv2.IMREAD_COLOR)
            if tile is None:
                raise CorruptFrame(f"{self._name} is damaged: pack it again")
            self._decoded[number] = tile
        return self._decoded[number]


class PackedClip:
    """One clip of a cache. Only the parts of the file that are used are read."""

    def __init__(self, root: Path, entry: dict, tiled: bool) -> None:
        self.path, self.name = root / "frames.bin", entry["name"]
        self.shape = (entry["frames"], entry["height"], entry["width"], 3)
        self.differences = np.asarray(entry["differences"], np.float32)
        self._offset, self._first_tile, self._tiled = entry["offset"], entry.get("first_tile", 0), tiled
        self._mapped: Any = None  # the frames; where they are tiled, the bytes and where each tile begins

    def __len__(self) -> int:
        return self.shape[0]

    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.shape[1:3]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_mapped": None}  # pickling a mapped array would copy the file

    def read(self, indices: list[int]) -> list[np.ndarray] | list[TiledFrame]:
        """The frames at `indices`: HxWx3 uint8 BGR, read-only, or what decodes them as they are cut."""
        if not self._tiled:
            if self._mapped is None:
                self._mapped = np.memmap(self.path, np.uint8, "r", self._offset, self.shape)
            return [self._mapped[index] for index in indices]
        if self._mapped is None:
            self._mapped = (np.memmap(self.path, np.uint8, "r"),
                            np.load(self.path.with_name("tiles.npy"), mmap_mode="r"))
        data, bounds = self._mapped
        count = tiles_of(*self.size())
        firsts = [self._first_tile + index * count for index in indices]
        return [TiledFrame(f"{self.path}: frame {index} of {self.name}", self.shape[1:], data,
                           bounds[first:first + count + 1]) for index, first in zip(indices, firsts)]

    def origin(self, index: int) -> Path:
        """The file that all frames are in."""
        return self.path


def tiles_of(height: int, width: int) -> int:
    """How many squares a frame is kept in."""
    return -(-height // TILE) * -(-width // TILE)


def is_packed(root: Path) -> bool:
    return (root / "index.json").is_file() and (root / "frames.bin").is_file()


def open_packed(root: Path) -> list[PackedClip]:
    """The clips of the cache `root`. Raises UserError if it is damaged or of another version."""
    try:
        index = json.loads((root / "index.json").read_text())
        if index["version"] not in READABLE:
            raise UserError(f"{root} is a packed cache of version {index['version']}: pack it again")
        tiled = index.get("format", "raw") != "raw"
        clips = [PackedClip(root, entry, tiled) for entry in index["clips"]]
        size = (root / "frames.bin").stat().st_size
        if tiled and len(np.load(root / "tiles.npy", mmap_mode="r")) != index["tiles"] + 1:
            raise ValueError("tiles.npy is too short")
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the packed cache {root}: {error!r}; pack it again") from error
    if size != index["size"]:
        raise UserError(f"{root / 'frames.bin'} has {size} bytes instead of {index['size']}: pack it again")
    return clips


@overload
def reduce_area(frame: np.ndarray, factor: int) -> np.ndarray: ...


@overload
def reduce_area(frame: np.ndarray | TiledFrame, factor: int) -> np.ndarray | TiledFrame: ...


def reduce_area(frame: np.ndarray | TiledFrame, factor: int) -> np.ndarray | TiledFrame:
    """Average blocks of factor x factor pixels; rows and columns that fill no block are left out."""
    if factor == 1:
        return frame
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    return cv2.resize(frame[:height * factor, :width * factor], (width, height), interpolation=cv2.INTER_AREA)
