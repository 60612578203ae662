"""Datasets whose figures follow from the frame numbers by a formula, and a way to run a benchmark on them.

Every frame is a flat grey, so reduction, enlargement and blending are exact, and the PSNR of a wrong frame, a
wrong timestep or a wrong rounding is another number.
"""
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from model import SAFA
from model.checkpoint import save_model


def grey(index: int) -> int:
    return (index * index * 7 + 31 * index) % 239 + 5


def make_video(folder: Path, count: int, name: str = "{}.png", shift: int = 0) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / name.format(i)), np.full((34, 50, 3), grey(i + shift), np.uint8))


def blended_psnr(first: int, second: int, timestep: float, truth: int, rounded: bool = False) -> float | None:
    """PSNR on Y of the blend of two greys against a third; None where they are the same."""
    blend = (1 - timestep) * grey(first) + timestep * grey(second)
    error = (np.rint(blend) if rounded else blend) - grey(truth)
    return None if error == 0 else 20 * math.log10(255 / (abs(error) * 219 / 255))


def mean(values):
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite)


def run(monkeypatch, tmp_path, script, *arguments) -> dict:
    """Run a benchmark's main here; give what it wrote as JSON."""
    arguments = [str(a) for a in arguments]
    if "--method" not in arguments and "--model" not in arguments:
        arguments += ["--method", "bicubic"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments, "--output", str(tmp_path / "out"),
                                      "--json", str(tmp_path / "result.json")])
    script.main()
    return json.loads((tmp_path / "result.json").read_text())


def psnr_of(record: dict) -> dict[int, float | None]:
    return {frame["position"]: frame["psnr"] for frame in record["frames"]}


def nine_frames(tmp_path: Path) -> Path:
    """Two videos of 17 and 20 frames: two clips each. Frames 9, 10, 11 ... only sort right in natural order."""
    root = tmp_path / "data"
    make_video(root / "test" / "a", 17)
    make_video(root / "test" / "b", 20, shift=3)
    (tmp_path / "list.txt").write_text("a\nb\n")
    return root


def make_septuplets(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        make_video(root / "sequences" / name, 7, "im{}.png", shift=number)
    (root / "sep_fast_testset.txt").write_text("\n".join(names) + "\n\n")


def save_tiny(path: Path, seed: int = 0) -> SAFA:
    torch.manual_seed(seed)
    model = SAFA(channels=8, blocks=2).eval()
    save_model(model, path)
    return model
