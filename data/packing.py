"""`dataset.py pack`: every clip of a folder decoded once into a packed cache (`data.packed`)."""
import concurrent.futures
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from common.errors import UserError
from data import adobe240, vimeo90k
from data.differences import DifferenceMeter
from data.frames import CorruptFrame, FrameFolder, VideoFile, find_clips, ordered_map
from data.packed import FORMATS, TILE, VERSION, reduce_area

_SMALLEST = 16  # pixels: the smallest crop there is


def pack(root: Path, output: Path, reduce: int = 1, skip_corrupt: bool = False, format_: str = "raw") -> dict:
    """Decode every clip under `root` once into a cache at `output`.

    Args:
        root: a folder of videos or frame folders, at any depth (`data.frames.find_clips`). List files
            (*.txt) in it, and a dataset's own wherever training finds them, are copied.
        output: the cache; it appears only when it is complete.
        reduce: reduce the frames by this whole factor first, by averaging: a compressed video is too
            blurred and blocky to be ground truth at its own size.
        skip_corrupt: of a clip with unreadable or missing frames keep those before, instead of failing.
        format_: one of `data.packed.FORMATS`.

    Returns:
        The index that was written; "damage" lists what `skip_corrupt` left out.

    Raises:
        UserError: nothing to pack, a clip cannot be read, its reduced frames are too small for any
            training, or `output` is there already.
    """
    clips = find_clips(root)
    if not clips:
        raise UserError(f"{root} holds no videos and no folders of images")
    if output.exists():
        raise UserError(f"{output} exists: delete it first, or choose another --output")
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        entries, damage = [], []
        with open(temporary / "frames.bin", "wb") as file, concurrent.futures.ThreadPoolExecutor() as pool:
            writer = _Writer(file, format_, pool)
            with tqdm(total=sum(map(len, _countable(clips))), desc="packing", unit=" frames") as bar:
                for clip in clips:
                    start = {"offset": writer.bounds[-1], "first_tile": len(writer.bounds) - 1}
                    entry, problem = _pack_clip(clip, writer, reduce, bar)
                    if problem and not skip_corrupt:
                        raise UserError(f"{problem} (--skip_corrupt keeps the frames before the damage)")
                    damage += [problem] if problem else []
                    entries += [entry | start] if entry["frames"] else []
        if not entries:
            raise UserError(f"no clip in {root} can be read")
        index = {"version": VERSION, "format": format_, "reduce": reduce, "size": writer.bounds[-1],
                 "tiles": len(writer.bounds) - 1, "damage": damage, "clips": entries}
        if format_ != "raw":
            np.save(temporary / "tiles.npy", np.array(writer.bounds, np.int64))
        (temporary / "index.json").write_text(json.dumps(index))
        for listing in (*root.glob("*.txt"), *_found_by_training(root)):
            shutil.copy(listing, temporary)
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return index


def _found_by_training(root: Path) -> Iterator[Path]:
    for module in (adobe240, vimeo90k):
        for split in module.LISTS:
            with contextlib.suppress(UserError):
                yield module.own_list(root, split)


class _Writer:
    """Appends frames to `frames.bin`; `bounds`: where each piece (a square, or a raw frame) begins, and the end."""

    def __init__(self, file: BinaryIO, format_: str, pool: concurrent.futures.Executor) -> None:
        self.pool, self.bounds = pool, [0]
        self._file, self._format = file, FORMATS[format_]

    def encode(self, frame: np.ndarray) -> list[bytes | memoryview]:
        """The pieces of one HxWx3 frame; thread-safe."""
        if self._format is None:
            return [np.ascontiguousarray(frame).data]
        suffix, options = self._format
        return [cv2.imencode(suffix, frame[y:y + TILE, x:x + TILE], options)[1].tobytes()
                for y in range(0, frame.shape[0], TILE) for x in range(0, frame.shape[1], TILE)]

    def write(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            self._file.write(piece)
            self.bounds.append(self.bounds[-1] + memoryview(piece).nbytes)


def _countable(clips: list[FrameFolder | VideoFile]) -> Iterator[FrameFolder | VideoFile]:
    for clip in clips:
        try:
            len(clip)
        except CorruptFrame:
            continue  # reported when its turn comes
        yield clip


def _pack_clip(clip: FrameFolder | VideoFile, writer: _Writer, reduce: int, bar: tqdm) -> tuple[dict, str | None]:
    """Append a clip's frames, up to the first that cannot be had; what it was is returned beside the entry."""
    meter, shape, count, problem = DifferenceMeter(), None, 0, None

    def reduced() -> Iterator[np.ndarray]:
        nonlocal shape
        for number, frame in enumerate(clip.frames(writer.pool)):
            if min(frame.shape[:2]) // reduce < _SMALLEST:
                raise UserError(f"{clip.path}: its frames are {frame.shape[1]}x{frame.shape[0]}; at least "
                                f"{_SMALLEST * reduce} pixels a side are needed with --reduce {reduce}")
            frame = reduce_area(frame, reduce)
            if frame.shape != (shape := shape or frame.shape):
                raise CorruptFrame(f"frame {number} of {clip.path} has another size than the ones before")
            meter.add(frame)
            yield frame

    try:
        for pieces in ordered_map(writer.pool, writer.encode, reduced()):
            writer.write(pieces)
            count += 1
            bar.update()
        if count < len(clip):
            raise CorruptFrame(f"{clip.path} has {len(clip)} frames but {count} could be decoded")
    except CorruptFrame as error:
        problem = str(error)
    height, width = shape[:2] if shape else (0, 0)
    return {"name": clip.name, "frames": count, "height": height, "width": width,
            "differences": meter.values[:max(count - 1, 0)]}, problem
