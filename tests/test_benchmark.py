"""The protocols: which clips and frames of a dataset are scored against what, and how their means are formed."""
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmark_files import blended_psnr, grey, make_septuplets, make_video, mean, nine_frames, psnr_of, run

from benchmark import adobe240, gopro, vid4, vimeo90k
from common.errors import UserError

VID4 = Path(__file__).resolve().parents[2] / "shared" / "Vid4"


@pytest.mark.parametrize("script", [gopro, adobe240])
def test_nine_frame_clips(monkeypatch, tmp_path, script):
    result = run(monkeypatch, tmp_path, script, "--root", nine_frames(tmp_path), "--list", tmp_path / "list.txt")
    expected = {}
    for video, shift in (("a", 0), ("b", 3)):
        for start in (0, 8):
            s = start + shift
            expected[f"{video}/{start}"] = {k: blended_psnr(s, s + 8, k / 8, s + k) for k in range(8)}
    assert {r["clip"]: psnr_of(r) for r in result["per_clip"]} == {
        name: pytest.approx(values, abs=1e-6) for name, values in expected.items()}
    assert (result["clips"], result["frames"]) == (4, 32)
    assert result["psnr"] == pytest.approx(mean([mean(v.values()) for v in expected.values()]), abs=1e-6)
    assert result["figures"]["center"]["psnr"] == pytest.approx(mean([v[4] for v in expected.values()]), abs=1e-6)
    assert result["figures"]["center"]["frames"] == 4


@pytest.mark.parametrize("protocol", ["videoinr", "zsm"])
def test_vid4_protocols(monkeypatch, tmp_path, protocol):
    make_video(tmp_path / "data" / "GT" / "even", 6)  # frame 5 has no successor to interpolate with
    make_video(tmp_path / "data" / "GT" / "odd", 9, shift=2)
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--protocol", protocol)
    zsm = protocol == "zsm"
    between = {"even": [blended_psnr(i, i + 2, 0.5, i + 1, zsm) for i in (0, 2)],
               "odd": [blended_psnr(i + 2, i + 4, 0.5, i + 3, zsm) for i in (0, 2, 4, 6)]}
    # Frames that went in are exact here, so they are counted and left out.
    assert (result["clips"], result["frames"], result["infinite_frames"]) == ((6, 14, 8) if zsm else (6, 12, 6))
    over = [mean(v) for v in between.values()] if zsm else between["even"] + between["odd"]
    assert result["psnr"] == pytest.approx(mean(over), abs=1e-6)
    assert [f["index"] for r in result["per_clip"] for f in r["frames"]] == (
        [*range(5), *range(9)] if zsm else [*range(4), *range(8)])


@pytest.mark.parametrize("layout", ["HR/{}", "{}/hr", "GT/{}", "{}", "{}/GT"])
def test_layouts_of_vid4(monkeypatch, tmp_path, layout):
    """As people have it: with the reduced frames beside the true ones, per set or per video."""
    for video in ("city", "walk"):
        make_video(tmp_path / "data" / layout.format(video), 3)
        if layout != "{}":
            low = layout.replace("HR", "LR").replace("hr", "lr").replace("GT", "LR").format(video)
            make_video(tmp_path / "data" / low, 3, shift=1)
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data")
    assert [f["frame"] for r in result["per_clip"] for f in r["frames"]] == ["city/0", "city/1", "walk/0", "walk/1"]
    assert result["figures"]["frame 1"]["psnr"] == pytest.approx(blended_psnr(0, 2, 0.5, 1), abs=1e-6)


def test_vimeo_septuplets_and_black_clips(monkeypatch, tmp_path):
    root = tmp_path / "data"
    make_septuplets(root, "00001/0001", "00001/0002", "00010/0003")
    for path in (root / "sequences/00001/0002").iterdir():
        cv2.imwrite(str(path), np.zeros((34, 50, 3), np.uint8))
    result = run(monkeypatch, tmp_path, vimeo90k, "--root", root, "--list", "fast")
    expected = [mean([blended_psnr(s + i, s + i + 2, 0.5, s + i + 1, True) for i in (0, 2, 4)]) for s in (0, 2)]
    assert result["psnr"] == pytest.approx(mean(expected), abs=1e-6)
    assert (result["clips"], result["frames"], result["infinite_clips"]) == (3, 21, 1)
    assert result["ssim"] < 1 and result["protocol"]["expected_clips"] == 1225
    text = (tmp_path / "result.json").read_text()
    assert "Infinity" not in text and "NaN" not in text


def test_only_black_clips_have_no_mean(monkeypatch, tmp_path):
    root = tmp_path / "data"
    make_septuplets(root, "00001/0001")
    for path in (root / "sequences/00001/0001").iterdir():
        cv2.imwrite(str(path), np.zeros((34, 50, 3), np.uint8))
    result = run(monkeypatch, tmp_path, vimeo90k, "--root", root, "--report", tmp_path / "report")
    assert result["psnr"] is None and result["infinite_clips"] == 1
    assert (tmp_path / "report" / "index.html").is_file()


def test_published_figures_are_those_of_the_whole_set(monkeypatch, tmp_path, capsys):
    """Of a part of it they stand there with a note; of clips of one's own they do not stand there."""
    monkeypatch.setattr(adobe240, "VIDEOS", ["a", "b"])
    (tmp_path / "fast.txt").write_text("00001/0001\n")
    make_septuplets(tmp_path / "vimeo", "00001/0001", "00001/0002")
    root = nine_frames(tmp_path)
    (tmp_path / "a.txt").write_text("a\n")
    adobe, vimeo = [adobe240, "--root", root], [vimeo90k, "--root", tmp_path / "vimeo"]
    for arguments, printed, note in ((adobe, True, False),
                                     ([*adobe, "--limit", 3], True, True),
                                     ([*adobe, "--list", tmp_path / "list.txt"], True, False),
                                     ([*adobe, "--list", tmp_path / "a.txt"], False, False),
                                     (vimeo, True, True),
                                     ([*vimeo, "--list", tmp_path / "fast.txt"], False, False)):
        run(monkeypatch, tmp_path, *arguments)
        text = capsys.readouterr().out
        assert ("(its paper)" in text, "do not compare" in text) == (printed, note), arguments


def test_low_resolution_frames_from_a_folder(monkeypatch, tmp_path):
    make_video(tmp_path / "data" / "a", 3)
    (tmp_path / "lr" / "a").mkdir(parents=True)
    for i in (0, 2):
        cv2.imwrite(str(tmp_path / "lr" / "a" / f"{i}.bmp"), np.full((8, 12, 3), grey(i) + 4, np.uint8))
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--lr", tmp_path / "lr")
    off = 20 * math.log10(255 / (4 * 219 / 255))
    assert result["figures"]["frame 0"]["psnr"] == pytest.approx(off, abs=1e-6)
    cv2.imwrite(str(tmp_path / "lr" / "a" / "2.bmp"), np.zeros((9, 12, 3), np.uint8))
    with pytest.raises(UserError, match="2.bmp is 12x9"):
        run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--lr", tmp_path / "lr", "--fresh")


def test_bad_input_is_explained(monkeypatch, tmp_path):
    root = nine_frames(tmp_path)
    make_septuplets(tmp_path / "vimeo", "00001/0001")
    make_video(tmp_path / "short" / "a", 2)
    make_video(tmp_path / "sizes" / "a", 3)
    cv2.imwrite(str(tmp_path / "sizes" / "a" / "1.png"), np.zeros((40, 50, 3), np.uint8))
    make_video(tmp_path / "broken" / "a", 3)
    (tmp_path / "broken" / "a" / "2.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "vimeo.txt").write_text("00001/0001\n00001/0009\n")
    cases = [
        (vid4, ["--root", tmp_path / "none"], r"no dataset at .*none: the folder should hold GT/<video>"),
        (vid4, ["--root", tmp_path / "empty"], "no videos in .*empty: the folder should hold GT"),
        (vid4, ["--root", tmp_path / "short"], "too few frames: 2, at least 3"),
        (vid4, ["--root", tmp_path / "sizes"], "1.png is 48x40 .* other frames of its clip 48x32"),
        (vid4, ["--root", tmp_path / "broken"], "2.png: not an image"),
        (vid4, ["--root", tmp_path / "broken", "--lr", tmp_path / "none"], "no folder .*none"),
        (gopro, ["--root", root], "no videos in .*GOPRO_Large_all unpacks .*seungjunnah"),
        (gopro, ["--root", root, "--list", tmp_path / "none.txt"], "cannot read the list .*none.txt"),
        (adobe240, ["--root", root, "--list", tmp_path / "vimeo.txt"], "no videos in .*DeepVideoDeblurring"),
        (vimeo90k, ["--root", root], "missing: .*Zooming-Slow-Mo"),
        (vimeo90k, ["--root", tmp_path / "vimeo", "--list", "slow"], "slow_testset.txt is missing: .*Zooming-Slow-Mo"),
        (vimeo90k, ["--root", tmp_path / "vimeo", "--list", tmp_path / "vimeo.txt"], "names 1 of 2 .*00001/0009"),
        (gopro, ["--root", root, "--list", tmp_path / "list.txt", "--method", "network",
                 "--model", tmp_path / "none.pkl"], "none.pkl"),
    ]
    for script, arguments, message in cases:
        with pytest.raises(UserError, match=message):
            run(monkeypatch, tmp_path, script, *arguments)


@pytest.mark.slow
@pytest.mark.skipif(not VID4.is_dir(), reason="the Vid4 benchmark is not here")
def test_bicubic_on_vid4(monkeypatch, tmp_path):
    """The published baseline: 23.384 dB over 83 clips, 23.882 at frames that went in and 22.885 between."""
    result = run(monkeypatch, tmp_path, vid4, "--root", VID4, "--protocol", "videoinr")
    assert (result["clips"], result["frames"]) == (83, 166)
    assert result["psnr"] == pytest.approx(23.384, abs=5e-4)
    assert result["figures"]["frame 0"]["psnr"] == pytest.approx(23.882, abs=5e-4)
    assert result["figures"]["frame 1"]["psnr"] == pytest.approx(22.885, abs=5e-4)
