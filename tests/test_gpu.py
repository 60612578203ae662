"""What the code would do on a GPU, found without one; and, marked `cuda`, what only a GPU can tell."""
import contextlib
from unittest import mock

import av
import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda
from tiny_networks import NETWORKS, SMALL, black, drawn, needs_gpu, network
from torch._subclasses.fake_tensor import FakeTensorMode

from common.errors import UserError
from media.image import write_image
from media.video.colour import Colour
from media.video.job import Options, VideoJob
from media.video.packing import Packing
from model import SAFA, Predictor, SAFASmall
from model.download import Download
from model.loss import three_frame_loss
from model.prepare import make_deterministic, prepare_for_inference, resolve_device, resolve_precision, widen
from model.routing import Routing


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
    """Once for the frames, and once a block that the selector decides about, in restoring them as well."""
    with FakeCuda(drawn()) as gpu:
        predictor = Predictor(network(kind), device="cuda", precision="bf16", tile=0, scale_cap=cap)
        gpu.reset()
        first, second = (predictor.encode(frame) for frame in black(16, 16))
        assert not gpu.waits
        predictor.between(first, second, [0.25, 0.5, 0.75])
    stages = 1 + predictor.model.restores
    assert len(gpu.waits) == (1 if cap == 4 else 1 + stages * predictor.model.blocks), gpu.waits


@pytest.mark.parametrize("kind,cap,most", [(SAFA, 1, 860), (SAFA, 4, 580), (SAFASmall, 4, 1060)])
def test_kernels_of_a_call_only_become_fewer(kind, cap, most):
    """The network as published, one timestep, by the fake selector's choice of 1/4 or with nothing finer allowed. The
    small one's pass is made three times, two of them to restore the pair's frames, which a video does once a frame.

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
def test_pairs_of_a_video_share_calls(kind, monkeypatch):
    """Fewer kernels and fewer waits for each frame."""
    kernels, waits = {}, {}
    for most in (1, 2):
        monkeypatch.setattr("model.capacity.MOST_TIMESTEPS", most)
        with FakeCuda() as gpu:
            predictor = Predictor(network(kind), device="cuda", precision="bf16")
            gpu.reset()
            assert len(list(predictor.stream(black(16, 16, 9), lambda pair: [0.5]))) == 8
        kernels[most], waits[most] = sum(gpu.kernels.values()), len(gpu.waits)
        assert not gpu.layout_copies
        restores, blocks = predictor.model.restores, predictor.model.blocks
        # For each call the frames, and every answer of the selector; the very first frame is restored by itself.
        assert waits[most] == 8 // most * (1 + (1 + restores) * blocks) + restores * blocks
    assert kernels[2] < kernels[1] * 0.6


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
        times = torch.zeros(2, 1, device="cuda")
        given = {"draws": torch.zeros(model.blocks, samples, 2, device="cuda")} if routing == "draws" else {
            "scales": torch.full((model.blocks, samples), 2)}
        gpu.reset()
        with torch.autocast("cuda", torch.bfloat16):
            model(*frames.split(3, 1), times, Routing(**given), ends=True)
    assert not gpu.waits


@NETWORKS
def test_the_backward_pass_keeps_to_its_device(kind):
    """On fake tensors of the device "meta": a CPU tensor among them is refused."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("meta"):
            model = kind(**SMALL[kind]).train()
            inputs, targets, times = torch.rand(2, 6, 16, 16), torch.rand(2, 9, 64, 64), torch.rand(2, 1)
            draws = torch.rand(model.blocks, 6, 2)
        frames = model(*inputs.split(3, 1), times, Routing(draws=draws), ends=True).frames
        three_frame_loss(frames, targets).backward()
        assert all(parameter.grad is not None and parameter.grad.device.type == "meta"
                   for parameter in model.parameters())


@NETWORKS
@pytest.mark.parametrize("channels", [16, 24])  # half of 24 is no multiple of 8
def test_widened_channels_change_nothing(kind, channels):
    """Zeros beside the channels, as on a GPU: the same frames, up to the order of sums."""
    model, wide = (prepare_for_inference(network(kind, **{**SMALL[kind], "channels": channels}), torch.device("cpu"),
                                         "fp32") for _ in range(2))
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
