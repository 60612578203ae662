"""What the pair script promises around its images: exit codes, nothing half-written, what it says at the end."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import inference_img
from common.errors import UserError
from media.image import read_image, write_image
from model import SAFA
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A folder with a small network and two images, the first with alpha; a function that runs the script there."""
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


def test_opaque_stays_opaque_and_earlier_images_are_named(pair, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "img9.png").write_bytes(b"longer run")
    (tmp_path / "out" / "holiday.png").write_bytes(b"mine")
    pair("--exp", "1", "--output", "out")
    said = capsys.readouterr().out
    assert "Wrote 3 images of 48x32 to out: img0.png ... img2.png" in said
    assert "1 from an earlier run" in said and "img9.png" in said and "holiday" not in said
    assert contents("out")["img9.png"] == b"longer run"
    for index in range(3):
        assert (read_image(tmp_path / "out" / f"img{index}.png")[..., 3] == 255).all()


def test_places_that_cannot_be_written_show_before_the_work(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(inference_img.InferenceSettings, "predictor", lambda self: pytest.fail("the work began"))
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "old" / "img1.png").mkdir(parents=True)
    for options in (("--output", "file"), ("--output", "file/below"), ("--output", "new", "--gif", "file/a.gif"),
                    ("--output", "new", "--mp4", "a.txt"), ("--output", "new", "--mp4", "."), ("--output", "old"),
                    ("--output", "x" * 300), ("--output", "new", "--gif", "x" * 300 + ".gif")):
        with pytest.raises(UserError):
            pair(*options)
    assert not (tmp_path / "new").exists()
    assert sorted(contents(tmp_path)) == ["a.png", "b.png", "file", "small.safetensors"]


def test_inputs_are_not_overwritten(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(inference_img.InferenceSettings, "predictor", lambda self: pytest.fail("the work began"))
    for old, new in (("a.png", "img0.png"), ("b.png", "img1.png")):
        (tmp_path / old).rename(tmp_path / new)
    Image.fromarray(np.zeros((16, 24), np.uint8)).save(tmp_path / "a.gif")
    (tmp_path / "link.gif").symlink_to("a.gif")
    before = contents(tmp_path)
    for options, message in ((("--img", "img0.png", "img1.png", "--output", "."), "img0.png is an input"),
                             (("--img", "a.gif", "a.gif", "--gif", "a.gif"), "a.gif is an input"),
                             (("--img", "link.gif", "link.gif", "--mp4", "./a.gif"), "a.gif is an input"),
                             (("--img", "img0.png", "img1.png", "--gif", "b.gif", "--mp4", "b.gif"), "written twice")):
        with pytest.raises(UserError, match=message):
            pair(*options)
    assert contents(tmp_path) == before


def test_what_is_replaced_is_said_or_refused(pair, tmp_path, capsys):
    pair("--exp", "0", "--output", "out", "--gif", "a.gif")
    assert "replacing" not in capsys.readouterr().out
    pair("--exp", "0", "--output", "out", "--gif", "a.gif")
    assert "Note: replacing what exists: out/img0.png ... a.gif\n" in capsys.readouterr().out
    before = contents("out")
    with pytest.raises(UserError, match="img0.png exists already .and 2 more"):
        pair("--exp", "0", "--output", "out", "--gif", "a.gif", "--overwrite", "no", "--upscale", "1")
    assert contents("out") == before


def test_a_colon_in_an_animation_s_name(pair, tmp_path):
    pair("--exp", "0", "--output", "out", "--mp4", "Alien:2.mp4")
    assert (tmp_path / "Alien:2.mp4").stat().st_size > 0


def test_profile_and_orientation_are_kept_or_spoken_of(pair, tmp_path, capsys):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274] = 6
    pixels = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    for name in ("c.png", "d.png"):
        pixels.save(name, icc_profile=profile, exif=exif)
    pair("--img", "c.png", "d.png", "--exp", "0", "--output", "out", "--gif", "a.gif")
    said = capsys.readouterr().out
    assert "images of 32x48" in said and "a.gif cannot hold" in said and "different" not in said
    with Image.open("out/img1.png") as image:
        assert image.info["icc_profile"] == profile and image.size == (32, 48)
    pixels.rotate(90, expand=True).save("e.png")
    pair("--img", "e.png", "d.png", "--exp", "0", "--output", "out")
    said = capsys.readouterr().out
    assert "different colour profiles" in said and "d.png's" in said
    with Image.open("out/img0.png") as image:
        assert image.info["icc_profile"] == profile


def test_animated_input_is_refused_with_the_reason(pair, tmp_path):
    frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "blue")]
    frames[0].save("c.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="c.webp: it is an animation of 2 frames"):
        pair("--img", "c.webp", "b.png", "--output", "out")
    assert not (tmp_path / "out").exists()


def test_every_option_has_its_help():
    for action in inference_img.build_parser()._actions:
        assert action.help, action.option_strings


def test_a_failure_half_way_leaves_the_earlier_run_whole(pair, tmp_path, monkeypatch):
    pair("--exp", "1", "--output", "out", "--gif", "out/a.gif")
    before = contents("out")
    written = []

    def fails_at_the_third(path, image, colour=None):
        written.append(path)
        if len(written) == 3:
            raise UserError("the disk is full")
        write_image(path, 255 - image)

    monkeypatch.setattr(inference_img, "write_image", fails_at_the_third)
    with pytest.raises(UserError, match="disk"):
        pair("--exp", "2", "--output", "out", "--gif", "out/a.gif")
    assert contents("out") == before
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []
