"""What the code would do on a GPU, found without one; and, marked `cuda`, what only a GPU can tell."""
import contextlib
from unittest import mock

import av
import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda
from torch._subclasses.fake_tensor import FakeTensorMode

from common.errors import UserError
from media.image import write_image
from media.video.colour import Colour
from media.video.job import Options, VideoJob
from media.video.packing import Packing
from model import SAFA, Predictor, SAFASmall
from model.capacity import JOINING
from model.download import Download
from model.loss import three_frame_loss
from model.network import Network
from model.prepare import make_deterministic, prepare_for_inference, resolve_device, resolve_precision, widen
from model.routing import Routing

needs_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
SMALL = {SAFA: {"channels": 16, "blocks": 3},
         SAFASmall: {"channels": 16, "encoder_depth": 1, "flow_depth": 1, "decoder_depth": 1}}
NETWORKS = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)


def network(kind, seed=0, **settings) -> Network:
    torch.manual_seed(seed)
    model = kind(**(settings or SMALL[kind])).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("beta"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def drawn(seed=0):
    """Answers that make the selector choose all scales in turn."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape, dtype: (torch.rand(shape, generator=generator)
                                 * (1 if dtype.is_floating_point else 255)).to(dtype)


def black(height, width, count=2):
    return np.zeros((count, height, width, 3), np.uint8)


@NETWORKS
@pytest.mark.parametrize("precision,tile,cap", [("fp32", 0, 1), ("bf16", 256, 1), ("fp16", 0, 4), ("bf16", "auto", 2)])
def test_the_predictor_keeps_to_its_device(kind, precision, tile, cap):
    with FakeCuda(drawn(3)) as gpu:
        predictor = Predictor(network(kind), device="cuda", precision=precision, tile=tile, scale_cap=cap)
        found = list(predictor.stream(black(80, 90, 3), lambda pair: [0.0, 0.25, 0.5]))
        details = []
        predictor.between(*(predictor.encode(frame, 2) for frame in black(16, 18).astype(np.uint16)), [0.3], details)
    assert len(found) == 6 and found[0][1].shape == (320, 360, 3)
    assert details[0].flow.shape == (32, 36, 4)
    assert not gpu.layout_copies and not gpu.odd_channels


def test_mixing_devices_is_found():
    """Fine on a CPU, an error on a GPU: what all the other tests here rest on."""
    with FakeCuda(), pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device="cuda") + torch.ones(3)


@NETWORKS
@pytest.mark.parametrize("cap", [1, 4])
def test_the_host_seldom_waits(kind, cap):
    """Once for the frames, and once a block that the selector decides about."""
    with FakeCuda(drawn()) as gpu:
        predictor = Predictor(network(kind), device="cuda", precision="bf16", tile=0, scale_cap=cap)
        gpu.reset()
        first, second = (predictor.encode(frame) for frame in black(16, 16))
        assert not gpu.waits
        predictor.between(first, second, [0.25, 0.5, 0.75])
    assert len(gpu.waits) == (1 if cap == 4 else 1 + predictor.model.blocks), gpu.waits


@pytest.mark.parametrize("kind,cap,most", [(SAFA, 1, 860), (SAFA, 4, 580), (SAFASmall, 4, 460)])
def test_kernels_of_a_call_only_become_fewer(kind, cap, most):
    """The network as published, one timestep, by the fake selector's choice of 1/4 or with nothing finer allowed.

    Lower the numbers when you make it better.
    """
    settings = {"channels": 16, "blocks": 6} if kind is SAFA else {"channels": 16}
    with FakeCuda() as gpu:
        predictor = Predictor(network(kind, **settings), device="cuda", precision="bf16", tile=0, scale_cap=cap)
        first, second = (predictor.encode(frame) for frame in black(16, 16))
        gpu.reset()
        predictor.between(first, second, [0.5])
    assert sum(gpu.kernels.values()) <= most


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
    with FakeCuda(memory=64 << 20):
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
        if len(calls) > 1 and max(working.shape[2:]) * predictor.model.factor > 300:  # a frame is at work already
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
def test_pairs_of_a_video_share_calls(kind, monkeypatch):
    """Fewer kernels and fewer waits for each frame."""
    kernels, waits = {}, {}
    for most in (1, 2):
        monkeypatch.setattr("model.capacity.MOST_TIMESTEPS", most)
        with FakeCuda() as gpu:
            predictor = Predictor(network(kind), device="cuda", precision="bf16")
            gpu.reset()
            assert len(list(predictor.stream(black(16, 16, 3), lambda pair: [0.5]))) == 2
        kernels[most], waits[most] = sum(gpu.kernels.values()), len(gpu.waits)
        assert not gpu.layout_copies
    assert kernels[2] < kernels[1] * 0.6 and waits[2] == 1 + predictor.model.blocks == waits[1] / 2


@NETWORKS
def test_memory_of_several_pairs_is_what_they_are_planned_by(kind):
    model = network(kind, **({"channels": 80, "blocks": 2} if kind is SAFA else {"channels": 64}))
    with FakeCuda(lambda shape, dtype: torch.ones(shape, dtype=dtype)) as gpu:
        predictor = Predictor(model, device="cuda", precision="bf16", tile=0)
        list(predictor.stream(black(108, 192, 5), lambda pair: [0.5]))
    assert 0.8 < gpu.peak / (16 * 108 * 192 * 4) / model.bytes_per_pixel / JOINING <= 1


@pytest.mark.parametrize("dtype,options", [(np.uint8, {"png": True}), (np.uint8, {"codec": "ffv1", "montage": True}),
                                           (np.uint8, {"codec": "ffv1", "pix_fmt": "yuv420p"}),
                                           (np.uint16, {"codec": "ffv1", "pix_fmt": "yuv420p10le"})])
def test_the_whole_video_job_keeps_to_its_device(tmp_path, dtype, options, monkeypatch):
    """Each call's frames are on their way before the next call is waited for, once; colours are converted there."""
    source, output = tmp_path / "frames", tmp_path / ("out" if "png" in options else "out.mkv")
    source.mkdir()
    for number in range(5):  # no two alike, which would be one frame shown for longer
        write_image(source / f"{number}.png", np.full((16, 24, 3), 20 * number * np.iinfo(dtype).max // 255, dtype))
    monkeypatch.setattr("model.capacity.MOST_TIMESTEPS", 4)
    order, arrays = [], Download.arrays
    monkeypatch.setattr(Download, "arrays", lambda self: order.append("frames") or arrays(self))
    if "pix_fmt" in options:
        monkeypatch.setattr(Packing, "image", None)  # the conversion of an image on the host
    with FakeCuda(drawn()) as gpu:
        predictor = Predictor(network(SAFA), device="cuda", precision="bf16", scale_cap=4)
        interpolate = predictor.model.interpolate
        monkeypatch.setattr(predictor.model, "interpolate", lambda *args: order.append("call") or interpolate(*args))
        gpu.reset()
        VideoJob(source, output, Options(**options)).run(predictor, predictor.identity())
    # Three pairs of two timesteps and one of three, at most four together: 2 + 1 + 1 pairs.
    assert order == ["call"] + 2 * ["call", "frames"] + ["frames"] and len(gpu.waits) == 3, gpu.waits
    if "png" in options:
        assert len(list(output.iterdir())) == 10
    else:
        with av.open(str(output)) as container:
            assert len(list(container.decode(video=0))) == 10


@NETWORKS
@pytest.mark.parametrize("routing", ["draws", "scales"])
def test_training_keeps_to_its_device_and_does_not_wait(kind, routing):
    samples = 2 * 3
    model = network(kind).train()
    with FakeCuda(drawn()) as gpu:
        model = model.to("cuda", memory_format=torch.channels_last)
        frames = torch.zeros(2, 6, 16, 16, device="cuda")
        times = torch.zeros(2, 3, device="cuda")
        given = {"draws": torch.zeros(model.blocks, samples, 2, device="cuda")} if routing == "draws" else {
            "scales": torch.full((model.blocks, samples), 2)}
        gpu.reset()
        with torch.autocast("cuda", torch.bfloat16):
            model(*frames.split(3, 1), times, Routing(**given))
    assert not gpu.waits


@NETWORKS
def test_the_backward_pass_keeps_to_its_device(kind):
    """On fake tensors of the device "meta": a CPU tensor among them is refused."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("meta"):
            model = kind(**SMALL[kind]).train()
            inputs, targets, times = torch.rand(2, 6, 16, 16), torch.rand(2, 9, 64, 64), torch.rand(2, 3)
            draws = torch.rand(model.blocks, 6, 2)
        frames = model(*inputs.split(3, 1), times, Routing(draws=draws)).frames
        three_frame_loss(frames, targets).backward()
        assert all(parameter.grad is not None and parameter.grad.device.type == "meta"
                   for parameter in model.parameters())


@NETWORKS
def test_widened_channels_change_nothing(kind):
    """Zeros beside the channels, as on a GPU: the same frames, up to the order of sums."""
    model = prepare_for_inference(network(kind), torch.device("cpu"), "fp32")
    wide = prepare_for_inference(network(kind), torch.device("cpu"), "fp32")
    widen(wide)
    assert all(conv.in_channels % 8 == conv.out_channels % 8 == 0 for conv in wide.modules()
               if isinstance(conv, torch.nn.Conv2d))
    torch.manual_seed(1)
    frames, times = torch.rand(2, 3, 8, 12), torch.tensor([[0.0, 0.3, 1.0]])
    with torch.no_grad():
        one, other = (found(frames[:1], frames[1:], times, Routing(scale=1)).frames for found in (model, wide))
    assert torch.allclose(one, other, atol=1e-5)


def test_devices_and_precisions_by_default():
    def card(capability, built_for):
        stack = contextlib.ExitStack()
        stack.enter_context(FakeCuda())
        for name, value in (("get_device_capability", capability), ("get_arch_list", built_for)):
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *device, value=value: value))
        return stack

    for capability, built_for, usable in (((7, 5), ["sm_90"], False), ((9, 0), ["sm_80"], False),
                                          ((8, 6), ["sm_80"], True), ((12, 0), ["compute_90"], True)):
        with card(capability, built_for):
            if usable:
                assert resolve_device(None).type == "cuda"
            else:
                with pytest.raises(UserError, match="Fake GPU .*--device cpu"):
                    resolve_device("cuda")
    for capability, precision in (((7, 5), "fp16"), ((8, 0), "bf16")):
        with card(capability, ["sm_75"]):
            assert resolve_precision("auto", torch.device("cuda")) == precision
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


class TestOnAGPU:
    """Run where there is one: python -m pytest -m cuda."""

    pytestmark = needs_gpu

    @NETWORKS
    @pytest.mark.parametrize("precision,least", [("fp32", 70), ("bf16", 35), ("fp16", 45)])
    def test_frames_are_those_of_the_cpu(self, kind, precision, least):
        frames = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3)).astype(np.float32) / 255
        expected, found = (Predictor(network(kind), device=device, precision=name).interpolate(*frames, [0.0, 0.4])
                           for device, name in (("cpu", "fp32"), ("cuda", precision)))
        error = np.square(np.stack(expected) - np.stack(found)).mean()
        assert -10 * np.log10(error) > least

    @NETWORKS
    def test_the_same_frames_twice(self, kind):
        frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
        one, other = (Predictor(network(kind), device="cuda").interpolate(*frames, [0.3, 0.5]) for _ in range(2))
        assert np.array_equal(one, other)

    @NETWORKS
    def test_several_pairs_together_give_the_frames_of_each_alone(self, kind):
        frames = np.random.default_rng(0).integers(0, 255, (5, 24, 32, 3)).astype(np.uint8)
        predictor = Predictor(network(kind), device="cuda", precision="fp32")
        alone = [frame for pair in zip(frames, frames[1:]) for frame in predictor.interpolate(*pair, [0.0, 0.4])]
        together = [frame for _, frame in predictor.stream(frames, lambda pair: [0.0, 0.4])]
        assert np.abs(np.stack(alone).astype(int) - together).max() <= 1

    @pytest.mark.parametrize("pix_fmt,peak", [("yuv420p", 255), ("yuv420p10le", 65535), ("nv12", 65535), ("gbrp", 255)])
    def test_colours_are_converted_to_the_codes_of_the_cpu(self, pix_fmt, peak):
        frames = torch.randint(0, peak + 1, (2, 3, 64, 64)).float()
        packing = Packing(pix_fmt, Colour(1, False), 64, 64)
        for one, other in zip(packing.planes(frames, peak), packing.planes(frames.cuda(), peak)):
            assert torch.equal(one, other.cpu())

    def test_out_of_memory_goes_on_with_smaller_tiles(self):
        predictor = Predictor(network(SAFA), device="cuda", tile=0)
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (256 << 20)) / total)
        try:
            assert predictor.interpolate(*black(540, 960), [0.5])[0].shape == (2160, 3840, 3)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert predictor._capacity.plan(torch.empty(1, 3, 2160, 3840))[0]

    @NETWORKS
    def test_the_same_gradients_twice_where_that_is_asked_for(self, kind):
        make_deterministic()
        try:
            found = []
            for _ in range(2):
                model = network(kind).train().to("cuda", memory_format=torch.channels_last)
                torch.manual_seed(0)
                inputs, targets, times = torch.rand(2, 6, 32, 32), torch.rand(2, 9, 128, 128), torch.rand(2, 3)
                draws = torch.rand(model.blocks, 6, 2).cuda()
                frames = model(*inputs.cuda().split(3, 1), times.cuda(), Routing(draws=draws)).frames
                three_frame_loss(frames, targets.cuda()).backward()
                found.append([parameter.grad for parameter in model.parameters()])
            assert all(torch.equal(*pair) for pair in zip(*found))
        finally:
            torch.use_deterministic_algorithms(False)
