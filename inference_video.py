"""Enlarge a video and give it more frames; its sound, subtitles and times are kept.

    python inference_video.py --video film.mp4                          # 4 times larger, twice the frames
    python inference_video.py --video film.mp4 --fps 60 --upscale 2
    python inference_video.py --video a.mp4 b.mov holidays/ --output enlarged/   # one after another
    python inference_video.py --img frames/ --fps_in 24 --multi 4 --output out.mp4
    torchrun --nproc_per_node=4 inference_video.py --video film.mp4     # four GPUs share the work

Interrupted in any way, the same command goes on where it stopped and gives the same file.
"""
import argparse
import dataclasses
import os
import re
import sys
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from common import cli
from common.errors import UserError
from common.processes import Processes
from media.video.batch import choose_outputs, find_videos, make_videos
from media.video.codecs import CODECS
from media.video.deinterlace import MODES
from media.video.job import OUTPUT_SUFFIXES, VideoJob
from media.video.options import Options
from media.video.scene_cuts import DEFAULT_THRESHOLD
from media.video.timeline import DEFAULT_MULTI
from model.settings import InferenceSettings, add_inference_arguments

_PATIENCE = timedelta(days=7)  # one process may wait for another that still works on its share


def frame_rate(text: str) -> Fraction:
    """argparse type: 25, 23.976 (meaning 24000/1001, as 29.97, 59.94 and the like), or 60000/1001."""
    number = re.fullmatch(r"\d{1,9}(\.\d{1,20}|/0*[1-9]\d{0,8})?", text)
    if number is None or not Fraction(1, 10000) <= Fraction(text) <= 10000:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate: give one from 0.0001 to 10000, or a fraction")
    rate = Fraction(text).limit_denominator(1 << 16)
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    close = min(Fraction(6, 1000), rate / 2000)  # nearer to it than to the whole number
    return ntsc if "." in text and abs(rate - ntsc) < close and ntsc > 1 else rate


def power_of_two(text: str) -> int:
    """argparse type of --exp: the factor it stands for."""
    return 2 ** cli.exponent(text)


