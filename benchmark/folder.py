"""Any folder of videos, every N-th frame in: how large motion is coped with, at each timestep by itself.

    python3 -m benchmark.folder --root my_videos --gap 8 --reduce 2 --json gap8.json
    python3 -m benchmark.folder --root packed_videos --gap 4 --held_out 0.1 --method flow

The folder holds video files and folders of images, at any depth, or is a packed cache (`dataset.py pack`), which
decodes nothing. Frames 0, N, 2N ... of a video go in, and each clip of N + 1 frames is scored at its frames 0 to N - 1:
"between" is the mean over those that did not go in, and "t = k/N" is one timestep. All are averaged over the clips.
Predictions are not rounded. Compressed videos are too blurred and blocky to be called ground truth at their own size:
halve them (--reduce 2, or pack them with it). Clips that hardly move, with a scene cut or a repeated frame are left
out.
"""
import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmark.clips import Clip, Video, VideoFrame, sliding_clips
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from common.errors import UserError
from data.differences import differences_of, moving
from data.frames import find_clips
from data.lists import choose, read_list
from data.packed import is_packed, open_packed


def timestep_protocol(dataset: str, name: str, gap: int, footage: str) -> Protocol:
    """Frames 0 and `gap` in, each timestep a figure of its own."""
    figures: dict[str, tuple[int, ...] | None] = {"between": tuple(range(1, gap)), "t = 0": (0,)}
    figures |= {f"t = {Fraction(k, gap)}": (k,) for k in range(1, gap)}
    return Protocol(dataset, name, f"2: frames 0 and {gap} of each clip", f"0 to {gap - 1} of each clip",
                    "over all clips, each timestep by itself; \"between\": over a clip's timesteps first", "clips",
                    figures, None, footage=footage)


def clips_of(video: Video, differences: np.ndarray, gap: int, reduce: int, held_out: float | None,
             most: int | None) -> list[Clip]:
    """A video's clips of `gap` + 1 moving frames that follow each other; none if it is short.

    Args:
        differences: between neighbouring frames, see `data.differences.moving`.
        reduce: frames are reduced by this whole factor (averaging).
        held_out: only of this share of the frames, at the end; None: of all.
        most: only so many, evenly spread.
    """
    count = len(video)
    first = count - round(count * held_out) if held_out else 0
    frames = [VideoFrame(video, index, reduce) for index in range(first, count)]
    if len(frames) <= gap:
        return []
    usable = moving(differences, gap)
    clips = sliding_clips(video.name, frames, gap)
    return evenly([clip for clip, start in zip(clips, frames[::gap]) if usable[start.index]], most)


def evenly(items: Sequence, most: int | None) -> list:
    """At most `most` of the items, evenly spread over them."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    packed = is_packed(args.root)
    if packed and args.reduce > 1:
        raise UserError(f"{args.root} is a packed cache: give --reduce when packing, not here")
    videos: list = open_packed(args.root) if packed else find_clips(args.root)
    if args.list:
        videos = choose(videos, read_list(Path(args.list), "it should name one video a line"), args.list, args.root)
    known = [video.differences for video in videos] if packed else differences_of(videos, args.root)
    clips = [clip for video, differences in zip(videos, known, strict=True)
             for clip in clips_of(video, differences, args.gap, args.reduce, args.held_out, args.per_video)]
    if not clips:
        raise UserError(f"no video in {args.root} has {args.gap + 1} frames (in motion): use a smaller --gap"
                        + (" or a larger --held_out" if args.held_out else ""))
    footage = ", ".join([
        f"{len({clip.video for clip in clips})} of {len(videos)} videos, clips of {args.gap + 1} frames",
        "those without motion, with cuts or repeated frames left out",
        *([f"reduced by {args.reduce} (averaging)"] if args.reduce > 1 else []),
        *([f"the last {args.held_out:.0%} of each video"] if args.held_out else []),
        *([f"at most {args.per_video} clips a video"] if args.per_video else [])])
    return timestep_protocol(args.root.resolve().name, f"gap{args.gap}", args.gap, footage), clips


def gap(text: str) -> int:
    """argparse type of --gap."""
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"{text} leaves no frame between those that go in: at least 2")
    return value


def share(text: str) -> float:
    """argparse type of --held_out."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share, above 0 and at most 1")
    return value


parser = build_parser(__doc__, None, "a file that names videos, one a line (default: all)")
group = parser.add_argument_group("clips")
group.add_argument("--gap", type=gap, default=8, metavar="N", help="every N-th frame goes in (default 8)")
group.add_argument("--reduce", type=cli.positive_int, default=1, metavar="N",
                   help="reduce the frames by this whole factor first, by averaging (default 1)")
group.add_argument("--held_out", type=share, metavar="SHARE", help="only this share of each video, at its end: what "
                   "training on the folder holds out is 0.1 (default: all of it)")
group.add_argument("--per_video", type=cli.positive_int, metavar="N",
                   help="at most N clips of each video, evenly spread")
main = main_of(parser, protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
