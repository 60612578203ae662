"""Datasets by name, and mixtures of them."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from data import folder, vimeo90k
from data.adobe240 import open_adobe240
from data.base import Dataset, Mixture
from data.folder import open_folder
from data.photos import Photos
from data.synthetic import Synthetic
from data.vimeo90k import open_vimeo90k

NAMES = ("adobe240", "vimeo90k", "folder", "photos", "synthetic")
GENERATED = {"photos": Photos, "synthetic": Synthetic}  # without a folder of recorded frames
OWN_LIST = "-"  # among several lists: the dataset's own
_WHOLE_GENERATED = 256  # pixels: side of the generated frames where whole frames are asked for


def open_dataset(name: str, root: str | Path | None, split: str = "train", crop: int | None = 128,
                 list_file: str | Path | None = None, gap: int | tuple[int, ...] | None = None,
                 photos: str | Path | Sequence[str | Path] = (), skip_corrupt: bool = False, reduce: int = 1,
                 held_out: float | None = None, val_photos: Sequence[str] = (),
                 other_list: str | Path | None = None) -> Dataset:
    """A dataset of training samples (`data.sample.Sample`).

    Args:
        name: one of `NAMES`.
        root: its folder, or a packed cache of it; `photos` and `synthetic` need none.
        split: "train" or "val".
        crop: side of the samples in pixels, a multiple of 4; None: whole frames.
        list_file: names of the clips to use, one per line; None: the dataset's own list for `split`.
        gap: of recorded frames, the distance between the inputs, at least 2; several: each sample draws one. None: 8,
            and for `vimeo90k` 6, its whole septuplet.
        photos: of `photos`, and of `synthetic` for its textures: a folder of images, or several.
        skip_corrupt: skip and count samples with unreadable frames instead of raising.
        reduce: `folder` only: reduce the frames by this factor first.
        held_out: share that is kept for "val": of each clip's frames for `folder` (a tenth), of the training list for
            `vimeo90k` (a fiftieth); "val" with a list takes all of that.
        val_photos: name patterns of the photos kept for "val"; none: every tenth.
        other_list: what `list_file` is to the other split: "train" leaves out what "val" takes.

    Raises:
        UserError: the folder, its lists or the options cannot be used.
    """
    if split not in ("train", "val"):
        raise UserError(f"split {split!r}: use train or val")
    if name in GENERATED:
        folders = [Path(folder) for folder in ([photos] if isinstance(photos, (str, Path)) else photos or ())]
        return GENERATED[name](crop or _WHOLE_GENERATED, split, folders, val_photos or ())
    if name not in NAMES:
        raise UserError(f"no dataset is called {name!r}: use one of {', '.join(NAMES)}")
    if root is None:
        raise UserError(f"{name} needs its folder: give --data")
    root, list_file = Path(root), Path(list_file) if list_file else None
    other_list = Path(other_list) if other_list else None
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    if name == "folder":
        share = folder.HELD_OUT if held_out is None else held_out
        return open_folder(root, split, crop, list_file, 8 if gap is None else gap, reduce, share, skip_corrupt,
                           other_list)
    if name == "vimeo90k":
        share = vimeo90k.HELD_OUT if held_out is None else held_out
        return open_vimeo90k(root, split, crop, list_file, 6 if gap is None else gap, skip_corrupt, share,
                             other_list)
    return open_adobe240(root, split, crop, list_file, 8 if gap is None else gap, skip_corrupt, other_list)


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset of a training, for both splits; see `open_dataset`."""

    name: str
    root: Path | None = None
    train_list: Path | None = None
    val_list: Path | None = None
    gap: tuple[int, ...] | None = None
    held_out: float | None = None
    photos: tuple[Path, ...] = ()
    val_photos: tuple[str, ...] = ()

    def open(self, split: str, crop: int | None, skip_corrupt: bool = False) -> Dataset:
        """The dataset for "train" or "val"."""
        own, other = (self.train_list, self.val_list) if split == "train" else (self.val_list, self.train_list)
        return open_dataset(self.name, self.root, split, crop, own, self.gap, self.photos, skip_corrupt,
                            held_out=self.held_out, val_photos=self.val_photos, other_list=other)


def dataset_specs(names: list[str], roots: list[Path], lists: Sequence[str] = (), val_lists: Sequence[str] = (),
                  gap: list[int] | None = None, held_out: float | None = None, photos: Sequence[Path] = (),
                  val_photos: Sequence[str] = ()) -> list[DatasetSpec]:
    """The datasets that the options `--dataset`, `--data`, `--list`, `--val_list` ... name together.

    Args:
        roots: one folder for each of `names` that is not of `GENERATED`, in their order.
        lists, val_lists: none, or one for each folder; "-" is the dataset's own.

    Raises:
        UserError: there are too few or too many of something, or photos that no dataset uses.
    """
    recorded = [name for name in names if name not in GENERATED]
    if held_out is not None and not 0 <= held_out < 1:
        raise UserError(f"--held_out {held_out}: give a share from 0 to below 1")
    for option, values in (("--data", roots), ("--list", lists), ("--val_list", val_lists)):
        if len(values or ()) != len(recorded) and (values or option == "--data"):
            raise UserError(f"{option} needs one {'folder' if option == '--data' else 'list'} for each dataset but "
                            f"{' and '.join(GENERATED)} ({', '.join(recorded) or 'there is none'}), in their order: "
                            f"{len(recorded)}, not {len(values or ())}")
    if (photos or val_photos) and len(recorded) == len(names):
        raise UserError(f"--photos and --val_photos are for {' and '.join(GENERATED)}: --dataset names neither")

    def own(text: str | None) -> Path | None:
        return None if text is None or str(text) == OWN_LIST else Path(text)

    none_given: list[str | None] = [None] * len(recorded)
    places = zip(roots or (), lists or none_given, val_lists or none_given, strict=True)
    specs = []
    for name in names:
        if name in GENERATED:
            specs.append(DatasetSpec(name, photos=tuple(photos or ()), val_photos=tuple(val_photos or ())))
        else:
            root, train_list, val_list = next(places)
            specs.append(DatasetSpec(name, Path(root), own(train_list), own(val_list), tuple(gap) if gap else None,
                                     held_out))
    return specs


def open_mixture(specs: list[DatasetSpec], split: str, crop: int | None, weights: list[float] | None = None,
                 skip_corrupt: bool = False) -> Dataset | Mixture:
    """The datasets of a training as one, mixed by `weights` (equal where None); a single one as it is."""
    datasets = [spec.open(split, crop, skip_corrupt) for spec in specs]
    return datasets[0] if len(datasets) == 1 else Mixture(datasets, weights)
