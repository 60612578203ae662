"""What quality costs: PSNR of stored results against multiply-adds, and against time on this machine, as one SVG.

    python3 -m benchmark.pareto safa.json small.json flow.json bicubic.json --output pareto.svg

PSNR is of the frames that all results hold (as in `benchmark.compare`). Multiply-adds are those of the results: of the
network's convolutions, for each frame, at the scales that its selector chose. Time is measured now, all methods in one
run, on frames of one size: a short video to twice its frames as `benchmark.speed --video` has it, median of warm runs,
divided by the frames that come out. Results of `benchmark.score` have neither, unless --cost says what they cost;
without a figure a method is a level to beat.
"""
import itertools
from pathlib import Path

import torch

from benchmark.baseline import BASELINES
from benchmark.clips import FACTOR
from benchmark.compare import align, labels_of, read_result
from benchmark.methods import BaselineMethod, Method, NetworkMethod
from benchmark.plot import scatter_plot, side_by_side
from benchmark.protocol import hardware, versions
from benchmark.results import write_json
from benchmark.speed import TWICE, VIDEO_FRAMES, double, frame_size, moving_noise, timed
from common import cli
from common.errors import UserError
from common.files import atomic_path
from model.settings import InferenceSettings


def remake(result: dict, path: Path) -> Method | None:
    """The method that made a result; None where it cannot be made here (another project's frames).

    Raises:
        UserError: its weights are not where they were, or have changed.
    """
    if result["method"] in BASELINES:
        return BaselineMethod(result["method"])
    if "weights_sha256" not in result:
        return None
    weights = None if result["weights"] == "the default weights" else result["weights"]
    predictor = InferenceSettings(weights, result["device"], result["precision"], result["tile"],
                                  result["scale_cap"], result["compile"]).predictor()
    if predictor.identity()["weights_sha256"] != result["weights_sha256"]:
        raise UserError(f"{path} was made with other weights than {result['weights']} holds now: make it again, or "
                        "give --no_time")
    return NetworkMethod(predictor)


def seconds_per_frame(method: Method, width: int, height: int, runs: int) -> float:
    """Median time for a frame of a video, at `width` x `height` low resolution, whose frames are doubled."""
    frames = moving_noise(VIDEO_FRAMES, height, width)

    def job() -> None:
        if isinstance(method, NetworkMethod):
            double(method.predictor, frames)
        else:
            for first, second in itertools.pairwise(frames):
                BASELINES[method.name].between(first, second, TWICE, (FACTOR * height, FACTOR * width))

    return timed(job, runs, torch.device(method.device))[0] / (len(TWICE) * (VIDEO_FRAMES - 1))


def cost(text: str) -> tuple[str, float | None, float | None]:
    """argparse type of --cost: NAME=GMAC,MS; either number may be left empty."""
    name, numbers = text.rsplit("=", 1)
    gmac, milliseconds = (cli.positive_number(part) if part else None for part in numbers.split(","))
    return name, gmac, milliseconds


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, metavar="FILE", help="results, as --json of benchmarks writes")
    parser.add_argument("--output", type=Path, default=Path("pareto.svg"), metavar="FILE",
                        help="the plot (default pareto.svg)")
    parser.add_argument("--size", type=frame_size, default=(160, 96), metavar="WxH",
                        help="low-resolution frames that are timed (default 160x96)")
    parser.add_argument("--runs", type=cli.positive_int, default=5, metavar="N", help="timed runs (default 5)")
    parser.add_argument("--no_time", dest="time", action="store_false", help="draw multiply-adds alone, time nothing")
    parser.add_argument("--cost", type=cost, action="append", default=[], metavar="NAME=GMAC,MS",
                        help="what a frame of another project's method costs: RIFE=120,350 (either may be left empty)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args()
    results = [read_result(path) for path in args.results]
    aligned, labels = align(results), labels_of(results, args.results)
    if aligned[0]["psnr"] is None:
        raise UserError("the results have no frame in common that counts in their main figure, "
                        f"{next(iter(aligned[0]['figures']))}, and has a PSNR: there is nothing to draw")
    given = {name: (gmac, milliseconds) for name, gmac, milliseconds in args.cost}
    if unknown := [name for name in given if name not in labels]:
        raise UserError(f"--cost {unknown[0]}: the results are called {', '.join(labels)}")
    width, height = args.size
    rows = []
    for label, result, path in zip(labels, aligned, args.results, strict=True):
        gmac, milliseconds = given.get(label, (result.get("gmac_per_frame"), None))
        method = remake(result, path) if args.time and milliseconds is None else None
        if method:
            milliseconds = 1e3 * seconds_per_frame(method, width, height, args.runs)
        rows.append({"method": label, "psnr": result["psnr"], "gmac_per_frame": gmac, "ms_per_frame": milliseconds})
        print(f"{label:32}{result['psnr']:9.3f} dB" + ("" if gmac is None else f"{gmac:12.1f} GMAC")
              + ("" if milliseconds is None else f"{milliseconds:12.1f} ms"), flush=True)
    machine = hardware()
    output = f"{args.size[0] * FACTOR}x{args.size[1] * FACTOR}"
    drawn = [("PSNR against multiply-adds", "GMAC a frame", "gmac_per_frame")]
    drawn += [("PSNR against time", f"ms a frame of {output}, {machine['processor']}", "ms_per_frame")] * args.time
    plots = [scatter_plot({row["method"]: (row[key], row["psnr"]) for row in rows}, title, x_label, "PSNR-Y in dB")
             for title, x_label, key in drawn]
    with atomic_path(args.output) as temporary:
        temporary.write_text(side_by_side(plots), encoding="utf-8")
    print(f"plot: {args.output}")
    if args.json:
        write_json(args.json, {"rows": rows, "size": output, "protocol": aligned[0]["protocol"],
                               "versions": versions(), "hardware": machine})


if __name__ == "__main__":
    cli.run(main)
