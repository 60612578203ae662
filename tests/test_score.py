"""`benchmark.score` on flat frames, whose PSNR follows from the difference of two greys by a formula."""
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark import compare, score, vid4
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


def test_scored_frames_are_compared_with_a_benchmark(monkeypatch, tmp_path, capsys):
    """Frames that vid4 saved, scored again and compared with vid4's own result: no difference, frame by frame."""
    random = np.random.default_rng(0)
    for video, count in (("a", 5), ("b", 7)):
        for i in range(count):
            frame = cv2.blur(random.integers(0, 256, (32, 48, 3), np.uint8), (5, 5))
            write(tmp_path / "gt" / video / f"{i}.png", frame)
    monkeypatch.setattr(sys, "argv", ["vid4", "--root", str(tmp_path / "gt"), "--protocol", "zsm", "--method", "flow",
                                      "--metrics", "tof", "psnr_rgb", "--save_images", "--output",
                                      str(tmp_path / "out"), "--json", str(tmp_path / "vid4.json")])
    vid4.main()
    next((tmp_path / "out").glob("*/images")).rename(tmp_path / "pred")
    scored = run_score(monkeypatch, tmp_path, "--name", "theirs", "--metrics", "tof", "--common",
                       "--csv", str(tmp_path / "frames.csv"))
    assert scored["method"] == "theirs" and len((tmp_path / "frames.csv").read_text().splitlines()) == 1 + 12
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "vid4.json"), str(tmp_path / "score.json"),
                                      "--json", str(tmp_path / "compared.json"), "--report", str(tmp_path / "page")])
    compare.main()
    differences = json.loads((tmp_path / "compared.json").read_text())["differences"]["theirs"]
    # tOF is not measured across the clips of vid4, but along the folder: that alone may differ.
    assert {pair["metric"]: (pair["mean"], pair["clips"]) for pair in differences if pair["metric"] != "tof"} == {
        name: (pytest.approx(0, abs=1e-9), 5) for name in ("psnr", "ssim", "psnr_rgb")}
    printed = capsys.readouterr().out
    assert "Bicubic + DIS flow minus theirs" in printed and "rounding differs" in printed
    assert "theirs" in (tmp_path / "page" / "index.html").read_text()
