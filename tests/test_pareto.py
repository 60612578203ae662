"""The plot of quality against cost: which points are on the front, where they are drawn, what is counted."""
import json
import sys
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
import torch
from tiny_networks import TINY

from benchmark import pareto, vid4
from benchmark.methods import NetworkMethod
from benchmark.plot import pareto_front, scatter_plot, side_by_side
from benchmark.speed import VIDEO_FRAMES
from common.errors import UserError
from model import SAFA, Predictor, SAFASmall
from model.checkpoint import save_model

SVG = "{http://www.w3.org/2000/svg}"


def test_front_is_what_no_other_beats():
    points = {"a": (10, 24), "b": (5, 23), "worse and dearer": (20, 23.5), "c": (40, 25), "as dear": (10, 22),
              "free": (None, 30)}
    assert pareto_front(points) == ["b", "a", "c"]


def test_points_lie_where_they_are():
    """Equal factors are equal distances, equal decibels too."""
    tree = ElementTree.fromstring(side_by_side([scatter_plot(
        {"a & b": (1.0, 22), "c": (10.0, 23), "d": (100.0, 24), "free": (None, 23)}, "title", "GMAC", "dB")]))
    x, y = (np.array([float(point.get(key)) for point in tree.iter(f"{SVG}circle")]) for key in ("cx", "cy"))
    assert np.diff(x, 2) == pytest.approx(0, abs=0.2) and np.diff(y, 2) == pytest.approx(0, abs=0.2)
    assert x[0] < x[1] and y[0] > y[1]  # SVG counts downwards
    level = next(line for line in tree.iter(f"{SVG}line") if line.get("class") == "level")
    assert float(level.get("y1")) == pytest.approx(y[1])
    assert "a & b" in [text.text for text in tree.iter(f"{SVG}text")]


def test_names_stay_inside():
    tree = ElementTree.fromstring(side_by_side([scatter_plot(
        {"a": (1.0, 22), "a name of many letters, at the right end": (10.0, 23)}, "title", "GMAC", "dB")]))
    label = next(text for text in tree.iter(f"{SVG}text") if text.text and text.text.startswith("a name"))
    assert label.get("class") == "label end" and float(label.get("x")) > 5 * len(label.text)
    assert next(text for text in tree.iter(f"{SVG}text") if text.text == "a").get("class") == "label"


def test_a_video_is_timed_in_which_each_frame_is_restored_once():
    torch.manual_seed(0)
    predictor = Predictor(SAFASmall(**TINY), device="cpu", precision="fp32")
    restored, between, restore, interpolate = [], [], predictor.model.restore, predictor.model.interpolate
    predictor.model.restore = lambda frames, *rest: restored.append(len(frames)) or restore(frames, *rest)
    predictor.model.interpolate = lambda *inputs: between.append(inputs[4].numel()) or interpolate(*inputs)
    assert pareto.seconds_per_frame(NetworkMethod(predictor), 16, 16, runs=1) > 0
    runs = 1 + 2  # two are to warm up
    assert sum(restored) == runs * VIDEO_FRAMES and sum(between) == runs * (VIDEO_FRAMES - 1)


@pytest.mark.parametrize("option", ["--size=0x0", "--size=-16x16", "--size=16", "--cost=A", "--cost=A=5",
                                    "--cost=A=0,5", "--cost=A=-3,5", "--cost=A=5,nan", "--cost=A=inf,5", "--cost=A=x,"])
def test_sizes_and_costs_that_are_none(monkeypatch, option):
    monkeypatch.setattr(sys, "argv", ["pareto", "none.json", option])
    with pytest.raises(UserError, match=f"argument {option[:6]}"):
        pareto.main()


def test_without_a_frame_that_counts_there_is_nothing_to_draw(monkeypatch, tmp_path):
    record = {"clip": "a", "video": "a", "frames": [{"frame": "a/0", "position": 0, "psnr": 30.0, "ssim": 0.5}]}
    (tmp_path / "r.json").write_text(json.dumps({
        "method": "theirs", "per_clip": [record], "hardware": {},
        "protocol": {"figures": {"between": [1]}, "metrics": {}, "over": "clips"}}))
    monkeypatch.setattr(sys, "argv", ["pareto", str(tmp_path / "r.json"), "--output", str(tmp_path / "p.svg")])
    with pytest.raises(UserError, match="between"):
        pareto.main()
    assert not (tmp_path / "p.svg").exists()


def test_command(monkeypatch, tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "data" / "a").mkdir(parents=True)
    for i in range(3):
        frame = cv2.blur(random.integers(0, 256, (32, 48, 3), np.uint8), (5, 5))
        cv2.imwrite(str(tmp_path / "data/a" / f"{i}.png"), frame)
    torch.manual_seed(0)
    model = SAFA(channels=8, blocks=2)
    weights = tmp_path / "w.safetensors"
    save_model(model, weights)
    files = []
    for name, options in (("flow", ["--method", "flow"]), ("net", ["--model", weights, "--device", "cpu"])):
        files.append(tmp_path / f"{name}.json")
        monkeypatch.setattr(sys, "argv", ["vid4", "--root", str(tmp_path / "data"), "--json", str(files[-1]),
                                          "--output", str(tmp_path / "out"), *map(str, options)])
        vid4.main()
    net = json.loads(files[1].read_text())
    arguments = ["pareto", *map(str, files), "--output", str(tmp_path / "p.svg"), "--json", str(tmp_path / "p.json"),
                 "--size", "16x16", "--runs", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    pareto.main()
    rows = json.loads((tmp_path / "p.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["Bicubic + DIS flow", "SAFA"]
    assert rows[0]["gmac_per_frame"] is None and all(row["ms_per_frame"] > 0 for row in rows)
    # Two frames of a pair: one frame encoded, one pair, two timesteps, each between the cheapest and the dearest route.
    costs = [model.multiply_adds(32, 48, [[scale] * 2] * 2) for scale in (4, 1)]
    least, most = ((cost.frame + cost.pair + sum(cost.timesteps)) / 2 / 1e9 for cost in costs)
    assert least * (1 - 1e-9) <= net["gmac_per_frame"] <= most * (1 + 1e-9) and rows[1]["gmac_per_frame"] > 0
    ElementTree.parse(tmp_path / "p.svg")

    monkeypatch.setattr(sys, "argv", [*arguments, "--no_time", "--cost", "Bicubic + DIS flow=0.5,"])
    pareto.main()
    assert [row["gmac_per_frame"] for row in json.loads((tmp_path / "p.json").read_text())["rows"]][0] == 0.5
    save_model(SAFA(channels=8, blocks=2), weights)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(UserError, match="net.json was made with other weights"):
        pareto.main()
