"""A web page: two images or a short clip in, enlarged frames between them out, beside plain enlargement.

    python3 -m demo.app                               # then open http://127.0.0.1:7860
    python3 -m demo.app --model small --host 0.0.0.0 --port 8000     # seen from other machines, too

Needs `python3 -m pip install -r requirements-demo.txt`. Uploads and results are deleted after a day.
"""
import argparse
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from benchmark.baseline import bicubic_blend
from common import cli
from common.errors import UserError
from common.optional import optional
from demo.make_demo import FOLDER, PAIR
from media.image import load_image, to_display, write_image
from media.image_pair import common_colour, prepare_pair
from media.video.job import VideoJob
from media.video.options import Options
from model import InferenceSettings, Predictor
from model.settings import add_inference_arguments

DAY = 86400  # seconds
TITLE = "Space-time video super-resolution (SAFA)"
# Sides by side where there is room, below each other on a phone; sliders and buttons large enough for a thumb.
STYLE = "input[type=range] {min-height: 2rem} .gradio-container {max-width: 75rem !important; margin: auto}"


def between(predictor: Predictor, first: str | None, second: str | None, timestep: float, upscale: float,
            folder: Path) -> tuple[np.ndarray, np.ndarray, Path]:
    """What the page shows for two image files: plain enlargement and blending, the network's frame, its file.

    The two are (H, W, 3) uint8 RGB; the file is a PNG (EXR for EXR images) of the images' own depth and colour profile.

    Raises:
        UserError: an image is missing or cannot be used, or the two do not go together.
    """
    if not first or not second:
        raise UserError("two images are needed: the one before and the one after")
    loaded, names = [load_image(path) for path in (first, second)], [Path(path).name for path in (first, second)]
    before, after = (image.pixels for image in loaded)
    pair = prepare_pair(before, after, names)
    (result, _), = pair.between(predictor, [timestep], upscale)
    height, width = result.shape[:2]
    plain = bicubic_blend(to_display(before), to_display(after), timestep, height, width)
    file = folder / f"{Path(first).stem}_{timestep:g}_x{upscale:g}{'.exr' if pair.curve else '.png'}"
    write_image(file, result, common_colour(loaded, names, pair, notes=[]))
    shown = [np.rint(plain).clip(0, 255).astype(np.uint8), to_display(result)]
    return *(cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in shown), file


def clip(predictor: Predictor, source: str | None, multi: int, upscale: float, seconds: float, slow: bool,
         folder: Path) -> tuple[Path, str]:
    """The start of a video, enlarged and with more frames, as an MP4; and what there is to say about it.

    Progress is shown by tqdm, whose bars the page takes over.

    Raises:
        UserError: there is no video, or it cannot be used.
    """
    if not source:
        raise UserError("a clip is needed: choose a video file")
    file = folder / f"{Path(source).stem}_x{upscale:g}.mp4"
    options = Options(multi=multi, upscale=upscale, end=Fraction(seconds).limit_denominator(1000), slowmo=slow)
    notes: list[str] = []
    VideoJob(source, file, options).run(predictor, predictor.identity(), say=notes.append, progress=True)
    return file, "\n\n".join(note.replace(f"{folder}{os.sep}", "") for note in notes)


def page(predictor: Predictor) -> Any:
    """The page, a `gradio.Blocks`; `launch` it with `STYLE` as its css."""
    gr = optional("gradio", "-r requirements-demo.txt")
    steps, bars = gr.Progress(), gr.Progress(track_tqdm=True)  # Gradio knows them by standing as defaults

    def run_pair(first, second, timestep, upscale, progress=steps):
        progress(0.1, desc="interpolating")
        with _as_messages(gr):
            plain, ours, file = between(predictor, first, second, timestep, upscale, _new_folder(gr))
        return (plain, ours), gr.DownloadButton(value=str(file), interactive=True)

    def run_clip(source, multi, upscale, seconds, slow, progress=bars):
        progress(0, desc="starting")
        with _as_messages(gr):
            file, notes = clip(predictor, source, int(multi), upscale, seconds, slow, _new_folder(gr))
        return str(file), notes, gr.DownloadButton(value=str(file), interactive=True)

    def enlargement():
        return gr.Slider(1, 8, 4, step=0.5, label="Enlargement", info="4 is what the network was trained for")

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(DAY, DAY)) as blocks:
        gr.Markdown(f"# {TITLE}\nFrames between two images, and at four times their size. "
                    f"Network: {predictor.identity()['network']}, on {predictor.device}.")
        with gr.Tab("Two images"):
            with gr.Row():
                first, second = (gr.Image(str(FOLDER / PAIR[t]), type="filepath", sources=["upload", "clipboard"],
                                          label=label, elem_id=name, min_width=280)
                                 for t, label, name in ((0.0, "Before", "first"), (1.0, "After", "second")))
            timestep = gr.Slider(0, 1, 0.5, step=0.01, label="Timestep", info="0 is the first image, 1 the second")
            upscale = enlargement()
            start = gr.Button("Interpolate", variant="primary", elem_id="interpolate")
            slider = gr.ImageSlider(label="Enlarged and blended | network", format="png", interactive=False,
                                    buttons=["fullscreen"], elem_id="result")
            download = gr.DownloadButton("Download the frame", interactive=False, elem_id="download")
            start.click(run_pair, [first, second, timestep, upscale], [slider, download], concurrency_id="network",
                        show_progress_on=slider)
        with gr.Tab("A short clip"):
            source = gr.Video(sources=["upload"], label="Clip", elem_id="clip")
            with gr.Row():
                multi = gr.Slider(1, 8, 2, step=1, label="Frames", info="times as many as the clip has", min_width=280)
                seconds = gr.Slider(0.5, 30, 2, step=0.5, label="Seconds", min_width=280,
                                    info="from the clip's start on; without a GPU each takes minutes")
            factor = enlargement()
            slow = gr.Checkbox(label="Slow motion", info="keep the frame rate and drop the sound")
            begin = gr.Button("Make the clip", variant="primary", elem_id="make")
            video = gr.Video(label="Result", interactive=False, elem_id="video")
            notes = gr.Markdown(elem_id="notes")
            save = gr.DownloadButton("Download the clip", interactive=False, elem_id="save")
            begin.click(run_clip, [source, multi, factor, seconds, slow], [video, notes, save],
                        concurrency_id="network", show_progress_on=video)
    return blocks


def theme(gr: ModuleType) -> Any:
    """The look: fonts of the visitor's own system, so that nothing is fetched from elsewhere."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


class _as_messages:
    """Turns UserErrors into messages on the page."""

    def __init__(self, gr: ModuleType):
        self._gr = gr

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, UserError):
            raise self._gr.Error(str(error), duration=None) from None


def _new_folder(gr: ModuleType) -> Path:
    """A folder where Gradio may serve files from, and deletes them."""
    above = Path(gr.utils.get_upload_folder())
    above.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=above))


def parse_arguments() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 = all of this machine's "
                        "(default 127.0.0.1: seen from this machine only)")
    parser.add_argument("--port", type=cli.positive_int, default=7860, help="port to listen on (default 7860)")
    add_inference_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    gr = optional("gradio", "-r requirements-demo.txt")
    blocks = page(InferenceSettings.from_arguments(args).predictor())
    try:
        blocks.launch(server_name=args.host, server_port=args.port, theme=theme(gr), css=STYLE, footer_links=[])
    except OSError as error:
        raise UserError(f"cannot listen on {args.host}:{args.port}: {error}; choose another --port") from None


if __name__ == "__main__":
    cli.run(main)