def timestamp(text: str) -> Fraction:
    """argparse type: a time as 90, 90.5, 1:30 or 0:01:30.5, in seconds."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise argparse.ArgumentTypeError(f"{text} is not a time: give seconds, MM:SS or HH:MM:SS")
    seconds = Fraction(0)
    for part in text.split(":"):
        seconds = 60 * seconds + Fraction(part)
    return seconds


def new_parser() -> cli.Parser:
    parser = cli.Parser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", type=Path, nargs="+", metavar="PATH",
                        help="the video to work on; or several, and folders of videos")
    source.add_argument("--img", type=Path, metavar="DIR", help="a folder of images, taken in natural order")
    parser.add_argument("--fps_in", type=frame_rate, metavar="F",
                        help="frames per second of --img (default 25)")
    parser.add_argument("--output", metavar="PATH",
                        help="the result; its suffix chooses the container. Or a folder for results that are called "
                        "NAME_safa, with the source's suffix (or .mkv); it has to be one for several videos. Default: "
                        "the source's folder. With --png a folder of images NAME_safa")
    parser.add_argument("--upscale", type=float, default=4, metavar="X",
                        help="enlargement, 1 to 8 (default 4; 1 = only more frames)")
    parser.add_argument("--png", action="store_true", help="write numbered images into a folder")
    cli.add_overwrite_argument(parser)
    parser.add_argument("--montage", action="store_true", help="show the original beside the result")
    parser.add_argument("--segment", type=cli.positive_int, default=Options.segment, metavar="N",
                        help=f"output frames per resumable segment (default {Options.segment})")
    group = parser.add_argument_group("frames and times")
    factor = group.add_mutually_exclusive_group()
    factor.add_argument("--multi", type=cli.positive_int, metavar="N",
                        help=f"N times the frames (default {DEFAULT_MULTI})")
    factor.add_argument("--exp", dest="multi", type=power_of_two, metavar="N", help="2^N times the frames")
    group.add_argument("--fps", type=frame_rate, metavar="F",
                       help="F frames per second, any rate from the source's on. With --multi: N times the frames, "
                       "shown at F frames per second, so that time is stretched and sound is dropped")
    group.add_argument("--slowmo", action="store_true",
                       help="slow motion: keep the frame rate and stretch time; audio and subtitles are dropped")
    group.add_argument("--dedup", type=cli.positive_int, default=Options.dedup, metavar="N",
                       help="for animation on twos or threes: up to N repeats of a drawing count as showing it for "
                       "longer, so that motion becomes even; longer pauses stay (1 for twos, 2 for threes)")
    group.add_argument("--deinterlace", nargs="?", const="field", choices=MODES,
                       help="make whole frames of interlaced ones first: one for each field (the default, which keeps "
                       "all of the motion), or one for each frame")
    group.add_argument("--start", type=timestamp, metavar="T",
                       help="begin at this time of the source: seconds, MM:SS or HH:MM:SS, with fractions")
    group.add_argument("--end", type=timestamp, metavar="T", help="end at this time of the source")
    group.add_argument("--scene_threshold", type=float, default=DEFAULT_THRESHOLD, metavar="T",
                       help="how different two frames must be to count as a scene cut, 0 to 1; 1 = never "
                       f"(default {DEFAULT_THRESHOLD})")
    group = parser.add_argument_group("video codec")
    group.add_argument("--codec", metavar="NAME",
                       help=f"{', '.join(CODECS)}, or any FFmpeg encoder by its name, such as hevc_nvenc (default: "
                       "h264; hevc for HDR; av1 in .webm)")
    group.add_argument("--crf", type=float, metavar="Q",
                       help="quality, lower is better; hardware encoders' own scale is set by it (default: h264 16, "
                       "hevc and hardware encoders 18, av1 and vp9 20)")
    group.add_argument("--preset", metavar="NAME", help="the encoder's preset (default: the encoder's own)")
    group.add_argument("--pix_fmt", metavar="NAME",
                       help="pixel format (default yuv420p, yuv420p10le for sources of more than 8 bits; "
                       "prores yuv422p10le, ffv1 yuv444p)")
    group = parser.add_argument_group("sound and subtitles")
    group.add_argument("--no_audio", dest="audio", action="store_false", help="leave the sound out")
    group.add_argument("--audio_codec", metavar="NAME",
                       help="aac, opus, mp3, flac, alac, ac3, pcm, or any FFmpeg encoder by its name: what all sound "
                       "is to be in; copy: convert nothing (default: copy what the container holds, convert the rest)")
    group.add_argument("--strict_streams", action="store_true",
                       help="stop at once where sound, subtitles or another stream would be left out")
    add_inference_arguments(parser)
    return parser


def main() -> None:
    args = new_parser().parse_args()
    processes = Processes.from_environment()
    options = Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Options)})
    if args.img is not None and not args.img.is_dir():
        raise UserError(f"--img {args.img} is no folder of images: use --video for a video")
    if args.img is None and args.fps_in is not None:
        raise UserError("--fps_in is for --img: a video has a frame rate of its own")
    sources = [args.img] if args.img is not None else find_videos(args.video)
    several = args.img is None and (len(args.video) > 1 or args.video[0].is_dir())
    folder = None if args.output is None else Path(args.output)
    if several and folder is not None and not os.path.isdir(folder) and (
            os.path.exists(folder) or folder.suffix in OUTPUT_SUFFIXES):  # which take a name that is too long
        raise UserError(f"--output {folder} has to be a folder, for the results of several videos")
    if folder is None or several or not args.png and (os.path.isdir(folder) or args.output.endswith(("/", os.sep))):
        outputs = choose_outputs(sources, folder, args.png, args.codec)
    else:
        outputs = [folder]

    def new_job(source: Path, output: Path) -> VideoJob:
        return VideoJob(source, output, options, args.fps_in or Fraction(25))

    overwrite = args.overwrite == "yes"
    first = None
    if not several:  # a mistake is found before the network is loaded
        first = new_job(sources[0], outputs[0])
        first.check_existing(overwrite)
    predictor = InferenceSettings.from_arguments(args, processes.local_rank).predictor()
    common = {"predictor": predictor, "identity": predictor.identity(), "rank": processes.rank,
              "world": processes.count, "agree": processes.first_of_all, "progress": True,
              "overwrite": overwrite,
              "say": lambda text: tqdm.write(text, file=sys.stderr)}
    processes.join(timeout=_PATIENCE)
    try:
        if first is not None:
            first.run(**common)
        else:
            make_videos(sources, outputs, new_job, **common)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


if __name__ == "__main__":
    cli.run(main)
