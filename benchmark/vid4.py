"""Vid4: four videos (calendar, city, foliage, walk), every other frame in.

    python3 -m benchmark.vid4 --root Vid4 --protocol videoinr
    python3 -m benchmark.vid4 --root Vid4 --protocol zsm --json vid4.json --report report

The folder holds GT/<video>/<frame>.<any image format>, HR/<video>/<frame>, <video>/<frame> or <video>/hr/<frame>,
frames in natural order: 00000000.png, 00000001.png ...

  videoinr  triplets, stride 2: frames 0 and 2 in, frames 0 and 1 scored; mean over the two, then over the
            83 clips. Predictions are not rounded.
  zsm       every other frame in, all frames between the first and the last of them scored, mean per video,
            then over the four. Predictions are rounded to 8 bits. Each frame that went in is scored as the
            first of its pair, the last one as the second. Where a video has an even number of frames, its
            last frame has no successor to be interpolated with and is not scored.
"""
import argparse
from pathlib import Path

from benchmark.clips import Clip, find_videos, sliding_clips
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from data.lists import read_list

LAYOUT = ("GT/<video>/<frame>.png for the videos calendar, city, foliage, walk (any image format; published with "
          "BasicVSR and Zooming Slow-Mo)")
PROTOCOLS = {
    "videoinr": Protocol(
        "vid4", "videoinr", "2: frames 0 and 2 of each triplet, stride 2", "0 and 1 of each triplet",
        "over the two frames, then over all clips", "clips",
        {"average": (0, 1), "frame 0": (0,), "frame 1": (1,)}, 83),
    "zsm": Protocol(
        "vid4", "zsm", "2 at a time: every other frame of the video", "all from the first to the last frame in",
        "over each video's frames, then over the videos", "videos",
        {"average": None, "frames in": (0, 2), "frames between": (1,)}, 83),
}


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    names = read_list(Path(args.list), "it should name one video a line") if args.list else None
    videos = find_videos(args.root, ("GT", "HR", "."), names, LAYOUT)
    return PROTOCOLS[args.protocol], [clip for video, frames in videos.items()
                                      for clip in sliding_clips(video, frames, 2, args.protocol == "zsm")]


main = main_of(build_parser(__doc__, ("videoinr", "zsm"), "a file that names videos, one a line (default: all)"),
               protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
