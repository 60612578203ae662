"""Enlarge a video and give it more frames; its sound, subtitles and times are kept.

    python inference_video.py --video film.mp4                          # 4 times larger, twice the frames
    python inference_video.py --video film.mp4 --fps 60 --upscale 2
    python inference_video.py --img frames/ --fps_in 24 --multi 4 --output out.mp4
    torchrun --nproc_per_node=4 inference_video.py --video film.mp4     # four GPUs share the work

Interrupted in any way, the same command goes on where it stopped and gives the same file.
"""
import argparse
import dataclasses
import re
import sys
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from common import cli
from common.errors import UserError
from common.processes import Processes
from media.video.codecs import CODECS
from media.video.deinterlace import MODES
from media.video.job import SUFFIXES, Options, VideoJob
from media.video.scene_cuts import DEFAULT_THRESHOLD
from media.video.timeline import DEFAULT_MULTI
from model.settings import InferenceSettings, add_inference_arguments


def frame_rate(text: str) -> Fraction:
    """argparse type: 25, 23.976 (meaning 24000/1001, as 29.97, 59.94 and the like), or 60000/1001."""
    try:
        if not 1e-5 < float(Fraction(text)) <= 10000:
            raise argparse.ArgumentTypeError(f"{text} is not a frame rate: give one from 0.0001 to 10000")
    except (ZeroDivisionError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate") from error
    rate = Fraction(text).limit_denominator(1 << 16)
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if "." in text and abs(rate - ntsc) < Fraction(6, 1000) and ntsc > 1 else rate


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


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", type=Path, metavar="FILE", help="the video to work on")
    source.add_argument("--img", type=Path, metavar="DIR", help="a folder of pictures, taken in natural order")
    parser.add_argument("--fps_in", type=frame_rate, default=Fraction(25), metavar="F",
                        help="frames per second of --img (default 25)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="the result; its suffix chooses the container. Default: beside the source, as "
                        "NAME_safa with the source's suffix (or .mkv); with --png a folder NAME_safa")
    factor = parser.add_mutually_exclusive_group()
    factor.add_argument("--multi", type=cli.positive_int, metavar="N",
                        help=f"N times the frames (default {DEFAULT_MULTI})")
    factor.add_argument("--exp", dest="multi", type=power_of_two, metavar="N", help="2^N times the frames")
    parser.add_argument("--fps", type=frame_rate, metavar="F",
                        help="F frames per second, any rate from the source's on. With --multi: N times the frames, "
                        "shown at F frames per second, so that time is stretched and sound is dropped")
    parser.add_argument("--upscale", type=float, default=4, metavar="X",
                        help="enlargement, 1 to 8 (default 4; 1 = only more frames)")
    parser.add_argument("--slowmo", action="store_true",
                        help="slow motion: keep the frame rate and stretch time; audio and subtitles are dropped")
    parser.add_argument("--dedup", type=cli.positive_int, default=Options.dedup, metavar="N",
                        help="for animation on twos or threes: up to N repeats of a drawing count as showing it for "
                        "longer, so that motion becomes even; longer pauses stay (1 for twos, 2 for threes)")
    parser.add_argument("--deinterlace", nargs="?", const="field", choices=MODES,
                        help="make whole frames of interlaced ones first: one for each field (the default, which keeps "
                        "all of the motion), or one for each frame")
    parser.add_argument("--start", type=timestamp, metavar="T",
                        help="begin at this time of the source: seconds, MM:SS or HH:MM:SS, with fractions")
    parser.add_argument("--end", type=timestamp, metavar="T", help="end at this time of the source")
    parser.add_argument("--png", action="store_true", help="write numbered pictures into a folder")
    parser.add_argument("--montage", action="store_true", help="show the original beside the result")
    parser.add_argument("--scene_threshold", type=float, default=DEFAULT_THRESHOLD, metavar="T",
                        help="how different two frames must be to count as a scene cut, 0 to 1; 1 = never "
                        f"(default {DEFAULT_THRESHOLD})")
    parser.add_argument("--segment", type=cli.positive_int, default=Options.segment, metavar="N",
                        help=f"output frames per resumable segment (default {Options.segment})")
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
    return parser.parse_args(argv)


def default_output(args: argparse.Namespace) -> Path:
    source = (args.video or args.img).resolve()
    if args.png:
        return source.with_name(f"{source.stem}_safa")
    suffix = source.suffix.lower() if args.video else ".mp4"
    fits = suffix in SUFFIXES and (suffix != ".webm" or args.codec in ("av1", "vp9"))
    return source.with_name(f"{source.stem}_safa{suffix if fits else '.mkv'}")


def main() -> None:
    args = parse_arguments()
    processes = Processes.from_environment()
    options = Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Options)})
    if args.video is not None and args.video.is_dir():
        raise UserError(f"--video {args.video} is a folder: use --img for pictures")
    if args.img is not None and not args.img.is_dir():
        raise UserError(f"--img {args.img} is no folder of pictures: use --video for a video")
    job = VideoJob(args.video or args.img, args.output or default_output(args), options, args.fps_in)
    predictor = InferenceSettings.from_arguments(args, processes.local_rank).predictor()
    try:
        job.run(predictor, predictor.identity(), processes.rank, processes.count, lambda: _meet(processes),
                say=lambda text: tqdm.write(text, file=sys.stderr), progress=True)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


def _meet(processes: Processes) -> None:
    """Return when all processes of a torchrun have called it."""
    processes.join()
    processes.wait_for_all()
    processes.leave()


if __name__ == "__main__":
    cli.run(main)
