#!/usr/bin/env python3
"""Training data: prepare, check and pack it.

    python3 dataset.py pack DIR --output CACHE --reduce 2

The datasets themselves, for train.py and for use as a library, are in the package `data`; this module
gives their public names: open_dataset, Mixture, TrainingStream.
"""
import argparse
from pathlib import Path

from common import cli
from data.base import Mixture
from data.open import NAMES, open_dataset
from data.packed import pack
from data.sample import Sample
from data.stream import TrainingStream

__all__ = ["NAMES", "Mixture", "Sample", "TrainingStream", "open_dataset"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="decode a folder of videos or frame folders once into a cache")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--output", type=Path, required=True, metavar="CACHE", help="the cache folder to write")
    packing.add_argument("--reduce", type=cli.positive_int, default=1, metavar="N",
                         help="reduce the frames by this factor first: 2 for compressed videos (default 1)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.command == "pack":
        index = pack(args.folder, args.output, args.reduce)
        frames = sum(entry["frames"] for entry in index["clips"])
        print(f"{args.output}: {len(index['clips'])} clips, {frames} frames, {index['size'] / 1e9:.2f} GB")


if __name__ == "__main__":
    cli.run(main)
