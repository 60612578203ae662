"""What is benchmarked and by which measures: networks, baselines, metrics."""
import csv
import math
import sys
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
import torch
import torchvision
from benchmark_files import grey, make_video, run, save_tiny

from benchmark import baseline, compare, measures, vid4
from benchmark.clips import load_clip, sliding_clips
from benchmark.methods import NetworkMethod
from common.errors import UserError
from media.image import list_images
from media.resize import reduce_bicubic
from model import Predictor


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
