"""List files: one clip name per line, as the field's datasets come with."""
from collections.abc import Container
from pathlib import Path

from common.errors import UserError


def read_list(path: Path) -> list[str]:
    """The names in a list file; empty lines are ignored. Raises UserError if there are none."""
    try:
        names = [line.strip().strip("/") for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', None) or 'not text'}") from error
    if not names:
        raise UserError(f"the list {path} is empty")
    return names


def choose(clips: list, names: list[str], listing: Path, root: Path) -> list:
    """The clips called `names`, in the list's order. Raises UserError that names the missing ones."""
    by_name = {clip.name: clip for clip in clips}
    check_names(by_name, names, listing, root)
    return [by_name[name] for name in names]


def check_names(there: Container[str], names: list[str], listing: Path, root: Path) -> None:
    """Raise UserError if a list names clips that are not there."""
    missing = [name for name in names if name not in there]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(f"{listing} names {len(missing)} of {len(names)} clips that are not in {root}: {shown}")
