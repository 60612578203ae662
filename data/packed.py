"""The packed cache: frames decoded once into one memory-mapped file, so that training decodes nothing.

A cache is a folder with `frames.bin`, raw HxWx3 uint8 BGR frames one after the other, and `index.json`, which
says where each clip's frames lie and how much each frame differs from the one before.
"""
import json
import shutil
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from common.errors import UserError
from data.frames import CorruptFrame, FrameFolder, VideoFile, find_clips

_VERSION = 1
_SMALLEST = 16  # pixels: the smallest crop there is


class PackedClip:
    """One clip of a cache. Frames are views of the mapped file: only the rows that are used are read."""

    def __init__(self, file: Path, entry: dict) -> None:
        self.path, self.name = file, entry["name"]
        self.shape = (entry["frames"], entry["height"], entry["width"], 3)
        self.differences = np.asarray(entry["differences"], np.float32)
        self._offset, self._frames = entry["offset"], None

    def __len__(self) -> int:
        return self.shape[0]

    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.shape[1:3]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_frames": None}  # pickling a mapped array would copy the file

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices`, HxWx3 uint8 BGR each, read-only."""
        if self._frames is None:
            self._frames = np.memmap(self.path, np.uint8, "r", self._offset, self.shape)
        return [self._frames[index] for index in indices]


def is_packed(root: Path) -> bool:
    return (root / "index.json").is_file() and (root / "frames.bin").is_file()


def open_packed(root: Path) -> list[PackedClip]:
    """The clips of the cache `root`. Raises UserError if it is damaged or of another version."""
    try:
        index = json.loads((root / "index.json").read_text())
        if index["version"] != _VERSION:
            raise UserError(f"{root} is a packed cache of version {index['version']}: pack it again")
        clips = [PackedClip(root / "frames.bin", entry) for entry in index["clips"]]
        size = (root / "frames.bin").stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the packed cache {root}: {error!r}; pack it again") from error
    if size != index["size"]:
        raise UserError(f"{root / 'frames.bin'} has {size} bytes instead of {index['size']}: pack it again")
    return clips


def pack(root: Path, output: Path, reduce: int = 1, skip_corrupt: bool = False) -> dict:
    """Decode every clip under `root` once into a cache at `output`.

    Args:
        root: a folder of videos or frame folders, at any depth (`data.frames.find_clips`). List files
            (*.txt) in it are copied.
        output: the cache; it appears only when it is complete.
        reduce: reduce the frames by this whole factor first, by averaging: a compressed video is too
            blurred and blocky to be called truth at its own size.
        skip_corrupt: of a clip with unreadable or missing frames keep those before, instead of failing.

    Returns:
        The index that was written; "damage" lists what `skip_corrupt` left out.

    Raises:
        UserError: nothing to pack, a clip cannot be read, its reduced frames are too small for any
            training, or `output` is there already.
    """
    clips = find_clips(root)
    if not clips:
        raise UserError(f"{root} holds no videos and no folders of pictures")
    if output.exists():
        raise UserError(f"{output} exists: delete it first, or choose another --output")
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        entries, damage, offset = [], [], 0
        with open(temporary / "frames.bin", "wb") as file:
            for clip in tqdm(clips, "packing", unit=" clips"):
                entry, problem = _pack_clip(clip, file, reduce)
                if problem and not skip_corrupt:
                    raise UserError(f"{problem} (--skip_corrupt keeps the frames before the damage)")
                damage += [problem] if problem else []
                entries += [entry | {"offset": offset}] if entry["frames"] else []
                offset = file.tell()
        if not entries:
            raise UserError(f"no clip in {root} can be read")
        index = {"version": _VERSION, "reduce": reduce, "size": offset, "damage": damage, "clips": entries}
        (temporary / "index.json").write_text(json.dumps(index))
        for listing in root.glob("*.txt"):
            shutil.copy(listing, temporary)
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return index


def _pack_clip(clip: FrameFolder | VideoFile, file: BinaryIO, reduce: int) -> tuple[dict, str | None]:
    """Append a clip's frames, up to the first that cannot be had; what it was is returned beside the entry."""
    differences: list[float] = []
    previous, shape, problem = None, (0, 0, 3), None
    count = 0
    try:
        for frame in clip:
            if min(frame.shape[:2]) // reduce < _SMALLEST:
                raise UserError(f"{clip.path}: its frames are {frame.shape[1]}x{frame.shape[0]}; at least "
                                f"{_SMALLEST * reduce} pixels a side are needed with --reduce {reduce}")
            frame = reduce_area(frame, reduce)
            if previous is not None and frame.shape != shape:
                raise CorruptFrame(f"frame {count} of {clip.path} has another size than the ones before")
            file.write(np.ascontiguousarray(frame).data)
            # Small pictures: their differences show motion, not compression noise.
            small = cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(np.float32)
            if previous is not None:
                differences.append(round(float(np.abs(small - previous).mean()), 3))
            previous, shape, count = small, frame.shape, count + 1
        if count < len(clip):
            raise CorruptFrame(f"{clip.path} has {len(clip)} frames but {count} could be decoded")
    except CorruptFrame as error:
        problem = str(error)
    return {"name": clip.name, "frames": count, "height": shape[0], "width": shape[1],
            "differences": differences}, problem


def reduce_area(frame: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor x factor pixels; rows and columns that fill no block are left out."""
    if factor == 1:
        return frame
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    return cv2.resize(frame[:height * factor, :width * factor], (width, height), interpolation=cv2.INTER_AREA)
