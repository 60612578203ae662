"""Compare the demo's result with the true frames, and with what costs nothing: bicubic enlargement and blending.

    python3 inference_img.py --img demo/i0.png demo/i1.png --exp 3 --output output/demo
    python3 -m demo.show output/demo
"""
from pathlib import Path

import numpy as np
import torch

from benchmark.baseline import bicubic_blend
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


def blended(t: float) -> np.ndarray:
    """The baseline at time `t`: both inputs enlarged with OpenCV's bicubic, mixed by their distance in time."""
    first, second = (read_image(FOLDER / name).astype(np.float32) for name in PAIR.values())
    mixed = bicubic_blend(first, second, t, first.shape[0] * 4, first.shape[1] * 4)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB on Y of two 8-bit BGR pictures."""
    tensors = [torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None] for x in (picture, truth)]
    return psnr_y(*tensors).item()


def comparison(ours: np.ndarray, bicubic: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Crops of the first input, the baseline, the result and the truth side by side, with their PSNR."""
    source = read_image(FOLDER / PAIR[0.0]).repeat(4, 0).repeat(4, 1)
    columns = {"input (t = 0)": source, f"bicubic + blending  {psnr(bicubic, truth):.2f} dB": bicubic,
               f"ours  {psnr(ours, truth):.2f} dB": ours, "truth (t = 1/2)": truth}
    width, height = CROP
    sheet = np.full((HEADER + len(CROPS) * (height + GAP), len(columns) * (width + GAP) + GAP, 3), INK, np.uint8)
    for column, (title, picture) in enumerate(columns.items()):
        x = GAP + column * (width + GAP)
        label(sheet, title, (x + 4, HEADER - 13), 0.7)
        for row, (name, (left, top)) in enumerate(CROPS.items()):
            y = HEADER + row * (height + GAP)
            crop, true = (p[top:top + height, left:left + width] for p in (picture, truth))
            sheet[y:y + height, x:x + width] = crop
            note = name if picture is source else "" if picture is truth else f"{psnr(crop, true):.2f} dB"
            label(sheet, note, (x + 9, y + height - 9), 0.6, (0, 0, 0))
            label(sheet, note, (x + 8, y + height - 10), 0.6)
    return sheet


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("output/demo"), help="where the result is")
    folder = parser.parse_args().folder
    print("PSNR in dB (Y)    bicubic + blending     ours")
    pictures = {}
    for t, name in TRUTHS.items():
        truth, ours = read_image(FOLDER / name), read_image(folder / f"img{round(t * LAST)}.png")
        if ours.shape != truth.shape:
            raise UserError(f"{folder} does not hold the demo's result: run `make demo`")
        pictures[t] = ours, blended(t), truth
        print(f"t = {t:<4g}          {psnr(pictures[t][1], truth):18.2f} {psnr(ours, truth):8.2f}")
    means = [np.mean([psnr(picture[i], picture[2]) for picture in pictures.values()]) for i in (1, 0)]
    print(f"mean              {means[0]:18.2f} {means[1]:8.2f}")
    target = folder / "comparison.png"
    write_image(target, comparison(*pictures[0.5]))
    print(f"\nSide by side:  {target}")
    print(f"Each frame:    {folder / 'img0.png'} ... img{LAST}.png")
    if (folder / "demo.gif").exists():
        print(f"In motion:     {folder / 'demo.gif'}")


if __name__ == "__main__":
    cli.run(main)
