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
from data.frames import VIDEOS, CorruptFrame, VideoFile, walk

_COMPRESSION = 1  # of the PNGs: much faster than the default, hardly larger for video frames

_decoded = None  # in a worker: the frames decoded so far, shared with the parent for its progress bar


def prepare_adobe240(videos: Path, output: Path, workers: int | None = None, skip_corrupt: bool = False) -> list[Path]:
    """Write `output/<video>/<number>.png`, numbered from 0, for every video under `videos`.

    A video's folder appears under its name only when all frames its container promises are written, so
    a second call goes on after the last finished video.

    Args:
        workers: videos extracted at a time; None: one per core.
        skip_corrupt: keep the frames before the first that cannot be decoded, and say so, instead of failing.

    Returns:
        The folders written by this call.

    Raises:
        UserError: no videos, two of one name, or (when all others are done) some that cannot be extracted.
    """
    if not videos.is_dir():
        raise UserError(f"no such folder: {videos}")
    files = sorted((file for _, files in walk(videos) for file in files), key=natural_key)
    if not files:
        raise UserError(f"{videos} holds no videos ({', '.join(sorted(VIDEOS))})")
    folders: dict[str, Path] = {}
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
    written: list[Path] = []
    problems: list[str] = []
    shortened: list[str] = []
    try:
        running = {pool.submit(extract, file, folder, skip_corrupt): folder for file, folder in todo.items()}
        with tqdm(total=total, desc="extracting", unit=" frames") as bar:
            waiting = set(running)
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, 0.5, concurrent.futures.FIRST_COMPLETED)
                bar.update(counter.value - bar.n)
                for future in done:
                    complete, problem = future.result()
                    if complete:
                        written.append(running[future])
                    if problem:
                        (shortened if complete else problems).append(problem)
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError("an extracting process was killed (is memory short? try fewer --workers); the same command "
                        "goes on after the videos that are done") from None
    finally:
        pool.shutdown(cancel_futures=True)
    for problem in shortened:
        print(f"cut short: {problem}")
    if problems:
        raise UserError(f"{len(problems)} video(s) could not be extracted, the others are done: {'; '.join(problems)}")
    return sorted(written)


def _start_worker(counter) -> None:
    global _decoded
    _decoded = counter
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback; the parent reports it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would write on into the folders of the next call."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def extract(file: Path, folder: Path, skip_corrupt: bool = False) -> tuple[bool, str | None]:
    """Write all frames of one video to `folder/<number>.png`.

    Returns:
        Whether the folder was written (it appears under its name only when it is complete), and what is
        wrong, or None. With `skip_corrupt` a damaged video is both.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    count, damage = 0, None
    try:
        temporary.mkdir(parents=True)
        video = VideoFile(file, file.stem, as_published=True)
        try:
            promised = len(video)
            for frame in video.frames():
                _, image = cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
                # OpenCV's own writing is silent about a full disk.
                (temporary / f"{count}.png").write_bytes(image)  # type: ignore[arg-type]
                count += 1
                if _decoded is not None:
                    with _decoded.get_lock():
                        _decoded.value += 1
            if count != promised:
                damage = f"{file} has {promised} frames but {count} could be decoded"
        except CorruptFrame as error:
            damage = f"{error} (after {count} frames)"
        if damage and not (skip_corrupt and count):
            return False, damage + (" (--skip_corrupt keeps the frames before)" if count and not skip_corrupt else "")
        temporary.rename(folder)
    except OSError as error:
        return False, f"cannot write {folder}: {error.strerror or error}"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True, damage
