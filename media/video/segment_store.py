"""The finished segments of a long job, on disk: it goes on where it stopped, and several processes can share it.

The folder `<output>.parts/<fingerprint>/` belongs to one job: one source, one set of options, one predictor. Another
job with the same output has another folder, so that changing an option by mistake destroys nothing.
"""
import contextlib
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError
from common.files import atomic_path, replace_durably

_VERSION = 4  # raised when the same options would give other bytes
HEARTBEAT = 5.0  # seconds between the signs of life each process writes
SILENCE = 600.0  # seconds without one after which a process is taken to be dead


def fingerprint(facts: dict) -> str:
    """A short name for everything that decides the result's bytes. `facts`: anything JSON can hold, or `str`."""
    text = json.dumps([_VERSION, facts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parts_of(output: Path) -> Path:
    """The folder for the segments of all jobs with that output."""
    return output.with_name(output.name + ".parts")


class SegmentStore:
    """One job's folder, as one of `world` processes sees it.

    Raises:
        UserError: the folder cannot be made, or another process does this rank's work already.
    """

    def __init__(self, output: Path, name: str, rank: int = 0, world: int = 1):
        self.base = parts_of(output)
        self.folder = self.base / name
        self.rank, self.world = rank, world
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"rank_{rank}.lock").touch()
        except OSError as error:
            raise UserError(f"cannot write to {self.base}: {error.strerror}") from error
        self._lock = FileLock(self.folder / f"rank_{rank}.lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise UserError(f"another process is working on {output}: wait for it, or end it first") from error
        except (OSError, NotImplementedError):
            pass  # a shared disk without locks
        (self.folder / f"rank_{rank}.failed").unlink(missing_ok=True)
        self._ended = threading.Event()
        threading.Thread(target=self._show_life, daemon=True).start()

    def close(self) -> None:
        """Let other processes have the folder; what is in it stays."""
        self._ended.set()
        self._lock.release()

    def file(self, segment: int, suffix: str) -> Path:
        return self.folder / f"{segment:06d}{suffix}"

    def load(self, name: str) -> dict | None:
        """A JSON file written by `save`, None if it is not there."""
        try:
            return json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            return None

    def save(self, name: str, data: dict) -> None:
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(json.dumps(data))

    def done(self, segment: int, suffix: str) -> dict | None:
        """The note on a finished segment; None if it is not finished. The note is written after the segment."""
        note = self.load(f"{segment:06d}.json")
        path = self.file(segment, suffix)
        return note if note and path.exists() and (path.is_dir() or path.stat().st_size == note["bytes"]) else None

    @contextlib.contextmanager
    def finishing(self, segment: int, suffix: str) -> Iterator[tuple[Path, dict]]:
        """Give a temporary path for a segment and a dict for its note; it is finished if the block succeeds."""
        target = self.file(segment, suffix)
        temporary = target.with_name(f".{target.stem}.{self.rank}.tmp{suffix}")
        note: dict = {}
        with _renamed(target, temporary):
            yield temporary, note
            if target.is_dir():
                shutil.rmtree(target)
        note["bytes"] = target.stat().st_size
        self.save(f"{segment:06d}.json", note)

    @contextlib.contextmanager
    def joining(self, output: Path) -> Iterator[Path]:
        """Give a path to put the result together at, which becomes `output` if the block succeeds.

        It lies among the parts: what a killed process leaves of it goes with them.
        """
        temporary = self.folder / f"joined{output.suffix}"
        with _renamed(output, temporary):
            yield temporary

    def _show_life(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                (self.folder / f"rank_{self.rank}.alive").write_text(str(time.time()))
            if self._ended.wait(HEARTBEAT):
                return

    def failed(self, reason: str) -> None:
        """Tell the other ranks that this one has failed."""
        with contextlib.suppress(OSError):
            (self.folder / f"rank_{self.rank}.failed").write_text(reason)

    def forget(self) -> None:
        """Delete the job's folder if nothing is finished in it, and no other process looks into it."""
        if self.world == 1 and not any(self.folder.glob("[0-9]*")):
            self.remove()

    def wait(self, unfinished: Callable[[], set[int]], silence: float = SILENCE) -> None:
        """Wait until `unfinished()`, the ranks whose work is not complete, is empty; they have to show life.

        Raises:
            UserError: a rank has failed, or an unfinished one has shown no sign of life for `silence` seconds.
        """
        seen: dict[int, tuple[str, float]] = {}
        while missing := unfinished():
            for rank in range(self.world):
                if (reason := _text(self.folder / f"rank_{rank}.failed")) and rank != self.rank:
                    raise UserError(f"process {rank} failed: {reason}; the same command goes on where it stopped")
            for rank in missing:
                sign, now = _text(self.folder / f"rank_{rank}.alive"), time.monotonic()
                if seen.setdefault(rank, (sign, now))[0] != sign:
                    seen[rank] = sign, now
                elif now - seen[rank][1] > silence:
                    raise UserError(f"process {rank} has given no sign of life for {silence:.0f} seconds: "
                                    "the same command goes on where it stopped")
            time.sleep(0.2)

    def remove(self) -> list[Path]:
        """Delete the job's folder; other jobs' folders that lie beside it are returned."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.base.rmdir()
        return sorted(self.base.iterdir()) if self.base.is_dir() else []


@contextlib.contextmanager
def _renamed(target: Path, temporary: Path) -> Iterator[None]:
    """Rename the file or folder `temporary` to `target` if the block succeeds; remove it if not."""
    try:
        yield
        replace_durably(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def _text(path: Path) -> str:
    """A small file's text, empty if it is not there (any more)."""
    try:
        return path.read_text()
    except OSError:
        return ""
