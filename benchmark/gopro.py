"""GoPro at 240 frames a second: nine-frame clips, frames 0 and 8 in, the eight from 0 to 7 scored.

    python3 -m benchmark.gopro --root GOPRO_Large_all --json gopro.json

The folder holds test/<video>/<frame>.png for the 11 test videos (GOPR0384_11_00 ...), as GOPRO_Large_all unpacks
(https://seungjunnah.github.io/Datasets/gopro); this is the set of all frames, not GOPRO_Large with its blurred
ones. Clips follow each other at stride 8: 1522 of them. "average" is the mean over frames 0..7 of each clip,
"center" frame 4; both are averaged over the clips. Predictions are not rounded.
"""
import argparse
from pathlib import Path

from benchmark.clips import Clip, find_videos, sliding_clips
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from data.lists import read_list

VIDEOS = ["GOPR0384_11_00", "GOPR0384_11_05", "GOPR0385_11_01", "GOPR0396_11_00", "GOPR0410_11_00", "GOPR0854_11_00",
          "GOPR0862_11_00", "GOPR0868_11_00", "GOPR0869_11_00", "GOPR0871_11_00", "GOPR0881_11_01"]
LAYOUT = ("test/<video>/<frame>.png for the 11 test videos, GOPR0384_11_00 ..., as GOPRO_Large_all unpacks "
          "(https://seungjunnah.github.io/Datasets/gopro)")


def nine_frame_protocol(dataset: str, clips: int | None) -> Protocol:
    """The protocol of VideoINR's table 1, which GoPro and Adobe240 share."""
    return Protocol(dataset, "videoinr", "2: frames 0 and 8 of each nine-frame clip, stride 8", "0 to 7 of each clip",
                    "over each clip's frames (average: 0 to 7; center: 4), then over all clips", "clips",
                    {"average": tuple(range(8)), "center": (4,)}, clips)


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    names = read_list(Path(args.list), "it should name one video a line") if args.list else VIDEOS
    videos = find_videos(args.root, ("test", "GOPRO_Large_all/test", "."), names, LAYOUT)
    return nine_frame_protocol("gopro", 1522), [clip for video, frames in videos.items()
                                                for clip in sliding_clips(video, frames, 8)]


main = main_of(build_parser(__doc__, ("videoinr",), "a file that names videos, one a line (default: the 11 of the "
                            "test set)"), protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
