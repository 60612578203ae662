"""`adobe240`: the high-frame-rate videos of Su et al. (Deep Video Deblurring, 2017) as frame folders.

The field's layout is `frame/<train|valid|test>/<video>/<number>.png`, numbered from 0, and one list of
videos per split; `<video>/<number>.png` right in the folder, as `dataset.py prepare` writes it, is read too.
"""
import contextlib
import os
from pathlib import Path

from common.errors import UserError
from data.frames import FrameFolder
from data.lists import check_names, choose, clips_to_train, find_list, read_list
from data.packed import PackedClip, is_packed, open_packed
from data.windows import Windows, check_gaps, every_window
from media.image import is_image

LISTS = {"train": "adobe240fps_folder_train.txt", "val": "adobe240fps_folder_valid.txt",
         "test": "adobe240fps_folder_test.txt"}
SOURCE = ("it is published in the folder data/ of github.com/Picsart-AI-Research/"
          "VideoINR-Continuous-Space-Time-Super-Resolution")


def open_adobe240(root: Path, split: str, crop: int | None, list_file: Path | None = None,
                  gap: int | tuple[int, ...] = 8, skip_corrupt: bool = False,
                  other_list: Path | None = None) -> Windows:
    """Every window of every video in the split's list, as published: 9 frames, inputs 0 and 8.

    "train" leaves out what the list for "val" names: `other_list`, or the dataset's own where it is there.

    Raises:
        UserError: the list is missing, or names videos that are not there or are too short.
    """
    gaps = check_gaps(gap)
    listing = list_file or own_list(root, split)
    clips: list = listed_clips(root, listing)
    if split == "train":
        with contextlib.suppress(UserError):
            other_list = other_list or own_list(root, "val")
        if other_list:
            clips = clips_to_train(clips, read_list(other_list), listing)
    dataset = Windows(clips, gaps, [every_window(len(clip), gaps) for clip in clips], crop, skip_corrupt=skip_corrupt)
    if not len(dataset):
        raise UserError(f"{root}: no video has {min(gaps) + 1} frames")
    return dataset


def own_list(root: Path, split: str) -> Path:
    """The field's list file for "train", "val" or "test". Raises UserError that says where to get it."""
    where = f"{SOURCE}: put it there, or name a list with {'--val_list' if split == 'val' else '--list'}"
    return find_list(root, (".", "frame", ".."), (LISTS[split],), where)


def listed_clips(root: Path, listing: Path) -> list[FrameFolder] | list[PackedClip]:
    """The videos a list names, from frame folders or a packed cache."""
    names = read_list(listing)
    if is_packed(root):
        clips = open_packed(root)
        for clip in clips:
            clip.name = Path(clip.name).name
        return choose(clips, names, listing, root)
    folders = video_folders(root)
    check_names(folders, names, listing, root)
    return [FrameFolder(folders[name], name) for name in names]


def video_folders(root: Path) -> dict[str, Path]:
    """Every folder of images by its name, in the field's layout or right in `root`."""
    folders: dict[str, Path] = {}
    for place in (root, root / "frame"):
        for base in (place, place / "train", place / "valid", place / "test"):
            for folder in sorted(base.iterdir()) if base.is_dir() else ():
                if folder.is_dir() and not folder.name.startswith(".") and _holds_images(folder):
                    folders.setdefault(folder.name, folder)
    return folders


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:  # stops at the first one: a video has thousands
        return any(is_image(entry.name) for entry in entries)
