"""Vimeo-90K septuplets: frames 1, 3, 5, 7 in, all seven scored, by the fast, medium and slow lists.

    python3 -m benchmark.vimeo90k --root vimeo_septuplet --list fast

The folder holds sequences/00001/0001/im1.png .. im7.png as the dataset unpacks (or the groups in train/ and test/, in
GT/, or right in the folder), and the lists fast_testset.txt, medium_testset.txt, slow_testset.txt (or
sep_fast_testset.txt ...; 1225 / 4977 / 1613 clips), or meta_info/ with them. The dataset:
http://toflow.csail.mit.edu. The lists are those of Zooming Slow-Mo (github.com/Mukosame/Zooming-Slow-Mo-CVPR-2020: fast
and slow in codes/datasets/meta_info, medium in datasets/meta_info).

Each frame that went in is scored as the first of its pair, the seventh as the second. Some clips of the slow
and medium lists are all black: their PSNR is infinite; they are counted, reported, and left out of the means.
"""
import argparse
from pathlib import Path

from benchmark.clips import Clip, Target
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from common.errors import UserError
from data import lists
from data.vimeo90k import LAYOUT, septuplet_folders
from media.image import list_images

CLIPS = {"fast": 1225, "medium": 4977, "slow": 1613}
SOURCE = ("fast_testset.txt and slow_testset.txt are in codes/datasets/meta_info, medium_testset.txt in "
          "datasets/meta_info of github.com/Mukosame/Zooming-Slow-Mo-CVPR-2020; put them into --root")


def find_list(root: Path, name: str) -> Path:
    """fast, medium, slow: the field's list below `root`. Anything else: a file."""
    if name not in CLIPS:
        return Path(name)
    return lists.find_list(root, (".", "meta_info", "sequences"),
                           (f"{name}_testset.txt", f"sep_{name}_testset.txt"), SOURCE)


def septuplet(folder: Path, name: str) -> Clip:
    """The clip of one septuplet: four frames in, seven scored."""
    frames = list_images(folder) if folder.is_dir() else []
    if len(frames) != 7:
        raise UserError(f"{folder} holds {len(frames)} images, not 7: --root should hold {LAYOUT}")
    targets = tuple(Target(min(k // 2, 2), k / 2 - min(k // 2, 2), k, k, f"{name}/{path.stem}", path)
                    for k, path in enumerate(frames))
    return Clip(name, name, tuple(frames[::2]), targets)


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    listing = find_list(args.root, args.list)
    names = lists.read_list(listing, SOURCE)[:args.limit]
    folders = septuplet_folders(args.root, names)
    lists.check_names(folders, names, listing, args.root)
    dataset = "vimeo90k-" + (args.list if args.list in CLIPS else f"list-{Path(args.list).stem}")
    protocol = Protocol(dataset, "zsm", "4: frames 1, 3, 5, 7 of each septuplet", "all seven",
                        "over each clip's frames, then over the clips", "clips",
                        {"average": None, "frames in": (0, 2, 4, 6), "frames between": (1, 3, 5)},
                        CLIPS.get(args.list))
    return protocol, [septuplet(folders[name], name) for name in names]


parser = build_parser(__doc__, ("zsm",), "fast, medium or slow, or a file that names clips (default fast)")
parser.set_defaults(list="fast")
main = main_of(parser, protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
