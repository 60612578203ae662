"""Files that appear under their final name only when they are complete."""
import collections
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` if the block succeeds.

    The temporary name keeps the suffix, because encoders choose the format by it. Missing parent
    folders are made. If the block fails, the temporary file goes and whatever stood at `path` stays.

    Raises:
        UserError: the folder cannot be made or written to, the name is too long, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        if path.is_dir():
            raise UserError(f"cannot write {path}: a folder has that name")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        replace_durably(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # it has been renamed, or could not be made
            temporary.unlink()


def replace_durably(temporary: Path, target: Path) -> None:
    """Rename a finished file, or a folder of finished files, so that a power cut leaves either the old or the new."""
    for path in [*temporary.iterdir()] if temporary.is_dir() else [temporary]:
        with open(path, "rb+") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
    os.replace(temporary, target)
    if os.name == "posix":  # the rename itself is an entry of the folder; Windows cannot open folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError:
            pass  # some network file systems have no such call; the file itself is safe by then
        finally:
            os.close(folder)


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool = True) -> list[Path]:
    """Make sure that writing files loses nothing the user wants to keep.

    Returns:
        Those of `outputs` that exist and will be replaced: the user should be told.

    Raises:
        UserError: an output is an input or a folder, two outputs are the same file, or without `overwrite` one exists.
    """
    existing = [path for path in outputs if os.path.exists(path)]  # false, too, for names too long
    seen: set[Path] = set()
    for path in outputs:
        if path.resolve() in {other.resolve() for other in inputs} or path in existing and any(
                other.exists() and path.samefile(other) for other in inputs):
            raise UserError(f"{path} is an input and would be overwritten: choose another output")
        if path.resolve() in seen:
            raise UserError(f"{path} would be written twice: choose another output")
        if os.path.isdir(path):
            raise UserError(f"cannot write {path}: a folder has that name")
        seen.add(path.resolve())
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]} exists already{more}: choose another output, or leave --overwrite no out")
    return existing


def remove_unfinished(folder: Path) -> None:
    """Delete what killed processes left of `atomic_path` in a folder that nobody else writes to now."""
    for leftover in folder.glob(".*.tmp.*"):
        leftover.unlink()


def natural_key(name: str | Path) -> list:
    """Sort key that puts `img2` before `img10`."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", str(name))]


def gaps_in_numbers(stems: list[str]) -> list[tuple[int, int]]:
    """Where numbered names leave numbers out, as (position after the gap, how many are missing).

    The number of a name is the last one in it. Numbers may go in steps (1, 5, 9 ...): the commonest step is taken as
    meant, and the same number may come several times. Names without a number have no gaps.

    Args:
        stems: names without their suffixes, in natural order.
    """
    numbers = [re.findall(r"[0-9]+", stem)[-1:] for stem in stems]
    if [] in numbers:
        return []
    steps = [int(b) - int(a) for (a,), (b,) in zip(numbers, numbers[1:])]
    common = collections.Counter(step for step in steps if step).most_common(1)
    if not common or common[0][0] < 0:
        return []
    return [(position, step // common[0][0] - 1) for position, step in enumerate(steps, 1) if step > common[0][0]]
