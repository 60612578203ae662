"""`dataset.py prepare adobe240`: frames out of the published videos, in parallel and resumably."""
import concurrent.futures.process
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
from pathlib import Path

import cv2
from tqdm import tqdm

from common.errors import UserError
from common.files import natural_key
from data.frames import VIDEOS, CorruptFrame, VideoFile

_COMPRESSION = 1  # of the PNGs: much faster than the default, hardly larger for video frames

_decoded = None  # in a worker: the frames decoded so far, shared with the parent for its progress bar


def prepare_adobe240(videos: Path, output: Path, workers: int | None = None, skip_corrupt: bool = False) -> list[Path]:
    """Write `output/<video>/<number>.png`, numbered from 0, for every video under `videos`.

    A video's folder appears under its name only when all frames its container promises are written, so
    a second call goes on after the last finished video.

    Args:
        workers: videos extracted at a time; None: one per core.
        skip_corrupt: keep the frames before the first that cannot be decoded, instead of failing.

    Returns:
        The folders written by this call.

    Raises:
        UserError: no videos, two of one name, or (when all others are done) some that cannot be extracted.
    """
    if not videos.is_dir():
        raise UserError(f"no such folder: {videos}")
    files = sorted((file for file in videos.rglob("*") if file.suffix.lower() in VIDEOS and file.name[0] != "."),
                   key=natural_key)
    if not files:
        raise UserError(f"{videos} holds no videos ({', '.join(sorted(VIDEOS))})")
    folders = {}
    for file in files:
        if file.stem in folders:
            raise UserError(f"{file} and {folders[file.stem]} would both become {output / file.stem}: rename one")
        folders[file.stem] = file
    todo = {file: output / name for name, file in folders.items() if not (output / name).is_dir()}
    if len(todo) < len(files):
        print(f"{len(files) - len(todo)} of {len(files)} videos are extracted already")
    return _extract_all(todo, workers, skip_corrupt) if todo else []


def _extract_all(todo: dict[Path, Path], workers: int | None, skip_corrupt: bool) -> list[Path]:
    # Spawned, not forked: PyAV and OpenCV keep threads that a fork would not take along.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    total = 0
    for file in todo:
        try:
            total += len(VideoFile(file, file.stem))
        except CorruptFrame:
            pass  # reported by the worker, with the others
    pool = concurrent.futures.ProcessPoolExecutor(min(workers or os.cpu_count() or 1, len(todo)), context,
                                                  _start_worker, (counter,))
    written, problems = [], []
    try:
        running = {pool.submit(extract, file, folder, skip_corrupt): folder for file, folder in todo.items()}
        with tqdm(total=total, desc="extracting", unit=" frames") as bar:
            waiting = set(running)
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, 0.5, concurrent.futures.FIRST_COMPLETED)
                bar.update(counter.value - bar.n)
                for future in done:
                    problem = future.result()
                    if problem:
                        problems.append(problem)
                    else:
                        written.append(running[future])
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError("an extracting process was killed (is memory short? try fewer --workers); the same command "
                        "goes on after the videos that are done") from None
    finally:
        pool.shutdown(cancel_futures=True)
    if problems:
        raise UserError(f"{len(problems)} video(s) could not be extracted, the others are done: {'; '.join(problems)}"
                        + ("" if skip_corrupt else " (--skip_corrupt keeps the frames before the damage)"))
    return sorted(written)


def _start_worker(counter) -> None:
    global _decoded
    _decoded = counter
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback; the parent reports it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would write on into the folders of the next call."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def extract(file: Path, folder: Path, skip_corrupt: bool = False) -> str | None:
    """Write all frames of one video to `folder/<number>.png`; returns what is wrong, or None.

    The folder appears under its name only when it is complete.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    count, damage = 0, None
    try:
        temporary.mkdir(parents=True)
        video = VideoFile(file, file.stem)
        try:
            promised = len(video)
            for frame in video:
                if not cv2.imwrite(str(temporary / f"{count}.png"), frame, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]):
                    return f"cannot write {temporary}: is the disk full?"
                count += 1
                if _decoded is not None:
                    with _decoded.get_lock():
                        _decoded.value += 1
            if count != promised:
                damage = f"{file} has {promised} frames but {count} could be decoded"
        except CorruptFrame as error:
            damage = f"{error} (after {count} frames)"
        if damage and not (skip_corrupt and count):
            return damage
        temporary.rename(folder)
    except OSError as error:
        return f"cannot write {folder}: {error.strerror or error}"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return None
