"""`vimeo90k`: the septuplets of Xue et al. (Video Enhancement with Task-Oriented Flow, 2019).

Layout: `sequences/00001/0001/im1.png` .. `im7.png`, and `sep_trainlist.txt`, `sep_testlist.txt`, as published. The
groups may be shared out to `train/` and `test/`, be in `GT/` or right in the folder, and the lists may be BasicSR's
(`meta_info_Vimeo90K_train_GT.txt`), here or in `meta_info/`.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.frames import read_frame
from data.lists import check_names, choose, find_list, left_to_train, read_list
from data.packed import PackedClip, is_packed, open_packed
from data.windows import Windows, check_gaps, every_window

LISTS = {"train": ("sep_trainlist.txt", "meta_info_Vimeo90K_train_GT.txt"),
         "test": ("sep_testlist.txt", "meta_info_Vimeo90K_test_GT.txt")}
LAYOUT = "sequences/00001/0001/im1.png .. im7.png as vimeo_septuplet unpacks (http://toflow.csail.mit.edu)"
FRAMES = 7
HELD_OUT = 0.02  # share of the training list, at its end, that is validated on where no list is given for that


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
        return read_frame(self.files[0]).shape[:2]

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices` (0: im1.png), HxWx3 uint8 BGR each."""
        return [read_frame(self.path / f"im{index + 1}.png") for index in indices]


def open_vimeo90k(root: Path, split: str, crop: int | None, list_file: Path | None = None,
                  gap: int | tuple[int, ...] = 6, skip_corrupt: bool = False,
                  held_out: float = HELD_OUT, other_list: Path | None = None) -> Windows:
    """Windows in the septuplets of a list.

    With gap 6 the inputs are im1 and im7 and the target one of the five between; with gap 2, three
    neighbours, as methods trained for two-fold interpolation use them; (2, 4, 6) draws one per sample.

    Args:
        list_file: for "train" it stands in for the dataset's training list, for "val" it is validated on as a whole.
        held_out: share of the training list, at its end, that "train" leaves out and "val" without a list takes:
            the test list is for testing. Neighbours in the list are of one video, so that this is other videos.
        other_list: the list given for the other split: "train" leaves out what it names in place of a share of its own
            list, and "val" without a list takes the share of it.

    Raises:
        UserError: the list is missing, names septuplets that are not there, or the gap is over 6.
    """
    gaps = check_gaps(gap)
    if max(gaps) >= FRAMES:
        raise UserError(f"gap {max(gaps)}: a septuplet has room for at most {FRAMES - 1}")
    listing = list_file or (other_list if split == "val" else None) or own_list(root, "train")
    names = read_list(listing)
    if split == "train" or list_file is None:
        kept = min(len(names) - 1, round(len(names) * (1 - held_out))) if held_out and len(names) > 1 else len(names)
        held = names[kept:]
        names = held if split == "val" else left_to_train(names, read_list(other_list) if other_list else held, listing)
    if not names:
        raise UserError(f"{listing} has no septuplets to spare for validation: name a list with --val_list, or train "
                        "without validation (--val_every 0)")
    clips = listed_clips(root, listing, names)
    table = every_window(FRAMES, gaps)
    return Windows(clips, gaps, [table] * len(clips), crop, skip_corrupt=skip_corrupt, uniform=True)


def own_list(root: Path, split: str) -> Path:
    """The dataset's own list for "train" or "test". Raises UserError that says where to get it."""
    return find_list(root, (".", "sequences", "meta_info", ".."), LISTS[split],
                     "it comes with the Vimeo-90K septuplets (toflow.csail.mit.edu): put it there, or name a list with "
                     "--list; --data is the folder that holds it and sequences/")


def listed_clips(root: Path, listing: Path, names: list[str] | None = None) -> list[Septuplet] | list[PackedClip]:
    """The septuplets a list names, or those `names` of it, from folders or a packed cache."""
    names = names or read_list(listing)
    if is_packed(root):
        clips = open_packed(root)
        for clip in clips:
            clip.name = "/".join(Path(clip.name).parts[-2:])  # sequences/00001/0001, train/00001/0001
        clips = choose(clips, names, listing, root)
        short = [clip.name for clip in clips if len(clip) != FRAMES]
        if short:
            raise UserError(f"{root}: {short[0]} has not {FRAMES} frames; mend the folder and pack it again")
        return clips
    folders = septuplet_folders(root, names)
    check_names(folders, names, listing, root)
    return [Septuplet(folders[name], name) for name in names]


def septuplet_folders(root: Path, names: list[str]) -> dict[str, Path]:
    """Where the septuplets called `names` (00001/0001) are, of those that are there.

    Raises:
        UserError: none of their groups is in any of the usual places.
    """
    groups = {name.split("/")[0] for name in names}
    found: dict[str, Path] = {}
    for place in (root, root / "vimeo_septuplet"):
        for base in (place / "sequences", place / "GT", place):
            for part in (base, base / "train", base / "test"):
                for group in groups if part.is_dir() else ():
                    if (part / group).is_dir():
                        found |= {name: folder for folder in (part / group).iterdir()
                                  if (name := f"{group}/{folder.name}") not in found}
    if not found:
        raise UserError(f"no septuplets in {root}: the folder should hold {LAYOUT}")
    return found
