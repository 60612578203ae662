"""How much the neighbouring frames of a clip differ: that tells motion from stills, cuts and repeated frames."""
import concurrent.futures
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from common.errors import UserError
from common.files import atomic_path
from data.frames import CorruptFrame, FrameFolder, VideoFile, read_frame

FILE = ".frame_differences.json"  # in the folder of the clips: what was measured, so that it is measured once
_VERSION = 1
_CUT = 25.0      # grey levels between neighbours: more is a scene cut or a flash (of the image at 1/4)
_STATIC = 1.0    # grey levels over the window: less is a camera on a tripod with nothing happening
_REPEATED = 0.1  # share of the window's mean difference: less is a repeated frame


def moving(differences: np.ndarray, gap: int) -> np.ndarray:
    """Which windows have motion worth learning from.

    Left out are windows where nothing moves, with a scene cut, or with a repeated frame (in those the
    frame in the middle is not where its timestep says). What could not be measured is not left out.

    Args:
        differences: (frames - 1,) mean absolute difference between each frame and the next, in grey levels;
            NaN: unknown, because one of them cannot be read.
        gap: frames from a window's first to its last.

    Returns:
        (frames,) bool by the window's first frame; False where the window does not fit.
    """
    usable = np.zeros(len(differences) + 1, bool)
    if len(differences) >= gap:
        inside = np.lib.stride_tricks.sliding_window_view(differences, gap)
        repeated = inside.min(1) < _REPEATED * inside.mean(1)
        still, cut = inside.sum(1) <= _STATIC, inside.max(1) >= _CUT  # with NaN, all of these are False
        usable[:len(inside)] = ~(still | cut | repeated)
    return usable


class DifferenceMeter:
    """Frames go in one by one; `values` are the differences between neighbours (None: unknown)."""

    def __init__(self) -> None:
        self.values: list[float | None] = []
        self._previous: np.ndarray | None = None
        self._begun = False

    def add(self, frame: np.ndarray | None) -> None:
        """The next frame, HxWx3 uint8; None: it cannot be read."""
        # Reduced to 1/4: then the differences show motion, not compression noise.
        small = None if frame is None else cv2.resize(frame, None, fx=0.25, fy=0.25,
                                                      interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._begun:
            difference = None
            if small is not None and self._previous is not None and small.shape == self._previous.shape:
                difference = round(float(np.abs(small - self._previous).mean()), 3)
            self.values.append(difference)
        self._previous, self._begun = small, True


def differences_of(clips: list[FrameFolder | VideoFile], root: Path) -> list[np.ndarray]:
    """(frames - 1,) float32 for each clip under `root`, measured once: the results are kept in `root`.

    Processes that ask at the same time wait for the one that measures. Where `root` cannot be written to, every
    call measures anew; `dataset.py pack` makes a cache that knows.
    """
    try:
        with FileLock(root / f"{FILE}.lock"):
            known = _read(root / FILE)
            missing = [clip for clip in clips if not _is_current(known.get(clip.name), clip)]
            if missing:
                known |= _measure_all(missing)
                with atomic_path(root / FILE) as temporary:
                    temporary.write_text(json.dumps({"version": _VERSION, "clips": known}))
    except (OSError, UserError, NotImplementedError):  # not ours to write to, or without locks
        known = _measure_all(clips)
    return [np.asarray(known[clip.name]["differences"], np.float32) for clip in clips]


def _read(file: Path) -> dict:
    try:
        kept = json.loads(file.read_text())
        return kept["clips"] if kept["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_current(entry: dict | None, clip: FrameFolder | VideoFile) -> bool:
    return entry is not None and entry["stamp"] == _stamp(clip) and len(entry["differences"]) == max(len(clip) - 1, 0)


def _stamp(clip: FrameFolder | VideoFile) -> list:
    """Changes when the clip does. A folder's time changes when files come or go."""
    status = clip.path.stat()
    return [len(clip), status.st_mtime_ns, 0 if clip.path.is_dir() else status.st_size]


def _measure_all(clips: list[FrameFolder | VideoFile]) -> dict[str, dict]:
    result = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:  # decoding leaves Python free, threads are enough
        for clip, values in zip(clips, tqdm(pool.map(_measure, clips), "looking for motion and cuts", len(clips),
                                            unit=" clips", disable=None)):
            result[clip.name] = {"stamp": _stamp(clip), "differences": values}
    return result


def _measure(clip: FrameFolder | VideoFile) -> list[float | None]:
    meter = DifferenceMeter()
    for frame in _readable(clip):
        meter.add(frame)
    return (meter.values + [None] * len(clip))[:max(len(clip) - 1, 0)]


def _readable(clip: FrameFolder | VideoFile) -> Iterable[np.ndarray | None]:
    """The frames in order, None for those that cannot be read; a video ends with its first."""
    if isinstance(clip, FrameFolder):
        for file in clip.files:
            try:
                yield read_frame(file)
            except CorruptFrame:
                yield None
    else:
        try:
            yield from clip.frames()
        except CorruptFrame:
            yield None
