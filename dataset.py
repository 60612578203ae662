#!/usr/bin/env python3
"""Training data: prepare, check and pack it.

    python3 dataset.py prepare adobe240 --videos DIR --output DIR
    python3 dataset.py check adobe240 DIR
    python3 dataset.py pack DIR --output CACHE --reduce 2

The datasets themselves, for train.py and for use as a library, are in the package `data`; this module
gives their public names: open_dataset, Mixture, TrainingStream, Sample.
"""
import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common import cli
from common.errors import UserError
from data.base import Mixture
from data.check import check_dataset
from data.extract import prepare_adobe240
from data.open import GENERATED, NAMES, open_dataset
from data.packed import FORMATS
from data.packing import pack
from data.sample import Sample

if TYPE_CHECKING:
    from data.stream import TrainingStream

__all__ = ["NAMES", "Mixture", "Sample", "TrainingStream", "open_dataset"]


def __getattr__(name: str) -> type:
    if name == "TrainingStream":  # only when asked for: it imports torch, which every process of `prepare` can spare
        from data.stream import TrainingStream
        return TrainingStream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_arguments() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{prepare,check,pack}")

    preparing = commands.add_parser("prepare", help="extract the frames of a dataset's published videos")
    preparing.add_argument("name", choices=["adobe240"])
    preparing.add_argument("--videos", type=Path, required=True, metavar="DIR", help="folder of the published videos")
    preparing.add_argument("--output", type=Path, required=True, metavar="DIR",
                           help="where <video>/<number>.png go; finished videos in it are left as they are")
    preparing.add_argument("--workers", type=cli.positive_int, metavar="N",
                           help="videos extracted at a time (default: one per core)")
    preparing.add_argument("--skip_corrupt", action="store_true",
                           help="keep the frames before the damage of a damaged video")

    checking = commands.add_parser("check", help="name every unreadable or missing frame; exit code 2 if any")
    checking.add_argument("name", choices=[name for name in NAMES if name not in GENERATED])
    checking.add_argument("root", type=Path, metavar="DIR")
    checking.add_argument("--list", type=Path, metavar="FILE",
                          help="check the clips this list names (default: those of the dataset's own lists)")

    packing = commands.add_parser("pack", help="decode a folder of videos or frame folders once into a cache")
    packing.add_argument("folder", type=Path, metavar="DIR")
    packing.add_argument("--output", type=Path, required=True, metavar="CACHE", help="the cache folder to write")
    packing.add_argument("--reduce", type=cli.positive_int, default=1, metavar="N",
                         help="reduce the frames by this factor first: 2 for compressed videos (default 1)")
    packing.add_argument("--format", choices=FORMATS, default="raw", help="raw: fastest to read (default); jpeg: a "
                         "sixth of the size, true to 47 dB; webp: about as small, exact, slow to pack")
    packing.add_argument("--skip_corrupt", action="store_true",
                         help="of a clip with unreadable or missing frames keep those before the damage")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.command == "prepare":
        written = prepare_adobe240(args.videos, args.output, args.workers, args.skip_corrupt)
        print(f"{args.output}: {len(written)} videos extracted")
    elif args.command == "check":
        count, problems = check_dataset(args.name, args.root, args.list)
        for problem in problems:
            print(problem)
        sys.stdout.flush()
        if problems:
            raise UserError(f"{len(problems)} problem(s) in {args.root}: mend or replace the files named above")
        print(f"{args.root}: {count} clips, every frame can be read")
    else:
        index = pack(args.folder, args.output, args.reduce, args.skip_corrupt, args.format)
        for problem in index["damage"]:
            print(f"cut short: {problem}")
        frames = sum(entry["frames"] for entry in index["clips"])
        print(f"{args.output}: {len(index['clips'])} clips, {frames} frames, {index['size'] / 1e9:.2f} GB")


if __name__ == "__main__":
    cli.run(main)
