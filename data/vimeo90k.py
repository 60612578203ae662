"""`vimeo90k`: the septuplets of Xue et al. (Video Enhancement with Task-Oriented Flow, 2019).

Layout: `sequences/00001/0001/im1.png` .. `im7.png`, and `sep_trainlist.txt`, `sep_testlist.txt`, as published.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.frames import read_picture
from data.lists import check_names, choose, read_list
from data.packed import PackedClip, is_packed, open_packed
from data.windows import Windows, check_gaps, every_window

LISTS = {"train": "sep_trainlist.txt", "val": "sep_testlist.txt"}
FRAMES = 7


class Septuplet:
    """One folder of im1.png .. im7.png; the folder is not listed, there are 91701 of them."""

    __slots__ = ("path", "name")

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    def __len__(self) -> int:
        return FRAMES

    @property
    def files(self) -> list[Path]:
        return [self.path / f"im{number}.png" for number in range(1, FRAMES + 1)]

    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame."""
        return read_picture(self.files[0]).shape[:2]

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (0: im1.png), HxWx3 uint8 BGR each."""
        return [read_picture(self.path / f"im{index + 1}.png") for index in indices]


def open_vimeo90k(root: Path, split: str, crop: int | None, list_file: Path | None = None,
                  gap: int | tuple[int, ...] = 6, skip_corrupt: bool = False) -> Windows:
    """Windows in the septuplets of the split's list.

    With gap 6 the inputs are im1 and im7 and the target one of the five between; with gap 2, three
    neighbours, as methods trained for two-fold interpolation use them; (2, 4, 6) draws one per sample.

    Raises:
        UserError: the list is missing, names septuplets that are not there, or the gap is over 6.
    """
    gaps = check_gaps(gap)
    if max(gaps) >= FRAMES:
        raise UserError(f"gap {max(gaps)}: a septuplet has room for at most {FRAMES - 1}")
    clips = listed_clips(root, list_file or find_list(root, split))
    table = every_window(FRAMES, gaps)
    return Windows(clips, gaps, [table] * len(clips), crop, skip_corrupt=skip_corrupt, uniform=True)


def find_list(root: Path, split: str) -> Path:
    """The dataset's own list. Raises UserError that says where to get it."""
    if (root / LISTS[split]).is_file():
        return root / LISTS[split]
    raise UserError(f"{root / LISTS[split]} is missing: it comes with the Vimeo-90K septuplets "
                    "(toflow.csail.mit.edu); --data is the folder that holds it and sequences/")


def listed_clips(root: Path, listing: Path) -> list[Septuplet] | list[PackedClip]:
    """The septuplets a list names, from folders or a packed cache."""
    names = read_list(listing)
    if is_packed(root):
        clips = open_packed(root)
        for clip in clips:
            clip.name = clip.name.removeprefix("sequences/")
        clips = choose(clips, names, listing, root)
        short = [clip.name for clip in clips if len(clip) != FRAMES]
        if short:
            raise UserError(f"{root}: {short[0]} has not {FRAMES} frames; mend the folder and pack it again")
        return clips
    base = root / "sequences"
    if not base.is_dir():
        raise UserError(f"{root} has no folder sequences/: --data is the folder that holds it and the lists")
    groups = {name.split("/")[0] for name in names}
    there = {f"{group}/{folder.name}" for group in groups if (base / group).is_dir()
             for folder in (base / group).iterdir()}
    check_names(there, names, listing, root)
    return [Septuplet(base / name, name) for name in names]
