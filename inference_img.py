"""Interpolate between two images and enlarge them.

    python3 inference_img.py --img demo/i0.png demo/i1.png --exp 3          # 7 frames between, 9 images
    python3 inference_img.py --img a.png b.png --ratio 0.25 0.7 --gif a.gif # frames at these timesteps
"""
import argparse
import contextlib
import re
from pathlib import Path

from tqdm import tqdm

from common import cli
from common.files import check_outputs, natural_key
from common.staging import staged_folder
from media.animation import open_animation
from media.image import ColourTag, load_image, to_display, write_image
from media.image_pair import ImagePair, common_colour, prepare_pair
from media.visualize import draw_motion
from model import InferenceSettings, Predictor
from model.settings import add_inference_arguments


def ratio(text: str) -> float:
    """argparse type for a timestep strictly between the two images."""
    value = float(text)
    if not 0 < value < 1:  # false for nan too
        raise argparse.ArgumentTypeError(f"{text} is not strictly between 0 and 1")
    return value


def build_parser() -> cli.Parser:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--img", nargs=2, type=Path, required=True, metavar=("FIRST", "SECOND"), help="the two images")
    timesteps = parser.add_mutually_exclusive_group()
    timesteps.add_argument("--exp", type=cli.exponent, default=2, metavar="N",
                           help="2^N - 1 frames between the two, evenly spaced (default 2: three)")
    timesteps.add_argument("--ratio", type=ratio, nargs="+", metavar="R",
                           help="instead: frames at these timesteps, 0 = first image, 1 = second, in the order given")
    parser.add_argument("--upscale", type=float, default=4, metavar="X",
                        help="enlargement, 1 to 8, any number (default 4)")
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR",
                        help="folder for img0.png (EXR for EXR input), img1.png ... (default output)")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="write the sequence as an animated GIF too")
    parser.add_argument("--mp4", type=Path, metavar="FILE", help="write the sequence as an MP4 video too")
    parser.add_argument("--fps", type=cli.positive_number, default=10, metavar="F",
                        help="frames per second of the GIF and MP4 (default 10)")
    parser.add_argument("--visualize", action="store_true",
                        help="for each frame also a visual0.png ... with the flow, the mask and the scales chosen")
    cli.add_overwrite_argument(parser)
    add_inference_arguments(parser)
    return parser


def interpolate(predictor: Predictor, pair: ImagePair, timesteps: list[float], upscale: float,
                colour: ColourTag | None, suffix: str, folder: Path, animations: list, visualize: bool) -> None:
    """Write the frame at each of `timesteps` to `folder`, and add it to the animations, as soon as it is there."""
    images = pair.between(predictor, timesteps, upscale, with_details=visualize)
    for index, (image, details) in enumerate(tqdm(images, total=len(timesteps), desc="frames", unit="frame")):
        write_image(folder / f"img{index}{suffix}", image, colour)
        shown = to_display(image) if animations or visualize else None
        for animation in animations:
            animation.add(shown)
        if visualize and shown is not None:
            write_image(folder / f"visual{index}.png", draw_motion(shown, timesteps[index], *details))


def earlier_images(folder: Path, written: set[str]) -> list[str]:
    """Names in `folder` that look like this script's, but are not among those it has just written."""
    names = [path.name for path in folder.iterdir() if re.fullmatch(r"img\d+\.(png|exr)|visual\d+\.png", path.name)]
    return sorted(set(names) - written, key=natural_key)


def first_and_last(names: list) -> str:
    """The first and the last of several names."""
    return str(names[0]) if len(names) == 1 else f"{names[0]} ... {names[-1]}"


def main() -> None:
    args = build_parser().parse_args()
    loaded = [load_image(path) for path in args.img]
    first, second = (image.pixels for image in loaded)
    pair = prepare_pair(first, second, names=[str(path) for path in args.img])
    notes = [note for image in loaded for note in image.notes]
    colour = common_colour(loaded, args.img, pair, notes)
    suffix = ".exr" if pair.curve else ".png"
    timesteps = [0.0, *args.ratio, 1.0] if args.ratio else [i / 2**args.exp for i in range(2**args.exp + 1)]
    images = [f"img{index}{suffix}" for index in range(len(timesteps))]
    visuals = [f"visual{index}.png" for index in range(len(timesteps))] if args.visualize else []
    files = [path for path in (args.gif, args.mp4) if path]
    if colour and files:
        notes.append(f"the colour profile is kept in the images; {first_and_last(files)} cannot hold one")
    replaced = check_outputs([*(args.output / name for name in images + visuals), *files], args.img,
                             args.overwrite == "yes")
    if replaced:
        notes.append(f"replacing what exists: {first_and_last(replaced)}")
    for note in notes:
        print(f"Note: {note}", flush=True)
    # All places to write to are opened first: what cannot be written must be known before the long work.
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(staged_folder(args.output))
        animations = [stack.enter_context(open_animation(path, args.fps)) for path in files]
        predictor = InferenceSettings.from_arguments(args).predictor()
        interpolate(predictor, pair, timesteps, args.upscale, colour, suffix, stage, animations, args.visualize)
    height, width = pair.frames[0].shape[:2]
    height, width = predictor.output_size(height, width, args.upscale)
    print(f"Wrote {len(timesteps)} images of {width}x{height} to {args.output}: {first_and_last(images)}")
    if visuals:
        print(f"Wrote their flow, mask and scales to {args.output}: {first_and_last(visuals)}")
    for path in files:
        print(f"Wrote {path}")
    if old := earlier_images(args.output, {*images, *visuals}):
        print(f"Note: {len(old)} from an earlier run still in {args.output}, untouched: {first_and_last(old)}")


if __name__ == "__main__":
    cli.run(main)
