"""The protocols on datasets made so that the figures follow from the frame numbers by a formula.

Every frame is a flat grey, so reduction, enlargement and blending are exact, and the PSNR of a wrong frame, a
wrong timestep or a wrong rounding is another number.
"""
import csv
import json
import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision

from benchmark import adobe240, baseline, compare, gopro, measures, vid4, vimeo90k
from benchmark.clips import load_clip, sliding_clips
from benchmark.methods import BaselineMethod, NetworkMethod
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
    network = NetworkMethod(Predictor(save_tiny(tmp_path / "w.safetensors"), device="cpu"))
    frames = network.predict(load_clip(clip))
    assert all(frame.dtype == np.float32 and (frame != np.rint(frame)).any() for frame in frames)


def test_flow_baseline_follows_what_moves(monkeypatch, tmp_path):
    """A texture that moves by 8 pixels a frame: blending shows it twice, flow where it is."""
    random = np.random.default_rng(0)
    texture = cv2.GaussianBlur(random.integers(0, 256, (96, 240, 3), np.uint8), (0, 0), 5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), texture[:, 40 - 8 * i:168 - 8 * i])
    psnr = {method: run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--method", method)["figures"]
            for method in ("bicubic", "flow")}
    assert psnr["flow"]["frame 0"] == psnr["bicubic"]["frame 0"]  # no motion to the frame itself
    assert psnr["flow"]["frame 1"]["psnr"] > psnr["bicubic"]["frame 1"]["psnr"] + 6


def test_a_baseline_is_its_entry(monkeypatch, tmp_path):
    """Whatever stands in the table is run, and no other file has to know it."""
    make_video(tmp_path / "data" / "a", 3)
    black = baseline.Baseline("Black", lambda first, second, timesteps, size: [
        np.zeros((*size, 3), np.float32) for _ in timesteps])
    monkeypatch.setitem(baseline.BASELINES, "flow", black)
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--method", "flow")
    assert result["figures"]["frame 1"]["psnr"] == pytest.approx(20 * math.log10(255 / (grey(1) * 219 / 255)), abs=1e-6)


def test_a_metric_is_its_entry(monkeypatch, tmp_path, capsys):
    """What stands in the table appears in records, means, printed table, CSV, page and comparisons."""
    make_video(tmp_path / "data" / "a", 5)
    monkeypatch.setitem(measures.MEASURES, "tof", measures.Measure(
        "Worst error", 1, "", False, "the largest difference of a value", lambda device: lambda frames: [
            float(np.abs(p.astype(float) - t).max()) for p, t in zip(frames.predicted, frames.ground_truth)]))
    options = ["--root", tmp_path / "data", "--metrics", "tof", "--csv", tmp_path / "frames.csv"]
    result = run(monkeypatch, tmp_path, vid4, *options, "--report", tmp_path / "page")
    errors = [abs((grey(i - 1) + grey(i + 1)) / 2 - grey(i)) for i in (1, 3)]
    assert [record["frames"][1]["tof"] for record in result["per_clip"]] == pytest.approx(errors, abs=1e-4)
    assert result["figures"]["frame 1"]["tof"] == pytest.approx(np.mean(errors), abs=1e-4)
    assert "Worst error" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "frames.csv").open()))
    assert [float(row["tof"]) for row in rows[1::2]] == pytest.approx(errors, abs=1e-4)
    assert [row["timestep"] for row in rows] == ["0.0", "0.5"] * 2 and rows[0]["psnr"] == ""
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Worst error" in page and f"{np.mean(errors):.1f}" in page
    compared = compare.text_table(compare.align([result, result]), ["one", "two"])
    assert "Worst error     +0.0 [+0.0, +0.0]  better in 0 of 2 clips" in compared


def test_flicker_is_measured_against_the_true_motion(monkeypatch, tmp_path):
    """tOF, from its formula; a clip's first frame has none."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    texture = cv2.GaussianBlur(random.integers(0, 256, (64, 120, 3), np.uint8), (0, 0), 3)
    frames = [np.ascontiguousarray(texture[:, 4 * i:80 + 4 * i]) for i in range(3)]
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame)
    result = run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--metrics", "tof", "--save_images",
                 "--protocol", "zsm")
    saved = [cv2.imread(str(next((tmp_path / "out").glob(f"*/images/a/{i}.png")))) for i in range(3)]
    expected = []
    for i in (1, 2):
        flows = [cv2.calcOpticalFlowFarneback(*(cv2.cvtColor(f[k], cv2.COLOR_BGR2GRAY) for k in (i - 1, i)), None,
                                              0.5, 3, 15, 3, 5, 1.2, 0) for f in (saved, frames)]
        expected.append(np.sqrt(((flows[0] - flows[1]) ** 2).sum(2)).mean())
    measured = [frame["tof"] for frame in result["per_clip"][0]["frames"]]
    assert measured[0] is None and measured[1:] == pytest.approx(expected, abs=1e-6)
    assert result["tof"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_learned_metrics_are_optional(monkeypatch, tmp_path):
    make_video(tmp_path / "data" / "a", 3)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    for name in ("lpips", "dists"):
        with pytest.raises(UserError, match="pip install -r requirements-metrics.txt"):
            run(monkeypatch, tmp_path, vid4, "--root", tmp_path / "data", "--metrics", name)


@pytest.mark.parametrize(("name", "network", "file"), [("lpips", "alexnet", "alexnet-owt-7be5be79.pth"),
                                                       ("dists", "vgg16", "vgg16-397923af.pth")])
def test_learned_metrics_need_their_weights(monkeypatch, tmp_path, name, network, file):
    """Without the file and without a connection: one line that names it. With it (here: random) they measure."""
    pytest.importorskip("torchmetrics")
    make_video(tmp_path / "data" / "a", 3)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def offline(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline)
    arguments = [vid4, "--root", tmp_path / "data", "--metrics", name]
    with pytest.raises(UserError, match=f"put https.*{file} into .*checkpoints"):
        run(monkeypatch, tmp_path, *arguments)
    if name == "dists":
        return  # 500 MB of weights are too much for a test
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(getattr(torchvision.models, network)(weights=None).state_dict(), folder / file)
    for i in range(3):  # large enough for five layers
        cv2.imwrite(str(tmp_path / "data" / "a" / f"{i}.png"), np.full((64, 64, 3), grey(i), np.uint8))
    frames = run(monkeypatch, tmp_path, *arguments)["per_clip"][0]["frames"]
    assert frames[0][name] == pytest.approx(0, abs=1e-6) and frames[1][name] > 0


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
        (vid4, ["--root", tmp_path / "broken"], "2.png: not an image"),
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


@pytest.mark.slow
@pytest.mark.skipif(not VID4.is_dir(), reason="the Vid4 benchmark is not here")
def test_bicubic_on_vid4(monkeypatch, tmp_path):
    """The published baseline: 23.384 dB over 83 clips, 23.882 at frames that went in and 22.885 between."""
    result = run(monkeypatch, tmp_path, vid4, "--root", VID4, "--protocol", "videoinr")
    assert (result["clips"], result["frames"]) == (83, 166)
    assert result["psnr"] == pytest.approx(23.384, abs=5e-4)
    assert result["figures"]["frame 0"]["psnr"] == pytest.approx(23.882, abs=5e-4)
    assert result["figures"]["frame 1"]["psnr"] == pytest.approx(22.885, abs=5e-4)
