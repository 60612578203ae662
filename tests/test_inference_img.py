"""Pair inference as a user types it: images in, images of the same kind out, and one line for mistakes."""
import os
import sys

import av
import cv2
import numpy as np
import pytest
import torch

import inference_img
from common.errors import UserError
from media.exr import read_exr, write_exr
from media.image import read_image, write_image
from model import SAFA
from model.checkpoint import save_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(SAFA(channels=8, blocks=2), path)
    return str(path)


def smooth_image(channels=3, dtype=np.uint8, seed=0):
    smooth = np.random.default_rng(seed).random((4, 6, channels))
    smooth = cv2.resize(smooth, (24, 16), interpolation=cv2.INTER_LINEAR).reshape(16, 24, channels)
    return (smooth * {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]).astype(dtype)


def run(monkeypatch, weights, *options):
    monkeypatch.setattr(sys, "argv", ["inference_img.py", "--model", weights, "--device", "cpu", *map(str, options)])
    inference_img.main()


def test_names_order_and_animations(monkeypatch, weights, tmp_path, capsys):
    for index in (0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), smooth_image(seed=index))
    pair = [tmp_path / "0.png", tmp_path / "1.png"]
    run(monkeypatch, weights, "--img", *pair, "--exp", 2, "--output", tmp_path / "a", "--mp4", tmp_path / "a.mp4",
        "--gif", tmp_path / "a.gif", "--visualize", "--upscale", 2)
    assert sorted(os.listdir(tmp_path / "a")) == sorted([f"img{i}.png" for i in range(5)]
                                                        + [f"visual{i}.png" for i in range(5)])
    for name in ("a.mp4", "a.gif"):
        with av.open(str(tmp_path / name)) as file:
            frames = [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]
        assert len(frames) == 5 and frames[0].shape == (32, 48, 3)
    run(monkeypatch, weights, "--img", *pair, "--ratio", 0.5, 0.25, "--output", tmp_path / "b", "--upscale", 2)
    by_ratio = [cv2.imread(str(tmp_path / "b" / f"img{i}.png")) for i in range(4)]
    by_exp = [cv2.imread(str(tmp_path / "a" / f"img{i}.png")) for i in (0, 2, 1, 4)]
    assert all(np.array_equal(one, other) for one, other in zip(by_ratio, by_exp))
    assert "Wrote 4 images of 48x32" in capsys.readouterr().out


@pytest.mark.parametrize("channels,dtype", [(1, np.uint8), (4, np.uint8), (3, np.uint16), (1, np.uint16)])
def test_kinds_of_png_come_back(monkeypatch, weights, tmp_path, channels, dtype):
    for index in (0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), smooth_image(channels, dtype, index))
    run(monkeypatch, weights, "--img", tmp_path / "0.png", tmp_path / "1.png", "--exp", 0, "--output", tmp_path / "out",
        "--upscale", 1)
    result = cv2.imread(str(tmp_path / "out" / "img0.png"), cv2.IMREAD_UNCHANGED)
    assert result.dtype == dtype and result.shape == ((16, 24) if channels == 1 else (16, 24, channels))


def test_exr_stays_linear_and_beyond_white(monkeypatch, weights, tmp_path):
    bright = smooth_image(dtype=np.float32) * 40
    for index in (0, 1):
        write_exr(tmp_path / f"{index}.exr", bright)
    assert np.abs(read_exr(tmp_path / "0.exr")[..., :3] - bright).max() < 0.02  # half floats
    run(monkeypatch, weights, "--img", tmp_path / "0.exr", tmp_path / "1.exr", "--exp", 0, "--output", tmp_path / "out",
        "--upscale", 1)
    result = read_exr(tmp_path / "out" / "img0.exr")
    assert result.max() > 5 and np.isfinite(result).all()


def test_written_images_are_read_back(tmp_path):
    for channels, dtype in ((3, np.uint8), (4, np.uint16), (1, np.uint8)):
        image = smooth_image(channels, dtype)
        write_image(tmp_path / "p.png", image)
        assert np.array_equal(read_image(tmp_path / "p.png").reshape(image.shape), image)


def test_mistakes_are_one_line_and_touch_nothing(monkeypatch, weights, tmp_path):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", smooth_image())
    cv2.imwrite("b.png", smooth_image(seed=1))
    cv2.imwrite("other.png", smooth_image()[:8])
    (tmp_path / "text.png").write_text("no image")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "broken.safetensors").write_text("no weights")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "img0.png").write_bytes(whole)
    (tmp_path / "file").write_text("in the way")
    good = ("--img", "a.png", "b.png", "--output", "out")
    for options, word in ((("--img", "a.png", "gone.png"), "gone.png"), (("--img", "a.png", "text.png"), "text.png"),
                          (("--img", "cut.png", "b.png"), "cut.png"), (("--img", "a.png", "other.png"), "24x16"),
                          (("--img", "a.png"), "2 arguments"), ((*good, "--ratio", "1.5"), "1.5"),
                          ((*good, "--ratio", "nan"), "nan"), ((*good, "--exp", "-1"), "-1"),
                          ((*good, "--model", "broken.safetensors"), "broken.safetensors"),
                          (("--img", "a.png", "b.png", "--output", "file"), "file")):
        with pytest.raises(UserError, match=word):
            run(monkeypatch, weights, "--output", "out", *options)
    assert os.listdir("out") == ["img0.png"] and (tmp_path / "out" / "img0.png").read_bytes() == whole
