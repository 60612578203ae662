"""`benchmark.score` on flat frames, whose PSNR follows from the difference of two greys by a formula."""
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark import score
from common.errors import UserError


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def run_score(monkeypatch, tmp_path, *arguments) -> dict:
    monkeypatch.setattr(sys, "argv", ["score", "--pred", str(tmp_path / "pred"), "--gt", str(tmp_path / "gt"),
                                      "--json", str(tmp_path / "score.json"), *arguments])
    score.main()
    return json.loads((tmp_path / "score.json").read_text())


def test_score_in_either_rounding(monkeypatch, tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        write(tmp_path / "gt" / f"{name}.webp", np.full((16, 16, 3), 100, np.uint8))
    write(tmp_path / "pred" / "a/1.png", np.full((16, 16, 3), 104, np.uint8))
    write(tmp_path / "pred" / "a/2.png", np.full((16, 16, 3), 102 * 257 + 64, np.uint16))  # 102.249
    write(tmp_path / "pred" / "b/1.png", np.full((16, 16, 3), 100, np.uint8))

    def decibels(error):
        return 20 * math.log10(255 / (error * 219 / 255))

    result = run_score(monkeypatch, tmp_path)
    assert result["psnr"] == pytest.approx(np.mean([decibels(4), decibels(2 + 64 / 257)]), abs=1e-5)
    assert (result["frames"], result["infinite_frames"]) == (3, 1)
    assert result["psnr_rgb"] == pytest.approx(np.mean([20 * math.log10(255 / e) for e in (4, 2 + 64 / 257)]), abs=1e-5)
    assert run_score(monkeypatch, tmp_path, "--rounding", "8bit")["psnr"] == pytest.approx(
        np.mean([decibels(4), decibels(2)]), abs=1e-9)


def test_score_refuses_what_does_not_match(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="no folder"):
        run_score(monkeypatch, tmp_path)
    write(tmp_path / "gt" / "1.png", np.zeros((16, 16, 3), np.uint8))
    write(tmp_path / "gt" / "2.png", np.zeros((16, 16, 3), np.uint8))
    write(tmp_path / "pred" / "1.png", np.ones((16, 16, 3), np.uint8))
    with pytest.raises(UserError, match="1 true frames have no prediction .2"):
        run_score(monkeypatch, tmp_path)
    assert run_score(monkeypatch, tmp_path, "--common")["frames"] == 1
    write(tmp_path / "pred" / "2.png", np.ones((16, 20, 3), np.uint8))
    with pytest.raises(UserError, match="2.png is 20x16, but .*2.png is 16x16"):
        run_score(monkeypatch, tmp_path)
