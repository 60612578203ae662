"""A GPU's memory: what is planned by it, and how work goes on when it has run out. Found without a GPU but for one."""
import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda
from tiny_networks import NETWORKS, black, needs_gpu, network

from common.errors import UserError
from model import SAFA, Predictor, SAFASmall
from model.capacity import JOINING


@NETWORKS
def test_memory_of_a_large_frame_is_what_the_tiles_are_planned_by(kind):
    """3840x2160 with everything at full size."""
    size, model = (540, 960), network(kind, **({"channels": 80, "blocks": 2} if kind is SAFA else {"channels": 64}))
    with FakeCuda(lambda shape, dtype: torch.ones(shape, dtype=dtype)) as gpu:
        predictor = Predictor(model, device="cuda", precision="bf16", tile=0)
        predictor.between(*(predictor.encode(frame) for frame in black(*size)), [0.5])
    assert 0.8 < gpu.peak / (16 * size[0] * size[1]) / model.bytes_per_pixel <= 1


@NETWORKS
def test_memory_decides_about_tiles_and_timesteps(kind):
    def plan(memory, size, tile="auto"):
        with FakeCuda(memory=memory):
            predictor = Predictor(network(kind), device="cuda", precision="fp16", tile=tile)
            working = predictor.encode(black(*size)[0]).working
            return predictor._capacity.plan(working)

    assert plan(80 << 30, (96, 128)) == (0, 16)
    tile, at_once = plan(int(kind.bytes_per_pixel * 1e6 / 0.8), (540, 960))
    assert 700 <= tile <= 1000 and at_once == 1  # the frame itself takes some of it
    assert plan(80 << 30, (96, 128), tile=256)[0] == 256


def test_out_of_memory_takes_fewer_timesteps_before_smaller_tiles(monkeypatch, capsys):
    def made(memory, pairs):
        with FakeCuda(memory=memory) as gpu:
            predictor = Predictor(network(SAFASmall), device="cuda", precision="bf16", tile=0, scale_cap=4)
            predictor._capacity.bytes_per_pixel = 1  # a wrong guess: all seems to fit
            return len(list(predictor.stream(black(32, 32, pairs + 1), lambda pair: [0.5]))), gpu.peak

    monkeypatch.setattr("model.capacity.MOST_TIMESTEPS", 4)
    assert made(3 * made(80 << 30, 1)[1], 4)[0] == 4
    assert [line[:61] for line in capsys.readouterr().err.splitlines()] == [
        "out of GPU memory: going on with 2 new frames at once"]


def test_out_of_memory_takes_smaller_tiles_and_says_so(capsys):
    model = network(SAFA)
    with FakeCuda(memory=48 << 20):
        predictor = Predictor(model, device="cuda", precision="bf16")
        predictor._capacity.bytes_per_pixel = 1  # a wrong guess: all seems to fit
        with pytest.raises(UserError, match="even for --tile 256: .*--device cpu"):
            predictor.interpolate(*black(200, 200), [0.5])
    said = capsys.readouterr().err.splitlines()
    assert ["--tile 400" in said[0], "--tile 256" in said[1]] == [True, True]


@NETWORKS
@pytest.mark.parametrize("step", ["encode", "interpolate"])
def test_after_running_out_of_memory_frames_are_those_of_smaller_tiles(kind, step, monkeypatch, capsys):
    """On the CPU, where there are numbers, with a memory that holds tiles of 300 pixels."""
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 148, 3)).astype(np.uint8)
    expected = list(Predictor(network(kind), device="cpu", tile=296).stream(frames, lambda pair: [0.5]))
    predictor = Predictor(network(kind), device="cpu", tile=0)
    original, calls = getattr(predictor.model, step), []

    def limited(working, *others):
        calls.append(working)
        # What is interpolated is as large as what comes out. One frame is at work already.
        factor = predictor.model.factor if step == "encode" else 1
        if len(calls) > 1 and max(working.shape[2:]) * factor > 300:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(working, *others)

    monkeypatch.setattr(predictor.model, step, limited)
    found = list(predictor.stream(frames, lambda pair: [0.5]))
    late = step == "interpolate"  # then the first pair fits whole
    assert [time for time, _ in found] == [time for time, _ in expected]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in list(zip(found, expected))[late:])
    assert capsys.readouterr().err.splitlines() == ["out of GPU memory: going on with tiles of 296 pixels (--tile 296 "
                                                    "starts so)"]


@NETWORKS
def test_memory_of_several_pairs_is_what_they_are_planned_by(kind):
    model = network(kind, **({"channels": 80, "blocks": 2} if kind is SAFA else {"channels": 64}))
    with FakeCuda(lambda shape, dtype: torch.ones(shape, dtype=dtype)) as gpu:
        predictor = Predictor(model, device="cuda", precision="bf16", tile=0)
        list(predictor.stream(black(108, 192, 5), lambda pair: [0.5]))
    assert 0.8 < gpu.peak / (16 * 108 * 192 * 4) / model.bytes_per_pixel / JOINING <= 1


class TestOnAGPU:
    """Run where there is one: python -m pytest -m cuda."""

    pytestmark = needs_gpu

    def test_out_of_memory_goes_on_with_smaller_tiles(self):
        predictor = Predictor(network(SAFA), device="cuda", tile=0)
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (256 << 20)) / total)
        try:
            assert predictor.interpolate(*black(540, 960), [0.5])[0].shape == (2160, 3840, 3)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert predictor._capacity.plan(torch.empty(1, 3, 2160, 3840))[0]
