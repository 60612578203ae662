"""Interpolate between two pictures and enlarge them.

    python3 inference_img.py --img demo/i0.png demo/i1.png --exp 3          # 7 frames between, 9 pictures
    python3 inference_img.py --img a.png b.png --ratio 0.25 0.7 --gif a.gif # the frames at these moments
"""
import argparse
import contextlib
import re
from pathlib import Path

from tqdm import tqdm

from common import cli
from common.errors import UserError
from common.files import natural_key
from common.staging import staged_folder
from media.animation import open_animation
from media.image import read_image, to_display, write_image
from media.image_pair import PicturePair, prepare_pair
from media.visualize import motion_picture
from model import InferenceSettings, Predictor
from model.settings import add_inference_arguments


def ratio(text: str) -> float:
    """argparse type for a moment strictly between the two pictures."""
    value = float(text)
    if not 0 < value < 1:  # false for nan too
        raise argparse.ArgumentTypeError(f"{text} is not strictly between 0 and 1")
    return value


def parse_arguments() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--img", nargs=2, required=True, metavar=("FIRST", "SECOND"), help="the two pictures")
    moments = parser.add_mutually_exclusive_group()
    moments.add_argument("--exp", type=cli.exponent, default=2, metavar="N",
                         help="2^N - 1 frames between the two, evenly spaced (default 2: three)")
    moments.add_argument("--ratio", type=ratio, nargs="+", metavar="R",
                         help="instead: frames at these moments, 0 = first picture, 1 = second, in the order given")
    parser.add_argument("--upscale", type=float, default=4, help="enlargement, 1 to 8, any number (default 4)")
    parser.add_argument("--output", default="output", metavar="DIR",
                        help="folder for img0.png (EXR for EXR input), img1.png ... (default output)")
    parser.add_argument("--gif", metavar="FILE", help="write the sequence as an animated GIF too")
    parser.add_argument("--mp4", metavar="FILE", help="write the sequence as an MP4 video too")
    parser.add_argument("--fps", type=cli.positive_number, default=10,
                        help="frames per second of the GIF and MP4 (default 10)")
    parser.add_argument("--visualize", action="store_true",
                        help="for each frame also a visual0.png ... with the flow, the mask and the scales chosen")
    add_inference_arguments(parser)
    return parser.parse_args()


def interpolate(predictor: Predictor, pair: PicturePair, times: list[float], upscale: float, suffix: str,
                folder: Path, animations: list, visualize: bool) -> None:
    """Write the frame at each of `times` to `folder`, and add it to the animations, as soon as it is there."""
    first, second = (predictor.encode(frame, upscale) for frame in pair.frames)
    for index, time in enumerate(tqdm(times, desc="frames", unit="frame")):
        details = [] if visualize or pair.alphas else None
        frame = predictor.between(first, second, [time], details)[0]
        flow, mask, scales = details[0] if details else (None, None, None)
        picture = pair.picture(frame, flow, mask)
        write_image(folder / f"img{index}{suffix}", picture)
        shown = to_display(picture) if animations or visualize else None
        for animation in animations:
            animation.add(shown)
        if visualize:
            write_image(folder / f"visual{index}.png", motion_picture(shown, time, flow, mask, scales))


def earlier_pictures(folder: Path, written: set[str]) -> list[str]:
    """Names in `folder` that look like this script's, but are not among those it has just written."""
    names = [path.name for path in folder.iterdir() if re.fullmatch(r"img\d+\.(png|exr)|visual\d+\.png", path.name)]
    return sorted(set(names) - written, key=natural_key)


def named(names: list[str]) -> str:
    """The first and the last of several names."""
    return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"


def main() -> None:
    args = parse_arguments()
    pair = prepare_pair(*map(read_image, args.img), names=tuple(args.img))
    suffix = ".exr" if pair.curve else ".png"
    times = [0.0, *args.ratio, 1.0] if args.ratio else [i / 2**args.exp for i in range(2**args.exp + 1)]
    folder = Path(args.output)
    pictures = [f"img{index}{suffix}" for index in range(len(times))]
    visuals = [f"visual{index}.png" for index in range(len(times))] if args.visualize else []
    inputs = {Path(path).resolve() for path in args.img}
    for path in [folder / name for name in pictures + visuals]:
        if path.resolve() in inputs:
            raise UserError(f"{path} is an input and would be overwritten: choose another --output")
    # All places to write to are opened first: what cannot be written must be known before the long work.
    files = [path for path in (args.gif, args.mp4) if path]
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(staged_folder(folder))
        animations = [stack.enter_context(open_animation(path, args.fps)) for path in files]
        predictor = InferenceSettings.from_arguments(args).predictor()
        interpolate(predictor, pair, times, args.upscale, suffix, stage, animations, args.visualize)
    height, width = predictor.output_size(*pair.frames[0].shape[:2], args.upscale)
    print(f"Wrote {len(times)} pictures of {width}x{height} to {folder}: {named(pictures)}")
    if visuals:
        print(f"Wrote their flow, mask and scales to {folder}: {named(visuals)}")
    for path in files:
        print(f"Wrote {path}")
    if old := earlier_pictures(folder, {*pictures, *visuals}):
        print(f"Note: {len(old)} from an earlier run still in {folder}, untouched: {named(old)}")


if __name__ == "__main__":
    cli.run(main)
