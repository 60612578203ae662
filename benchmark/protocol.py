"""From a dataset's clips to figures: the options, the protocol's description, the run, what is written.

The scripts beside this file (`vid4`, `vimeo90k`, `gopro`, `adobe240`, `folder`, `synthetic`) find a dataset's clips
and say how they are averaged; everything else is here. To spread the clips over processes:

    torchrun --nproc_per_node 4 -m benchmark.gopro --root DIR
"""
import argparse
import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmark.baseline import BASELINES
from benchmark.clips import Clip
from benchmark.evaluate import Scorer, evaluate
from benchmark.measures import DEFAULT, MEASURES
from benchmark.methods import BaselineMethod, Method, NetworkMethod, title_of
from benchmark.published import comparison_note, published_figures
from benchmark.report import write_report
from benchmark.results import Records, average, figures_table, write_csv, write_json
from common import cli
from common.errors import UserError
from common.processes import Processes
from model.settings import InferenceSettings, add_inference_arguments

PROJECT = Path(__file__).resolve().parents[1]
Y_FORMULA = "Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16, in floating point"
LR_MADE = "MATLAB-style antialiased bicubic x1/4 of the true frames (cropped to multiples of 4), rounded to 8 bits"
LR_READ = "read from --lr"


@dataclass
class Protocol:
    """What a figure means. Every field is printed above the figures and stored with them."""
    dataset: str
    name: str
    frames_in: str
    frames_scored: str
    averaging: str
    over: str  # "clips" or "videos": see results.average
    figures: dict[str, tuple[int, ...] | None]  # name -> positions in the clip (None: all); the main figure first
    expected_clips: int | None  # as in the published figures
    rounding: str = ""
    footage: str = ""  # which frames, where the dataset's name does not say it
    lr: str = LR_MADE
    enlargement: str = "cv2 bicubic (a = -0.75) on 8 bits, x4"
    y: str = Y_FORMULA
    border: str = "none cut off"

    def __post_init__(self) -> None:
        self.rounding = ("predictions are rounded to 8 bits before scoring" if self.rounded else
                         "predictions are scored as floats, not rounded")

    @property
    def rounded(self) -> bool:
        return self.name == "zsm"

    def described(self, metrics: Sequence[str]) -> dict[str, object]:
        """Every field, and how each of the metrics named is computed."""
        return asdict(self) | {"metrics": {name: MEASURES[name].note for name in metrics}}

    def header(self, metrics: Sequence[str]) -> str:
        """The description as printed lines."""
        rows = {key.replace("_", " "): value for key, value in asdict(self).items()
                if value and key not in ("dataset", "name", "over", "figures", "expected_clips")}
        rows |= {MEASURES[name].title: MEASURES[name].note for name in metrics}
        lines = [f"  {key:15}{value}" for key, value in rows.items()]
        return "\n".join([f"{self.dataset}, protocol {self.name}", *lines])


def build_parser(description: str, protocols: tuple[str, ...] | None, list_help: str = "") -> argparse.ArgumentParser:
    """The options every benchmark has.

    Args:
        protocols: the names the dataset is evaluated by, the default first; None: there is one.
        list_help: help of --list; empty: the footage is made, not found, so there are no --root, --list and --lr.
    """
    parser = cli.Parser(description=description)
    parser.set_defaults(root=None, list=None, lr=None)
    if list_help:
        parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the dataset, as described above")
        parser.add_argument("--list", metavar="NAME|FILE", help=list_help)
        parser.add_argument("--lr", type=Path, metavar="DIR", help="read the low-resolution inputs, <video>/<frame>, "
                            "from here instead of making them")
    if protocols:
        parser.add_argument("--protocol", choices=protocols, default=protocols[0],
                            help=f"how it is evaluated (default {protocols[0]})")
    parser.add_argument("--method", choices=["network", *BASELINES], default="network",
                        help="the network of --model, or a baseline: bicubic enlargement with linear blending "
                        "(bicubic) or with optical flow, DIS, between the enlarged frames (flow); default network")
    parser.add_argument("--limit", type=cli.positive_int, metavar="N", help="only the first N clips")
    parser.add_argument("--metrics", nargs="+", action="extend", choices=[n for n in MEASURES if n not in DEFAULT],
                        default=[], metavar="NAME", help="measure these too, beside PSNR and SSIM on Y: psnr_rgb, tof "
                        "(flicker), lpips, dists (these two: pip install -r requirements-metrics.txt)")
    parser.add_argument("--lpips", dest="metrics", action="append_const", const="lpips",
                        help="short for --metrics lpips")
    parser.add_argument("--workers", type=cli.positive_int, default=4, metavar="N",
                        help="threads that read clips ahead (default 4)")
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, default=Path("output/benchmark"), metavar="DIR",
                        help="where the records of each run are kept, and resumed from (default output/benchmark)")
    output.add_argument("--fresh", action="store_true", help="do clips again that have records from an earlier run")
    output.add_argument("--save_images", action="store_true", help="save the predictions below --output, as PNG")
    output.add_argument("--json", type=Path, metavar="FILE", help="write figures, protocol and environment here")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write every frame's metrics here, a row per frame")
    output.add_argument("--report", type=Path, metavar="DIR", help="write a web page, index.html, here: tables, "
                        "plots, images to compare (runs the baselines too)")
    add_inference_arguments(parser)
    return parser


