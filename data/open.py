"""Datasets by name."""
from pathlib import Path

from common.errors import UserError
from data.adobe240 import open_adobe240
from data.base import Dataset
from data.folder import HELD_OUT, open_folder
from data.synthetic import Synthetic
from data.vimeo90k import open_vimeo90k

NAMES = ("adobe240", "vimeo90k", "folder", "synthetic")


def open_dataset(name: str, root: str | Path | None, split: str = "train", crop: int | None = 128,
                 list_file: str | Path | None = None, gap: int | tuple[int, ...] | None = None,
                 photos: list[str | Path] = (), skip_corrupt: bool = False, reduce: int = 1,
                 held_out: float = HELD_OUT, val_photos: list[str] = ()) -> Dataset:
    """A dataset of training samples (`data.sample.Sample`).

    Args:
        name: one of `NAMES`.
        root: its folder, or a packed cache of it; `synthetic` needs none.
        split: "train" or "val".
        crop: side of the samples in pixels, a multiple of 4; None: whole frames (not `synthetic`).
        list_file: names of the clips to use, one per line; None: the dataset's own list for `split`.
        gap: distance between the input frames, at least 2; several: each sample draws one. None: 8, and
            for `vimeo90k` 6, its whole septuplet.
        photos: `synthetic` only: folders of images for its textures.
        val_photos: `synthetic` only: name patterns of the photos kept for "val"; none: every tenth.
        skip_corrupt: skip and count samples with unreadable frames instead of raising.
        reduce: `folder` only: reduce the frames by this factor first.
        held_out: `folder` only: share of each clip kept for "val" (which takes all of the clips of a list).

    Raises:
        UserError: the folder, its lists or the options cannot be used.
    """
    if split not in ("train", "val"):
        raise UserError(f"split {split!r}: use train or val")
    if name == "synthetic":
        folders = [Path(folder) for folder in photos or ()]
        return Synthetic(crop, split, folders, 8 if gap is None else gap, val_photos or ())
    if name not in NAMES:
        raise UserError(f"no dataset is called {name!r}: use one of {', '.join(NAMES)}")
    if root is None:
        raise UserError(f"{name} needs its folder: give --data")
    root, list_file = Path(root), Path(list_file) if list_file else None
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    if name == "folder":
        return open_folder(root, split, crop, list_file, 8 if gap is None else gap, reduce, held_out, skip_corrupt)
    if name == "vimeo90k":
        return open_vimeo90k(root, split, crop, list_file, 6 if gap is None else gap, skip_corrupt)
    return open_adobe240(root, split, crop, list_file, 8 if gap is None else gap, skip_corrupt)
