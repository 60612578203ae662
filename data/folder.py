"""`folder`: any folder of videos or frame folders, or a packed cache of one."""
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.differences import differences_of, moving
from data.frames import find_clips
from data.lists import choose, clips_to_train, read_list
from data.packed import PackedClip, is_packed, open_packed
from data.windows import Windows, check_gaps, every_window

HELD_OUT = 0.1   # share of each clip's frames, at its end, kept for validation where no lists are given


def open_folder(root: Path, split: str, crop: int | None, list_file: Path | None = None,
                gap: int | tuple[int, ...] = 8, reduce: int = 1, held_out: float = HELD_OUT,
                skip_corrupt: bool = False, other_list: Path | None = None) -> Windows:
    """Windows of the clips under `root`, which may be a packed cache.

    The last tenth of each clip (`held_out`) is for validation and the rest for training. A list of clip names,
    one per line, chooses the clips; validation on a list takes all of each, and training leaves out those of the list
    that is validated on (`other_list`). Windows without motion, with cuts or with repeated frames are left out
    (`data.differences`): a packed cache knows them, of other folders they are looked for once, which takes as long as
    decoding everything. Crops without motion are drawn again, up to three times.

    Raises:
        UserError: nothing found, the list names missing clips, or a clip is too short or too small.
    """
    gaps = check_gaps(gap)
    clips = open_packed(root) if is_packed(root) else find_clips(root)
    if not clips:
        raise UserError(f"{root} holds no videos, no folders of images and no packed cache")
    if list_file is not None:
        clips = choose(clips, read_list(list_file), list_file, root)
    if split == "train" and other_list is not None:
        clips = clips_to_train(clips, read_list(other_list), list_file or root)
    known = ([clip.differences for clip in clips] if isinstance(clips[0], PackedClip)
             else differences_of(clips, root))
    allowed = []
    for clip, differences in zip(clips, known, strict=True):
        # Training on a list keeps off the last tenth too: validation without a list is on that of every clip.
        whole = split == "val" and list_file is not None
        first, end = (0, len(clip)) if whole else _share(len(clip), split, held_out, min(gaps))
        table = every_window(len(clip), gaps, first, end)
        allowed.append(table & np.stack([moving(differences, gap) for gap in gaps]))
    dataset = Windows(clips, gaps, allowed, crop, reduce, crop_tries=4, skip_corrupt=skip_corrupt)
    if not len(dataset):
        hint = " or, to train without validation, --val_every 0" if split == "val" else ""
        raise UserError(f"{root}: no clip has {min(gaps) + 1} frames in motion for {split}; use a smaller --gap{hint}")
    return dataset


def _share(count: int, split: str, held_out: float, gap: int) -> tuple[int, int]:
    """(first frame, one past the last) of a clip of `count` frames that belong to `split`."""
    kept = round(count * (1 - held_out))
    if count - kept < gap + 1 or kept < gap + 1:  # too short to be shared out: all for training
        kept = count
    return (0, kept) if split == "train" else (kept, count)
