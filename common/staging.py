"""Many output files that appear together, when all of them are complete."""
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from common.errors import UserError

_LOCK = ".lock"  # in each stage, held while the process that writes there lives


@contextlib.contextmanager
def staged_folder(folder: str | Path) -> Iterator[Path]:
    """Give an empty folder to write to; move its files into `folder` if the block succeeds.

    Files of the same names are replaced then, and nothing else in `folder` is touched. If the block
    fails, nothing appears. That `folder` can be written to is found at the start, and what killed
    processes left there unfinished is removed then.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    new = not os.path.exists(folder)  # true, too, for names too long, which cannot be made then
    if not new and not folder.is_dir():
        raise UserError(f"cannot write to {folder}: it is a file, not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        stage = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
        lock = filelock.FileLock(stage / _LOCK)
        with contextlib.suppress(NotImplementedError):  # by file systems that cannot lock
            lock.acquire()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield stage
        finished = {path: folder / path.name for path in sorted(stage.iterdir()) if path.name != _LOCK}
        if taken := [target for target in finished.values() if target.is_dir()]:
            raise UserError(f"cannot write {taken[0]}: a folder has that name")
        for path, target in finished.items():
            os.replace(path, target)
    finally:
        lock.release()
        shutil.rmtree(stage, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if nothing came of it


def _remove_abandoned(folder: Path) -> None:
    """Delete the stages of processes that were killed: nobody holds their locks any more."""
    for stage in folder.glob(".unfinished-*"):
        try:
            with filelock.FileLock(stage / _LOCK, timeout=0):
                pass
        except (OSError, NotImplementedError):  # Timeout is an OSError
            continue
        shutil.rmtree(stage, ignore_errors=True)
