"""List files: one clip name per line, as the field's datasets come with."""
import re
from collections.abc import Container, Iterable
from pathlib import Path, PureWindowsPath

from common.errors import UserError
from data.frames import VIDEOS

_META_INFO = re.compile(r"(\S+)\s+\d+\s+\(\d+,\s*\d+,\s*\d+\)")  # BasicSR's meta_info_*.txt: 00001/0625 7 (256,448,3)
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_list(path: Path, source: str = "") -> list[str]:
    """The names in a list file, for training and benchmarks alike.

    Empty lines, line ends and byte order marks of any system, and the endings of videos' names (`IMG_1.mov`) are of no
    account; of a line of BasicSR's meta_info files the first word is the name.

    Args:
        source: told to the user where the list cannot be read: where to get it.

    Raises:
        UserError: the file cannot be read, is not text or has no names in it.
    """
    source = f": {source}" if source else ""
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
        lines = data.decode(encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"cannot read the list {path} ({reason}){source}") from error
    names = [_name(line.strip()) for line in lines if line.strip()]
    if not names:
        raise UserError(f"the list {path} is empty{source}")
    return names


def _name(line: str) -> str:
    listed = _META_INFO.fullmatch(line)
    name = (listed[1] if listed else line).replace("\\", "/").removeprefix("./").strip("/")
    return name[:-len(suffix)] if (suffix := PureWindowsPath(name).suffix).lower() in VIDEOS else name


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


def left_to_train(names: list[str], validated: Iterable[str], source: Path) -> list[str]:
    """The names that are not validated on. Raises UserError if there are none; `source`: where the names are from."""
    validated = set(validated)
    left = [name for name in names if name not in validated]
    if not left:
        raise UserError(f"{source}: all {len(names)} clips are validated on, and none is left to train on: name other "
                        "ones with --val_list")
    return left


def clips_to_train(clips: list, validated: Iterable[str], source: Path) -> list:
    """The clips that are not validated on, by their names: `left_to_train`."""
    left = set(left_to_train([clip.name for clip in clips], validated, source))
    return [clip for clip in clips if clip.name in left]


def find_list(root: Path, places: tuple[str, ...], names: tuple[str, ...], source: str) -> Path:
    """The first list there is called one of `names` in one of `places` below `root`.

    Raises:
        UserError: there is none; it says where to get one (`source`).
    """
    for place in places:
        for name in names:
            if (root / place / name).is_file():
                return root / place / name
    raise UserError(f"{root / names[0]} is missing: {source}")
