"""What the pair script promises around its pictures: exit codes, nothing half-written, what it says at the end."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import inference_img
from common.errors import UserError
from media.image import read_image, write_image
from model import SAFA
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A folder with a small network and two pictures, the first with alpha; a function that runs the script there."""
    torch.manual_seed(0)
    save_model(SAFA(channels=8, blocks=2), tmp_path / "small.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    write_image(tmp_path / "a.png", pixels)
    write_image(tmp_path / "b.png", np.roll(pixels, 2, 1)[..., :3])
    monkeypatch.chdir(tmp_path)

    def run(*options):
        arguments = ["--img", "a.png", "b.png", "--model", "small.safetensors", "--device", "cpu", "--upscale", "2"]
        monkeypatch.setattr("sys.argv", ["inference_img.py", *arguments, *options])
        inference_img.main()

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_process_ends_with_code_2_and_one_line(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    result = subprocess.run([sys.executable, "inference_img.py", "--img", tmp_path / "text.png", tmp_path / "text.png",
                             "--output", tmp_path / "out"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and "text.png" in result.stderr
    assert not (tmp_path / "out").exists()


def test_opaque_stays_opaque_and_earlier_pictures_are_named(pair, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "img9.png").write_bytes(b"longer run")
    (tmp_path / "out" / "holiday.png").write_bytes(b"mine")
    pair("--exp", "1", "--output", "out")
    said = capsys.readouterr().out
    assert "Wrote 3 pictures of 48x32 to out: img0.png ... img2.png" in said
    assert "1 from an earlier run" in said and "img9.png" in said and "holiday" not in said
    assert contents("out")["img9.png"] == b"longer run"
    for index in range(3):
        assert (read_image(tmp_path / "out" / f"img{index}.png")[..., 3] == 255).all()


def test_places_that_cannot_be_written_show_before_the_work(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(inference_img.InferenceSettings, "predictor", lambda self: pytest.fail("the work began"))
    (tmp_path / "file").write_text("in the way")
    for options in (("--output", "file"), ("--output", "file/below"), ("--output", "new", "--gif", "file/a.gif"),
                    ("--output", "new", "--mp4", "a.txt"), ("--output", "new", "--mp4", ".")):
        with pytest.raises(UserError):
            pair(*options)
    assert not (tmp_path / "new").exists()
    assert sorted(contents(tmp_path)) == ["a.png", "b.png", "file", "small.safetensors"]


def test_inputs_are_not_overwritten(pair, tmp_path):
    for old, new in (("a.png", "img0.png"), ("b.png", "img1.png")):
        (tmp_path / old).rename(tmp_path / new)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="is an input"):
        pair("--img", "img0.png", "img1.png", "--output", ".")
    assert contents(tmp_path) == before


def test_a_failure_half_way_leaves_the_earlier_run_whole(pair, tmp_path, monkeypatch):
    pair("--exp", "1", "--output", "out", "--gif", "out/a.gif")
    before = contents("out")
    written = []

    def fails_at_the_third(path, picture):
        written.append(path)
        if len(written) == 3:
            raise UserError("the disk is full")
        write_image(path, 255 - picture)

    monkeypatch.setattr(inference_img, "write_image", fails_at_the_third)
    with pytest.raises(UserError, match="disk"):
        pair("--exp", "2", "--output", "out", "--gif", "out/a.gif")
    assert contents("out") == before
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []
