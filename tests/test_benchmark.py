"""The protocols on datasets made so that the figures follow from the frame numbers by a formula.

Every frame is a flat grey, so reduction, enlargement and blending are exact, and the PSNR of a wrong frame, a
wrong timestep or a wrong rounding is another number.
"""
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark import adobe240, gopro, vid4, vimeo90k
from benchmark.clips import load_clip, sliding_clips
from benchmark.methods import Bicubic, Network
from common.errors import UserError
from media.image import list_images
from media.resize import reduce_bicubic
from model import SAFA, Predictor
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]
VID4 = ROOT.parent / "shared" / "Vid4"


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


@pytest.fixture
def nine_frames(tmp_path):
    """Two videos of 17 and 20 frames: two clips each. Frames 9, 10, 11 ... only sort right in natural order."""
    root = tmp_path / "data"
    make_video(root / "test" / "a", 17)
    make_video(root / "test" / "b", 20, shift=3)
    (tmp_path / "list.txt").write_text("a\nb\n")
    return root


@pytest.mark.parametrize("script", [gopro, adobe240])
def test_nine_frame_clips(monkeypatch, tmp_path, nine_frames, script):
    result = run(monkeypatch, tmp_path, script, "--root", nine_frames, "--list", tmp_path / "list.txt")
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


def make_septuplets(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        make_video(root / "sequences" / name, 7, "im{}.png", shift=number)
    (root / "sep_fast_testset.txt").write_text("\n".join(names) + "\n\n")


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


def test_interrupted_run_goes_on(monkeypatch, tmp_path, nine_frames):
    arguments = ["--root", nine_frames, "--list", tmp_path / "list.txt"]
    whole = run(monkeypatch, tmp_path, gopro, *arguments)
    records = next((tmp_path / "out").glob("*/results.jsonl"))
    lines = records.read_text().splitlines(keepends=True)
    records.write_text(lines[0] + lines[1] + lines[2][:40])  # killed while writing the third
    predicted, predict = [], Bicubic.predict
    monkeypatch.setattr(Bicubic, "predict", lambda self, loaded: predicted.append(loaded.clip.name)
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


def test_two_processes_count_each_clip_once(monkeypatch, tmp_path, nine_frames):
    arguments = ["--root", str(nine_frames), "--list", str(tmp_path / "list.txt"), "--method", "bicubic"]
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


def save_tiny(path: Path, seed: int = 0) -> SAFA:
    import torch
    torch.manual_seed(seed)
    model = SAFA(channels=8, blocks=2).eval()
    save_model(model, path)
    return model


def test_network_equals_the_predictor_users_call(monkeypatch, tmp_path):
    """zsm figures are those of `Predictor.interpolate` with the 8-bit LR frames; every frame is encoded once."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    frames = [cv2.GaussianBlur(random.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 2) for _ in range(5)]
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame)
    predictor = Predictor(save_tiny(tmp_path / "w.safetensors"), device="cpu")
    low = [np.clip(np.rint(reduce_bicubic(f)), 0, 255).astype(np.uint8)
           for f in frames]
    expected = (predictor.interpolate(low[0], low[2], [0, 0.5]) + predictor.interpolate(low[2], low[4], [0, 0.5, 1]))
    encoded, encode = [], Predictor.encode
    monkeypatch.setattr(Predictor, "encode", lambda self, *a, **k: encoded.append(1) or encode(self, *a, **k))
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--protocol", "zsm", "--device", "cpu",
                 "--model", tmp_path / "w.safetensors", "--save_images")
    assert len(encoded) == 3
    weights = np.array([24.966, 128.553, 65.481])
    for i, record in enumerate(f for r in result["per_clip"] for f in r["frames"]):
        saved = cv2.imread(str(next((tmp_path / "out").glob(f"*/images/a/{i}.png"))))
        # The same numbers reach the network as floats instead of bytes: one level apart at a rounding tie, if at all.
        assert np.abs(saved.astype(int) - expected[i]).max() <= 1 and (saved == expected[i]).mean() > 0.999
        error = ((saved.astype(float) - frames[i]) @ weights / 255)
        assert record["psnr"] == pytest.approx(10 * math.log10(255**2 / (error**2).mean()), abs=1e-6)
    assert result["method"] == "safa" and len(result["weights_sha256"]) == 64


def test_videoinr_frames_of_the_network_are_not_rounded(tmp_path):
    make_video(tmp_path / "a", 3)
    clip = sliding_clips("a", list_images(tmp_path / "a"), 2)[0]
    network = Network(Predictor(save_tiny(tmp_path / "w.safetensors"), device="cpu"))
    frames = network.predict(load_clip(clip))
    assert all(frame.dtype == np.float32 and (frame != np.rint(frame)).any() for frame in frames)


def test_lpips_is_optional(monkeypatch, tmp_path):
    import torch
    make_video(tmp_path / "data" / "a", 3)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match="pip install lpips"):
        run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--lpips")

    class Difference(torch.nn.Module):  # stands for the network: says what it was given
        def forward(self, x, y):
            assert x.shape == y.shape and x.dtype == torch.float32
            return (x - y).abs().mean((1, 2, 3), keepdim=True)

    fake = type(sys)("lpips")
    fake.LPIPS = lambda **options: Difference()
    monkeypatch.setitem(sys.modules, "lpips", fake)
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--lpips")
    wrong = abs((grey(0) + grey(2)) / 2 - grey(1)) / 127.5
    assert [f["lpips"] for f in result["per_clip"][0]["frames"]] == pytest.approx([0, wrong], abs=1e-6)
    assert result["figures"]["frame 1"]["lpips"] == pytest.approx(wrong, abs=1e-6)


def test_bad_input_is_explained(monkeypatch, tmp_path, nine_frames):
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
        (vid4, ["--root", tmp_path / "broken"], "2.png: not a picture"),
        (vid4, ["--root", tmp_path / "broken", "--lr", tmp_path / "none"], "no folder .*none"),
        (gopro, ["--root", nine_frames], "no videos in .*GOPRO_Large_all unpacks .*seungjunnah"),
        (gopro, ["--root", nine_frames, "--list", tmp_path / "none.txt"], "cannot read the list .*none.txt"),
        (adobe240, ["--root", nine_frames, "--list", tmp_path / "vimeo.txt"], "no videos in .*DeepVideoDeblurring"),
        (vimeo90k, ["--root", nine_frames], "missing: .*Zooming-Slow-Mo"),
        (vimeo90k, ["--root", tmp_path / "vimeo", "--list", "slow"], "slow_testset.txt is missing: .*Zooming-Slow-Mo"),
        (vimeo90k, ["--root", tmp_path / "vimeo", "--list", tmp_path / "vimeo.txt"], "names 1 of 2 .*00001/0009"),
        (gopro, ["--root", nine_frames, "--list", tmp_path / "list.txt", "--method", "network",
                 "--model", tmp_path / "none.pkl"], "none.pkl"),
    ]
    for script, arguments, message in cases:
        with pytest.raises(UserError, match=message):
            run(monkeypatch, tmp_path, script, *arguments)


def test_exit_code_and_one_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "benchmark.vid4", "--root", str(tmp_path / "none")], cwd=ROOT,
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not VID4.is_dir(), reason="the Vid4 benchmark is not here")
def test_bicubic_on_vid4(monkeypatch, tmp_path):
    """The published floor: 23.384 dB over 83 clips, 23.882 at frames that went in and 22.885 between."""
    result = run(monkeypatch, tmp_path, vid4, "--root", VID4, "--protocol", "videoinr")
    assert (result["clips"], result["frames"]) == (83, 166)
    assert result["psnr"] == pytest.approx(23.384, abs=5e-4)
    assert result["figures"]["frame 0"]["psnr"] == pytest.approx(23.882, abs=5e-4)
    assert result["figures"]["frame 1"]["psnr"] == pytest.approx(22.885, abs=5e-4)
