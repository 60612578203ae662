"""Adobe240: nine-frame clips of its test videos, frames 0 and 8 in, the eight from 0 to 7 scored.

    python3 -m benchmark.adobe240 --root adobe240 --json adobe240.json

The folder holds test/<video>/<frame>.png (or frame/test/..., as VideoINR's preparation leaves it): all frames of
the original 240-frames-a-second videos, extracted in order. The videos: DeepVideoDeblurring_Dataset_Original_High_
FPS_Videos.zip of Su et al., CVPR 2017. The list adobe240fps_folder_test.txt is published with VideoINR; the
17 names it has for the test set are built in. "average" is the mean over frames 0..7 of each clip,
"center" frame 4; both are averaged over the clips. Predictions are not rounded.
"""
import argparse
from pathlib import Path

from benchmark.clips import Clip, find_videos, sliding_clips
from benchmark.gopro import nine_frame_protocol
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from data.adobe240 import SOURCE
from data.lists import read_list

VIDEOS = ["GOPR9653", *(f"IMG_{number}" for number in (
    "0001 0003 0004a 0004b 0012 0013 0015 0016 0017 0024 0037 0037a 0045 0056 0058 0175").split())]
LAYOUT = ("test/<video>/<frame>.png for the 17 test videos, GOPR9653, IMG_0001 ..., extracted from the original "
          "240 fps videos of DeepVideoDeblurring (Su et al., 2017)")


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    names = [Path(name).name for name in read_list(Path(args.list), SOURCE)] if args.list else VIDEOS
    videos = find_videos(args.root, ("test", "frame/test", "."), names, LAYOUT)
    clips = [clip for video, frames in videos.items() for clip in sliding_clips(video, frames, 8)]
    if sorted(names) != sorted(VIDEOS):
        return nine_frame_protocol(f"adobe240-list-{Path(args.list).stem}", None), clips
    return nine_frame_protocol("adobe240", len(clips)), clips  # how many there are was not published


main = main_of(build_parser(__doc__, ("videoinr",), "adobe240fps_folder_test.txt or another list of videos (default: "
                            "the 17 of the test set)"), protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
