"""A run of a benchmark: gone on with, shared by processes, its files, its errors on the command line."""
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmark_files import blended_psnr, grey, make_video, nine_frames, run, save_tiny

from benchmark import gopro, vid4
from benchmark.methods import BaselineMethod
from benchmark.results import Records

ROOT = Path(__file__).resolve().parents[1]


def test_interrupted_run_goes_on(monkeypatch, tmp_path):
    arguments = ["--root", nine_frames(tmp_path), "--list", tmp_path / "list.txt"]
    whole = run(monkeypatch, tmp_path, gopro, *arguments)
    records = next((tmp_path / "out").glob("*/results.jsonl"))
    lines = records.read_text().splitlines(keepends=True)
    records.write_text(lines[0] + lines[1] + lines[2][:40])  # killed while writing the third
    predicted, predict = [], BaselineMethod.predict
    monkeypatch.setattr(BaselineMethod, "predict", lambda self, loaded: predicted.append(loaded.clip.name)
                        or predict(self, loaded))
    assert run(monkeypatch, tmp_path, gopro, *arguments) == whole
    assert predicted == ["b/0", "b/8"]
    assert run(monkeypatch, tmp_path, gopro, *arguments) == whole
    assert predicted == ["b/0", "b/8"]  # nothing was left to do
    assert run(monkeypatch, tmp_path, gopro, *arguments, "--fresh") == whole
    assert predicted[2:] == ["a/0", "a/8", "b/0", "b/8"]


def test_other_options_do_not_go_on_from_these_records(monkeypatch, tmp_path):
    make_video(tmp_path / "data" / "a", 3)
    for seed, cap in ((0, 1), (0, 4), (1, 1)):
        save_tiny(tmp_path / "weights.safetensors", seed)
        run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--model", tmp_path / "weights.safetensors",
            "--device", "cpu", "--scale_cap", cap)
    assert len(list((tmp_path / "out").glob("vid4-videoinr-safa-*"))) == 3


def test_other_code_and_libraries_do_not_go_on_from_these_records(monkeypatch, tmp_path):
    make_video(tmp_path / "data" / "a", 3)
    for folder in ("benchmark", "data", "media", "model"):
        shutil.copytree(ROOT / folder, tmp_path / "project" / folder, ignore=shutil.ignore_patterns("weights", "*.pyc"))
    monkeypatch.setattr("benchmark.protocol.PROJECT", tmp_path / "project")
    arguments = [vid4, "--root", tmp_path / "data"]
    run(monkeypatch, tmp_path, *arguments)
    changed = ("data/layers.py", "media/image.py", "media/video/colour.py", "benchmark/synthetic.py")
    for name in changed:
        with open(tmp_path / "project" / name, "a") as file:
            file.write("# changed\n")
        run(monkeypatch, tmp_path, *arguments)
    monkeypatch.setattr(cv2, "__version__", "another")
    run(monkeypatch, tmp_path, *arguments)
    assert len(list((tmp_path / "out").iterdir())) == 1 + len(changed) + 1


def test_a_clip_whose_files_changed_is_done_again(monkeypatch, tmp_path):
    for video in ("a", "b"):
        make_video(tmp_path / "data" / video, 3)
        (tmp_path / "lr" / video).mkdir(parents=True)
        for i in (0, 2):
            cv2.imwrite(str(tmp_path / "lr" / video / f"{i}.png"), np.full((8, 12, 3), grey(i), np.uint8))
    arguments = [vid4, "--root", tmp_path / "data", "--lr", tmp_path / "lr"]
    run(monkeypatch, tmp_path, *arguments)
    predicted, predict = [], BaselineMethod.predict
    monkeypatch.setattr(BaselineMethod, "predict", lambda self, loaded: predicted.append(loaded.clip.name)
                        or predict(self, loaded))
    cv2.imwrite(str(tmp_path / "data/a/1.png"), np.full((34, 50, 3), grey(4), np.uint8))
    result = run(monkeypatch, tmp_path, *arguments)
    assert predicted == ["a/0"] and [record["clip"] for record in result["per_clip"]] == ["a/0", "b/0"]
    assert [record["frames"][1]["psnr"] for record in result["per_clip"]] == pytest.approx(
        [blended_psnr(0, 2, 0.5, truth) for truth in (4, 1)], abs=1e-6)
    cv2.imwrite(str(tmp_path / "lr/b/0.png"), np.full((8, 12, 3), grey(0) + 4, np.uint8))
    psnr = run(monkeypatch, tmp_path, *arguments)["per_clip"][1]["frames"][0]["psnr"]
    assert predicted == ["a/0", "b/0"] and psnr == pytest.approx(20 * math.log10(255 / (4 * 219 / 255)), abs=1e-6)


def test_of_several_records_the_one_of_these_files_counts(tmp_path):
    """Whichever process wrote it: files are read in the order of their names."""
    records = Records(tmp_path)
    for rank in range(3):
        records.append({"clip": "a", "stamp": str(rank), "psnr": rank}, rank)
        records.append({"clip": f"b{rank}", "stamp": "x"}, rank)
    for rank in range(3):
        assert records.read({"a": str(rank), "b1": "x"}) == {"a": {"clip": "a", "psnr": rank}, "b1": {"clip": "b1"}}
    assert records.read({"a": "3"}) == {}


def test_saved_pictures_and_their_absence(monkeypatch, tmp_path):
    make_video(tmp_path / "data" / "a", 5)
    arguments = [vid4, "--root", tmp_path / "data", "--protocol", "zsm", "--save_images"]
    run(monkeypatch, tmp_path, *arguments)
    pictures = sorted((tmp_path / "out").glob("*/images/a/*.png"))
    assert [p.stem for p in pictures] == ["0", "1", "2", "3", "4"]
    assert cv2.imread(str(pictures[3]))[5, 5].tolist() == [np.rint((grey(2) + grey(4)) / 2)] * 3
    pictures[3].unlink()
    run(monkeypatch, tmp_path, *arguments)
    assert pictures[3].is_file()


def test_two_processes_count_each_clip_once(monkeypatch, tmp_path):
    arguments = ["--root", str(nine_frames(tmp_path)), "--list", str(tmp_path / "list.txt"), "--method", "bicubic"]
    alone = run(monkeypatch, tmp_path, gopro, *arguments)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
               "benchmark.gopro", *arguments, "--output", str(tmp_path / "two"),
               "--json", str(tmp_path / "2.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "2.json").read_text())
    assert result["per_clip"] == alone["per_clip"] and result["figures"] == alone["figures"]
    files = {p.name: [json.loads(line)["clip"] for line in p.read_text().splitlines()]
             for p in (tmp_path / "two").glob("*/results*.jsonl")}
    assert files == {"results.jsonl": ["a/0", "a/8"], "results.1.jsonl": ["b/0", "b/8"]}
    assert done.stdout.count("protocol videoinr") == 1


def test_exit_code_and_one_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "benchmark.vid4", "--root", str(tmp_path / "none")], cwd=ROOT,
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
