"""Compare the demo's result with the true frames, and with the baselines: bicubic enlargement, blending or flow.

    python3 inference_img.py --img demo/i0.png demo/i1.png --exp 3 --output output/demo
    python3 -m demo.show output/demo
"""
from pathlib import Path

import numpy as np
import torch

from benchmark.baseline import BASELINES
from benchmark.metrics import psnr_y
from common import cli
from common.errors import UserError
from demo.make_demo import FOLDER, PAIR, TRUTHS
from media.image import read_image, write_image
from media.visualize import label

LAST = 8  # --exp 3 writes img0.png ... img8.png
CROP = (400, 210)  # width, height
CROPS = {"turning": (772, 84), "fast": (416, 402), "hidden in part": (196, 402)}  # left, top
GAP, HEADER, INK = 6, 40, (28, 24, 22)


def baseline(name: str, timesteps: list[float]) -> list[np.ndarray]:
    """The frames of one of the benchmarks' baselines, HxWx3 uint8."""
    first, second = (read_image(FOLDER / name) for name in PAIR.values())
    frames = BASELINES[name].between(first, second, timesteps, (first.shape[0] * 4, first.shape[1] * 4))
    return [np.rint(frame).clip(0, 255).astype(np.uint8) for frame in frames]


def psnr(image: np.ndarray, true: np.ndarray) -> float:
    """PSNR in dB on Y of two 8-bit BGR images."""
    tensors = [torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None] for x in (image, true)]
    return psnr_y(*tensors).item()


def comparison(ours: np.ndarray, bicubic: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Crops of the first input, blending, the result and the ground truth side by side, with their PSNR."""
    source = read_image(FOLDER / PAIR[0.0]).repeat(4, 0).repeat(4, 1)
    columns = {"input (t = 0)": source, f"bicubic + blending  {psnr(bicubic, true):.2f} dB": bicubic,
               f"ours  {psnr(ours, true):.2f} dB": ours, "ground truth (t = 1/2)": true}
    width, height = CROP
    sheet = np.full((HEADER + len(CROPS) * (height + GAP), len(columns) * (width + GAP) + GAP, 3), INK, np.uint8)
    for column, (title, image) in enumerate(columns.items()):
        x = GAP + column * (width + GAP)
        label(sheet, title, (x + 4, HEADER - 13), 0.7)
        for row, (name, (left, top)) in enumerate(CROPS.items()):
            y = HEADER + row * (height + GAP)
            crop, true_crop = (p[top:top + height, left:left + width] for p in (image, true))
            sheet[y:y + height, x:x + width] = crop
            note = name if image is source else "" if image is true else f"{psnr(crop, true_crop):.2f} dB"
            label(sheet, note, (x + 9, y + height - 9), 0.6, (0, 0, 0))
            label(sheet, note, (x + 8, y + height - 10), 0.6)
    return sheet


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("output/demo"), help="where the result is")
    folder = parser.parse_args().folder
    true = {t: read_image(FOLDER / name) for t, name in TRUTHS.items()}
    ours = [read_image(folder / f"img{round(t * LAST)}.png") for t in true]
    if any(frame.shape != image.shape for frame, image in zip(ours, true.values())):
        raise UserError(f"{folder} does not hold the demo's result: run `make demo`")
    columns = {entry.title.lower(): baseline(name, list(true)) for name, entry in BASELINES.items()} | {"ours": ours}
    figures = [[psnr(frames[row], image) for frames in columns.values()] for row, image in enumerate(true.values())]
    print(f"{'PSNR in dB (Y)':16}" + "".join(f"{title:>22}" for title in columns))
    for title, row in zip([*(f"t = {t:g}" for t in true), "mean"], [*figures, np.mean(figures, 0)]):
        print(f"{title:16}" + "".join(f"{value:22.2f}" for value in row))
    target = folder / "comparison.png"
    middle = list(true).index(0.5)
    write_image(target, comparison(ours[middle], baseline("bicubic", [0.5])[0], true[0.5]))
    print(f"\nSide by side:  {target}")
    print(f"Each frame:    {folder / 'img0.png'} ... img{LAST}.png")
    if (folder / "demo.gif").exists():
        print(f"In motion:     {folder / 'demo.gif'}")


if __name__ == "__main__":
    cli.run(main)
