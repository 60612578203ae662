"""Score the frames of any method by the code of the benchmarks.

    python3 -m benchmark.score --pred output/vid4 --gt Vid4/GT --rounding 8bit
    python3 -m benchmark.score --pred rife_frames --gt Vid4/GT --name RIFE --common --json rife.json

Both folders are searched for images, however deep; they are matched by their path below the folder, without
suffix (city/00000000.png and city/00000000.webp are the same frame). Images of 8 and 16 bits are read;
16-bit ones are scored at their full precision (value / 257), unless --rounding 8bit rounds the predictions first.
PSNR and SSIM are on Y, no border is cut off, PSNR on RGB is given too. Figures are averaged over all frames, and
over the frames of each folder and then over the folders. The frames of a folder are taken to follow each other, where
--metrics tof measures flicker. What --json writes can be compared with any benchmark's (`benchmark.compare`).
"""
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.evaluate import Scorer
from benchmark.measures import DEFAULT, MEASURES
from benchmark.metrics import WINDOW
from benchmark.protocol import Y_FORMULA, make_result
from benchmark.results import average, figures_table, write_csv, write_json
from common import cli
from common.errors import UserError
from media.image import list_images, read_bgr

ALWAYS = (*DEFAULT, "psnr_rgb")


def find_images(root: Path) -> dict[str, Path]:
    """The images below a folder by relative path without suffix, in natural order."""
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    found: dict[str, Path] = {}
    for path in list_images(root, recursive=True):
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in found:
            raise UserError(f"{found[name]} and {path} have the same name: keep one of them")
        found[name] = path
    if not found:
        raise UserError(f"no images in {root}")
    return found


def match(predictions: dict[str, Path], true: dict[str, Path], common: bool) -> list[str]:
    """The names of the frames to score. Without `common`, both sides must hold the same frames."""
    names = [name for name in true if name in predictions]
    missing = [name for name in true if name not in predictions]
    extra = [name for name in predictions if name not in true]
    if not names:
        raise UserError(f"no prediction has the name of a true frame: {next(iter(predictions))} and "
                        f"{next(iter(true))}, for example; paths below --pred and --gt should be the same")
    if not common and (missing or extra):
        lacking = f"{len(missing)} true frames have no prediction ({missing[0]} ...)" if missing else \
                  f"{len(extra)} predictions have no true frame ({extra[0]} ...)"
        raise UserError(f"{lacking}: give --common to score the {len(names)} frames found in both")
    return names


def read_exact(path: Path) -> np.ndarray:
    """HxWx3 BGR in 0..255: uint8, or float32 from 16-bit images."""
    image = read_bgr(path, deep=True)
    return image.astype(np.float32) / 257 if image.dtype == np.uint16 else image


def read_pair(prediction: Path, true: Path, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its ground truth. Raises UserError if they differ in size or are too small to score."""
    predicted, actual = read_exact(prediction), read_exact(true)
    if predicted.shape != actual.shape:
        raise UserError(f"{prediction} is {predicted.shape[1]}x{predicted.shape[0]}, but {true} is "
                        f"{actual.shape[1]}x{actual.shape[0]}")
    if min(actual.shape[:2]) < WINDOW:
        raise UserError(f"{true} is too small to score: {actual.shape[1]}x{actual.shape[0]}")
    return np.rint(predicted) if rounded else predicted, actual


def score(names: list[str], predictions: dict[str, Path], true: dict[str, Path], metrics: list[str], rounded: bool,
          workers: int) -> list[dict]:
    """The records of the frames `names`, each a clip of its own, its folder the video."""
    scorer = Scorer(names=metrics)
    places = {video: 0 for video in (str(Path(name).parent) for name in names)}
    before = dict(zip(names[1:], names))

    def one(name: str) -> dict[str, float | None]:
        earlier, previous = before.get(name), None
        if "tof" in metrics and earlier is not None and Path(earlier).parent == Path(name).parent:
            previous = read_pair(predictions[earlier], true[earlier], rounded)
        predicted, actual = read_pair(predictions[name], true[name], rounded)
        return scorer([predicted], [actual], previous)[0]

    records = []
    with ThreadPoolExecutor(workers) as pool:
        for name, figures in zip(names, tqdm(pool.map(one, names), total=len(names), unit="frame", disable=None)):
            video = str(Path(name).parent)
            frame = {"frame": name, "position": 0, "index": places[video], **figures}
            places[video] += 1
            records.append({"clip": name, "video": video, "frames": [frame]})
    return records


def summarize(records: list[dict], method: str, dataset: str, metrics: list[str], rounded: bool) -> dict:
    """The result for `--json`: as a benchmark's, and the means over folders and per folder."""
    protocol = {"dataset": dataset, "name": "score", "frames_scored": "all found", "over": "clips",
                "figures": {"mean over frames": None}, "expected_clips": None, "y": Y_FORMULA,
                "border": "none cut off", "metrics": {name: MEASURES[name].note for name in metrics},
                "rounding": "predictions are rounded to 8 bits before scoring" if rounded else
                            "predictions are scored as floats, not rounded"}
    result = make_result(protocol, {"method": method}, records)
    result["figures"]["mean over folders"] = average(records, over="videos")
    return result


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--pred", type=Path, required=True, metavar="DIR", help="predicted frames")
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR", help="true frames")
    parser.add_argument("--name", help="what tables call the method (default: the name of --pred's folder)")
    parser.add_argument("--rounding", choices=["float", "8bit"], default="float",
                        help="round predictions to 8 bits first, or score them as they are (default float)")
    parser.add_argument("--common", action="store_true", help="score the frames found in both folders, ignore the rest")
    parser.add_argument("--metrics", nargs="+", action="extend", choices=[n for n in MEASURES if n not in ALWAYS],
                        default=[], metavar="NAME", help="measure these too: tof (flicker), lpips, dists (these two: "
                        "pip install -r requirements-metrics.txt)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every frame's metrics here, a row per frame")
    parser.add_argument("--workers", type=cli.positive_int, default=4, metavar="N", help="threads (default 4)")
    args = parser.parse_args()
    predictions, true = find_images(args.pred), find_images(args.gt)
    names = match(predictions, true, args.common)
    metrics = [name for name in MEASURES if name in ALWAYS or name in args.metrics]
    rounded = args.rounding == "8bit"
    records = score(names, predictions, true, metrics, rounded, args.workers)
    result = summarize(records, args.name or args.pred.resolve().name, args.gt.resolve().name, metrics, rounded)
    print(report(result))
    if args.json:
        write_json(args.json, result)
    if args.csv:
        write_csv(args.csv, [result])


def report(result: dict) -> str:
    """The figures as text."""
    protocol = result["protocol"]
    rows = {"Y": protocol["y"], "border": protocol["border"], "rounding": protocol["rounding"]}
    rows |= {MEASURES[name].title: note for name, note in protocol["metrics"].items()}
    folders = result["per_video"] if len(result["per_video"]) > 1 else {}
    table = figures_table(result["figures"] | folders, {}, result["method"])
    return "\n".join([*(f"  {key:10}{value}" for key, value in rows.items()), table])


if __name__ == "__main__":
    cli.run(main)