def run(args: argparse.Namespace, protocol: Protocol, clips: list[Clip]) -> None:
    """Evaluate the clips as the options say; print and write what they ask for."""
    if args.lr is not None:
        if not args.lr.is_dir():
            raise UserError(f"no folder {args.lr}: --lr should hold <video>/<frame> as {args.root} does")
        protocol = replace(protocol, lr=LR_READ)
    clips = clips[:args.limit]
    metrics = [name for name in MEASURES if name in DEFAULT or name in args.metrics]
    processes = Processes.from_environment()
    processes.join(timeout=timedelta(days=7))  # for a process that died: one may well be slower by hours
    if processes.first:
        print(protocol.header(metrics))
        if note := comparison_note(protocol.expected_clips, len(clips)):
            print(f"note: {note}")
    method = _make_method(args, processes)
    identity = method.identity()
    if processes.first and len(identity) > 1:
        print("  " + "method".ljust(15) + ", ".join(f"{key} {value}" for key, value in identity.items()
                                                    if key != "method"))
    result, folder = _evaluate(args, protocol, clips, method, metrics, processes)
    others = [BaselineMethod(name) for name in BASELINES if args.report and name != method.name]
    baselines = [_evaluate(args, protocol, clips, other, metrics, processes, images=False)[0] for other in others]
    if not processes.first:
        return
    print(figures_table(result["figures"], published_figures(result["protocol"]), title_of(method.name)))
    print(f"records: {folder}")
    if args.json:
        write_json(args.json, result)
    if args.csv:
        write_csv(args.csv, [result])
    if args.report:
        write_report(args.report, result, baselines, clips, [method, *others], args.lr)
        print(f"report: {args.report / 'index.html'}")


def _make_method(args: argparse.Namespace, processes: Processes) -> Method:
    if args.method != "network":
        return BaselineMethod(args.method)
    return NetworkMethod(InferenceSettings.from_arguments(args, processes.local_rank).predictor())


def _evaluate(args: argparse.Namespace, protocol: Protocol, clips: list[Clip], method: Method, metrics: list[str],
              processes: Processes, images: bool = True) -> tuple[dict, Path]:
    """Evaluate one method. Returns (on the first process) everything known of the result, and the run's folder."""
    # Records are only gone on from if nothing differs that decides about the figures, the code included.
    described = protocol.described(metrics)
    key = {"protocol": described, "root": str(args.root.resolve()) if args.root else None,
           "lr": args.lr and str(args.lr.resolve()), "code": _code_hash(), "versions": versions()}
    digest = hashlib.sha256(json.dumps(key | method.identity(), sort_keys=True).encode()).hexdigest()[:10]
    folder = args.output / f"{protocol.dataset}-{protocol.name}-{method.name}-{digest}"
    saved = folder / "images" if args.save_images and images else None
    by_name = evaluate(clips, method, Scorer(_metrics_device(method.device), metrics), Records(folder), processes,
                       rounded=protocol.rounded, lr=args.lr, workers=args.workers, images=saved, fresh=args.fresh)
    if not processes.first:
        return {}, folder
    return make_result(described, method.identity(), list(by_name.values()), method.device), folder


def make_result(protocol: dict, identity: dict, records: list[dict], device: str = "cpu") -> dict:
    """Everything known of a result, as --json writes it: figures, records, and all that explains them.

    Args:
        protocol: what the figures mean: `Protocol.described`, or at least its dataset, name, over, figures, metrics.
        identity: what made the frames; its "method" is the method's name.
        records: one per clip.
    """
    figures = {name: average(records, positions, protocol["over"]) for name, positions in protocol["figures"].items()}
    main, counted = next(iter(figures.values())), next(iter(protocol["figures"].values()))
    videos = list(dict.fromkeys(record["video"] for record in records))
    per_video = {video: average([record for record in records if record["video"] == video], counted, protocol["over"])
                 for video in videos} if len(videos) <= 100 else {}
    gmac = [record["gmac"] for record in records if "gmac" in record]
    return main | ({"gmac_per_frame": sum(gmac) / len(gmac)} if gmac else {}) | {
        "figures": figures, "protocol": protocol, **identity, "per_video": per_video, "per_clip": records,
        "versions": versions(), "hardware": hardware(device)}


def _metrics_device(device: str) -> str:
    return device if device.startswith("cuda") else "cpu"


def _code_hash() -> str:
    """A digest of the code that decides about figures: that of the networks, of the footage and of the measures."""
    digest = hashlib.sha256()
    ours = ("metrics", "measures", "clips", "synthetic", "baseline", "methods", "evaluate")
    paths = [path for folder in ("model", "data", "media") for path in (PROJECT / folder).rglob("*.py")]
    for path in sorted([*paths, *(PROJECT / "benchmark" / f"{name}.py" for name in ours)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of what computes the figures."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "opencv": cv2.__version__}


def hardware(device: str = "cpu") -> dict[str, object]:
    """The machine: its processor, cores, and GPU if `device` is one."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {"system": f"{platform.system()} {platform.machine()}", "processor": processor, "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "gpu": gpu}


def main_of(parser: argparse.ArgumentParser,
            protocol_and_clips: Callable[[argparse.Namespace], tuple[Protocol, list[Clip]]]) -> Callable[[], None]:
    """The `main` of a benchmark script: parse, find the clips, run."""
    def main() -> None:
        args = parser.parse_args()
        run(args, *protocol_and_clips(args))
    return main
