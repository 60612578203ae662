"""Score the frames of any method by the code of the benchmarks.

    python3 -m benchmark.score --pred output/vid4 --gt Vid4/GT --rounding 8bit

Both folders are searched for pictures, however deep; they are matched by their path below the folder, without
suffix (city/00000000.png and city/00000000.webp are the same frame). Pictures of 8 and 16 bits are read;
16-bit ones are scored at their full precision (value / 257), unless --rounding 8bit rounds the predictions first.
PSNR and SSIM are on Y, no border is cut off, PSNR on RGB is given too. Figures are averaged over all frames, and
over the frames of each folder and then over the folders.
"""
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmark import metrics
from benchmark.protocol import Y_FORMULA, hardware, versions
from benchmark.results import average
from common import cli
from common.errors import UserError
from common.files import atomic_path
from media.image import list_images, read_bgr


def find_pictures(root: Path) -> dict[str, Path]:
    """The pictures below a folder by relative path without suffix, in natural order."""
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    found: dict[str, Path] = {}
    for path in list_images(root, recursive=True):
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in found:
            raise UserError(f"{found[name]} and {path} have the same name: keep one of them")
        found[name] = path
    if not found:
        raise UserError(f"no pictures in {root}")
    return found


def match(predictions: dict[str, Path], truths: dict[str, Path], common: bool) -> list[str]:
    """The names of the frames to score. Without `common`, both sides must hold the same frames."""
    names = [name for name in truths if name in predictions]
    missing = [name for name in truths if name not in predictions]
    extra = [name for name in predictions if name not in truths]
    if not names:
        raise UserError(f"no prediction has the name of a true frame: {next(iter(predictions))} and "
                        f"{next(iter(truths))}, for example; paths below --pred and --gt should be the same")
    if not common and (missing or extra):
        lacking = f"{len(missing)} true frames have no prediction ({missing[0]} ...)" if missing else \
                  f"{len(extra)} predictions have no true frame ({extra[0]} ...)"
        raise UserError(f"{lacking}: give --common to score the {len(names)} frames found in both")
    return names


def read_exact(path: Path) -> np.ndarray:
    """HxWx3 BGR in 0..255: uint8, or float32 from 16-bit pictures."""
    image = read_bgr(path, deep=True)
    return image.astype(np.float32) / 257 if image.dtype == np.uint16 else image


def score(name: str, prediction: Path, truth: Path, rounded: bool) -> dict:
    """The record of one frame."""
    predicted, true = read_exact(prediction), read_exact(truth)
    if predicted.shape != true.shape:
        raise UserError(f"{prediction} is {predicted.shape[1]}x{predicted.shape[0]}, but {truth} is "
                        f"{true.shape[1]}x{true.shape[0]}")
    if min(true.shape[:2]) < metrics.WINDOW:
        raise UserError(f"{truth} is too small to score: {true.shape[1]}x{true.shape[0]}")
    if rounded:
        predicted = np.rint(predicted)
    x, y = (torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (predicted, true))
    psnr, ssim = (figure.item() for figure in metrics.psnr_ssim_y(x, y))
    rgb = metrics.psnr_rgb(x, y).item()
    return {"frame": name, "position": 0, "psnr": psnr if psnr < float("inf") else None, "ssim": ssim,
            "psnr_rgb": rgb if rgb < float("inf") else None}


def summarize(frames: list[dict], rounded: bool) -> dict:
    """Averages over frames and over folders, and everything that explains them, for `--json`."""
    records = [{"clip": frame["frame"], "video": str(Path(frame["frame"]).parent), "frames": [frame]}
               for frame in frames]
    over_frames, over_folders = average(records), average(records, over="videos")
    folders = {video: average([r for r in records if r["video"] == video])
               for video in dict.fromkeys(r["video"] for r in records)}
    rgb = [frame["psnr_rgb"] for frame in frames if frame["psnr_rgb"] is not None]
    protocol = {"y": Y_FORMULA, "border": "none cut off", "ssim": "11x11 Gaussian window, sigma 1.5, valid region",
                "rounding": "predictions rounded to 8 bits" if rounded else "none"}
    return {"psnr": over_frames["psnr"], "ssim": over_frames["ssim"],
            "psnr_rgb": sum(rgb) / len(rgb) if rgb else None,
            "psnr_folders": over_folders["psnr"], "ssim_folders": over_folders["ssim"], "frames": len(frames),
            "infinite_frames": over_frames["infinite_frames"], "protocol": protocol, "per_folder": folders,
            "per_frame": frames, "versions": versions(), "hardware": hardware()}


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--pred", type=Path, required=True, metavar="DIR", help="predicted frames")
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR", help="true frames")
    parser.add_argument("--rounding", choices=["float", "8bit"], default="float",
                        help="round predictions to 8 bits first, or score them as they are (default float)")
    parser.add_argument("--common", action="store_true", help="score the frames found in both folders, ignore the rest")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--workers", type=cli.positive_int, default=4, metavar="N", help="threads (default 4)")
    args = parser.parse_args()
    predictions, truths = find_pictures(args.pred), find_pictures(args.gt)
    names = match(predictions, truths, args.common)

    def one(name: str) -> dict:
        return score(name, predictions[name], truths[name], args.rounding == "8bit")

    with ThreadPoolExecutor(args.workers) as pool:
        frames = list(tqdm(pool.map(one, names), total=len(names), unit="frame", disable=None))
    result = summarize(frames, args.rounding == "8bit")
    print(report(result))
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def report(result: dict) -> str:
    """The figures as text."""
    def row(label: str, psnr: float | None, ssim: float | None, frames: int) -> str:
        cells = ["-" if psnr is None else f"{psnr:.3f}", "-" if ssim is None else f"{ssim:.4f}"]
        return f"{label:34}{cells[0]:>9}{cells[1]:>9}{frames:>8}"

    lines = [f"  {key:10}{value}" for key, value in result["protocol"].items()]
    lines.append(f"{'':34}{'PSNR-Y':>9}{'SSIM-Y':>9}{'frames':>8}")
    if len(result["per_folder"]) > 1:
        lines += [row(folder, mean["psnr"], mean["ssim"], mean["frames"])
                  for folder, mean in result["per_folder"].items()]
        lines.append(row("mean over folders", result["psnr_folders"], result["ssim_folders"], result["frames"]))
    lines.append(row("mean over frames", result["psnr"], result["ssim"], result["frames"]))
    if result["psnr_rgb"] is not None:
        lines.append(f"PSNR on RGB, mean over frames: {result['psnr_rgb']:.3f}")
    if result["infinite_frames"]:
        lines.append(f"left out of the means: {result['infinite_frames']} frames equal to the truth (infinite PSNR)")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
