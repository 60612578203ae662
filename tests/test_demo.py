"""The demo: its truths are what the script draws, its pair is made from them, and its report is right."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from common import cli
from demo import app, show
from demo.make_demo import FOLDER, PAIR, TRUTHS, reduced
from demo.paint import HEIGHT, WIDTH, S
from demo.railcar import LEFT, RIGHT
from demo.scene import Layer, build
from media.image import read_image, write_image


def test_pair_is_the_reduced_truth_and_small():
    for t, name in PAIR.items():
        pair = read_image(FOLDER / name)
        assert pair.shape == (180, 320, 3)
        np.testing.assert_array_equal(pair, reduced(read_image(FOLDER / TRUTHS[t])))
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 4e6


def at_picture_size(picture):
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def test_truths_show_the_moving_layers_where_the_script_puts_them():
    """Drawing the whole scene takes too long here: the fast and the turning layer, where nothing hides them."""
    truths = {t: read_image(FOLDER / name).astype(np.float32) for t, name in TRUTHS.items()}
    black = np.zeros((HEIGHT * S, WIDTH * S, 3), np.float32)
    sails, train = build(["sails", "train"])
    train_area, sails_area = (LEFT, 432, RIGHT + train.shift[0], 460), (750, 70, 1100, 420)
    for layer, (left, top, right, bottom) in ((train, train_area), (sails, sails_area)):
        shape = Layer(np.dstack([layer.canvas[..., 3]] * 4), layer.shift, layer.turn, layer.centre)
        for t, other in ((0.25, 0.75), (1.0, 0.0)):
            drawn = at_picture_size(layer.over(black, t)) * 255
            solid = at_picture_size(shape.over(black, t))[..., 0] > 0.999
            seen = np.zeros_like(solid)
            seen[top:bottom, left:right] = solid[top:bottom, left:right]
            assert seen.sum() > 3000
            assert np.abs(drawn - truths[t])[seen].mean() < 4
            assert np.abs(drawn - truths[other])[seen].mean() > 10  # another moment must not fit


def test_report_and_comparison(tmp_path, monkeypatch, capsys):
    """With the truth as the result at t = 1/4 and 1/2 off by a known error, the figures are known."""
    for index, frame in enumerate(show.baseline("bicubic", [index / 8 for index in range(9)])):
        write_image(tmp_path / f"img{index}.png", frame)
    truth = read_image(FOLDER / TRUTHS[0.5])
    off = np.where(truth < 128, truth + 4, truth - 4).astype(np.uint8)
    write_image(tmp_path / "img4.png", off)
    monkeypatch.setattr("sys.argv", ["show.py", str(tmp_path)])
    show.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[2]: [float(value) for value in line.split()[3:]] for line in lines if line.startswith("t = ")}
    assert list(rows) == ["0", "0.25", "0.5", "0.75", "1"]
    assert all(blended == ours for t, (blended, _, ours) in rows.items() if t != "0.5")
    assert all(flow >= blended for blended, flow, _ in rows.values())  # the demo moves
    weights = np.array([24.966, 128.553, 65.481]) / 255  # B, G, R
    error = ((off.astype(float) - truth) @ weights) ** 2
    assert abs(rows["0.5"][2] - 10 * np.log10(255**2 / error.mean())) < 0.006
    assert str(tmp_path / "comparison.png") in "\n".join(lines)
    sheet = read_image(tmp_path / "comparison.png")
    left, top = show.CROPS["fast"]
    x = show.GAP + 3 * (show.CROP[0] + show.GAP)
    y = show.HEADER + show.CROP[1] + show.GAP
    np.testing.assert_array_equal(sheet[y + 20:y + 100, x:x + 400], truth[top + 20:top + 100, left:left + 400])


def test_report_without_a_result_is_a_user_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["show.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.run(show.main)
    assert stop.value.code == 2
    assert "img0.png" in capsys.readouterr().err


def test_the_file_of_the_web_page_keeps_the_colour_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 6), "teal").save(tmp_path / name, icc_profile=profile)
    predictor = SimpleNamespace(encode=lambda frame, upscale: frame, between=lambda first, *_: [first])
    _, _, file = app.between(predictor, str(tmp_path / "a.png"), str(tmp_path / "b.png"), 0.5, 1, tmp_path)
    with Image.open(file) as image:
        assert image.info["icc_profile"] == profile
