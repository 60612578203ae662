"""The measurements of speed run to their end and say what they measured; how fast anything is, they may say freely."""
import contextlib
import json
import sys

import pytest
import torch
from fake_cuda import FakeCuda
from tiny_networks import TINY

from benchmark import before_after, speed
from common.errors import UserError
from model import SAFA, SAFASmall
from model.checkpoint import save_model

SMALL = {"safa": lambda: SAFA(channels=16, blocks=2),
         "safa_small": lambda: SAFASmall(**TINY)}


@pytest.fixture
def rows_of(monkeypatch, tmp_path):
    """Runs the script here with small figures for everything; gives its rows."""
    monkeypatch.setattr(speed, "MATRIX_SIZE", {"cuda": 64, "cpu": 64})
    monkeypatch.setattr(speed, "VIDEO_FRAMES", 3)
    monkeypatch.setattr(speed, "PIPELINE_FRAMES", 3)

    def run(network, *options):
        torch.manual_seed(0)
        save_model(SMALL[network](), tmp_path / "weights.safetensors")
        monkeypatch.setattr(sys, "argv", ["speed", "--model", str(tmp_path / "weights.safetensors"), "--runs", "1",
                                          "--json", str(tmp_path / "speed.json"), *options])
        speed.main()
        return json.loads((tmp_path / "speed.json").read_text())["rows"]

    return run


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("mode,network,count", [("", "safa", 1), ("--video", "safa_small", 1),
                                                ("--pipeline", "safa_small", 1), ("--train", "safa_small", 2)])
def test_every_mode_runs_to_its_end(rows_of, mode, network, count, device, monkeypatch):
    with FakeCuda() if device == "cuda" else contextlib.nullcontext():
        if device == "cuda" and mode == "--train":  # tensors without numbers have no gradients
            monkeypatch.setattr(torch.Tensor, "backward", lambda tensor: None)
        rows = rows_of(network, *mode.split(), "--device", device, "--size", "16x12", "--precision", "bf16",
                       "--scales", "chosen" if device == "cpu" else "4")
    assert len(rows) == count
    for row in rows:
        assert row["device"] == ("Fake GPU" if device == "cuda" else "cpu")
        assert [row[name] > 0 for name in before_after.LOWER_IS_FASTER if name in row] == [True]


@pytest.mark.parametrize("coarse", [True, False])
def test_a_pairs_work_is_counted_at_the_scales_it_was_done_at(rows_of, monkeypatch, coarse):
    """What the selector takes counts as what was asked for by hand, in restoring a pair's own frames as well."""
    def network():
        model = SAFASmall(**TINY)
        torch.nn.init.zeros_(model.flow.selector.decide.weight)
        torch.nn.init.constant_(model.flow.selector.decide.bias, -1.0 if coarse else 1.0)
        return model

    monkeypatch.setitem(SMALL, "safa_small", network)
    chosen, given = rows_of("safa_small", "--size", "320x180", "--timesteps", "4", "--precision", "fp32",
                            "--scales", "chosen", "4" if coarse else "1")
    assert chosen["gmac"] == given["gmac"] > 1


@pytest.mark.parametrize("options", ["--scales foo", "--scales 3", "--size 0x0", "--size=-16x16", "--size 16",
                                     "--size 7x16", "--video --scales 1"])
def test_what_cannot_be_timed_is_refused(rows_of, options):
    with pytest.raises(UserError, match="--s(cales|ize)"):
        rows_of("safa", *options.split())


def test_the_loader_is_timed(rows_of):
    loader, reduction = rows_of("safa", "--data")
    assert loader["samples_per_s"] > 0 and reduction["ratio"] > 0


@pytest.mark.parametrize("mode", ["--video", "--pipeline"])
def test_memory_on_a_gpu_is_that_of_the_row(rows_of, mode):
    """A large frame before it does not count: the peak is forgotten between rows."""
    with FakeCuda():
        rows = rows_of("safa_small", mode, "--device", "cuda", "--size", "160x96", "16x12", "--precision", "fp32",
                       "--scales", "4")
    first, second = (row["peak_memory_mib"] for row in rows)
    assert second < first / 5


def test_a_video_is_timed_with_its_way_to_the_gpu_and_back(rows_of):
    with FakeCuda() as gpu:
        rows_of("safa_small", "--video", "--device", "cuda", "--size", "16x12", "--precision", "fp32", "--scales", "4")
    assert sum("model/download.py" in wait for wait in gpu.waits) >= 3, gpu.waits


def test_two_checkouts_are_measured_by_turns(monkeypatch, tmp_path):
    """Whoever is measured later does not suffer from a machine that grows slower: the medians are over turns."""
    asked, times = [], {tmp_path: [10.0, 20.0, 30.0], before_after.HERE: [5.0, 9.0, 16.0]}

    def rows_of(folder, options, cpu_time):
        asked.append(folder)
        return [{"network": "safa", "size": options[1], "ms_per_frame": times[folder].pop(0)},
                {"loader": "synthetic", "samples_per_s": 4.0 if folder == tmp_path else 6.0}]

    monkeypatch.setattr(before_after, "rows_of", rows_of)
    first, second = before_after.compare(tmp_path, ["--size", "8x8"], 3)
    after = before_after.HERE
    assert asked == [tmp_path, after, after, tmp_path, tmp_path, after]
    assert first == {"network": "safa", "size": "8x8", "figure": "ms_per_frame", "before": 20.0, "after": 9.0,
                     "spread_percent": [100.0, 122.2], "times_as_fast": 2.222}
    assert second["times_as_fast"] == 1.5


def test_on_cpu_time_waiting_does_not_count(tmp_path):
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "speed.py").write_text("""import json, sys, time
start = time.perf_counter()
time.sleep(0.5)
seconds = time.perf_counter() - start
open(sys.argv[-1], "w").write(json.dumps({"rows": [{"seconds": seconds}]}))""")
    passed, on_cpu = (before_after.rows_of(tmp_path, [], cpu_time)[0]["seconds"] for cpu_time in (False, True))
    assert passed >= 0.5 > 10 * on_cpu


def test_other_checkouts_that_cannot_be_measured_are_named(tmp_path):
    with pytest.raises(UserError, match="no checkout of this project"):
        before_after.compare(tmp_path, [], 1)
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "speed.py").write_text("raise SystemExit('no such option')")
    with pytest.raises(UserError, match=f"fails in {tmp_path}: no such option"):
        before_after.compare(tmp_path, [], 1)
    with pytest.raises(UserError, match="do not measure the same"):
        before_after.row_of([{"size": "8x8", "seconds": 1.0}], [{"size": "9x9", "seconds": 1.0}])
