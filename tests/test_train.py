"""The training loop: what it is supervised with, that it resumes exactly, and what it says of mistakes."""
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from common.errors import UserError
from model import SAFA, load_model
from model.loss import VGG19_FILE, Perceptual, charbonnier, l1, three_frame_loss
from model.routing import Routing, routing_of_step
from model.start import RESNET18_FILE, load_imagenet_encoder, start_from_blending
from training.schedule import learning_rate
from training.state import read_state

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--dataset", "synthetic", "--channels", "8", "--crop", "32", "--num_workers", "0",
         "--pretrained_encoder", "no", "--val_every", "0", "--device", "cpu", "--warmup", "2", "--batch_size", "2",
         "--log_every", "1"]
BLOCKS = ["--blocks", "2"]


def run(monkeypatch, output, *options):
    blocks = [] if "safa_small" in options else BLOCKS
    monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, *blocks, "--output", str(output), *options])
    train.main()
    state = read_state(output)
    del state["path"], state["instead"]
    return state


def same(one, other):
    """Equal bit for bit, through dicts and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("routing,precision", [("learned", "fp32"), ("coarse", "fp32"), ("coarse", "fp16")])
def test_resuming_is_exact(monkeypatch, tmp_path, routing, precision):
    options = ["--max_steps", "4", "--routing", routing, "--precision", precision]
    whole = run(monkeypatch, tmp_path / "whole", *options)
    run(monkeypatch, tmp_path / "parts", *options, "--stop_after", "2")
    parts = run(monkeypatch, tmp_path / "parts", *options, "--resume")
    assert whole["progress"]["step"] == 4 and same(whole, parts)
    assert (load_model(tmp_path / "whole").channels, load_model(tmp_path / "parts").blocks) == (8, 2)


def test_a_sample_is_learned_at_its_own_timesteps_and_not_at_others():
    """Overfit one moving sample: the loss falls near zero; judged with shuffled timesteps it is far from it."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(3, 32, 32)
    moments = torch.stack([0.2 + 0.1 * ramp, 0.5 + 0.1 * ramp, 0.9 - 0.1 * ramp])  # brightness tells the time
    inputs, targets = torch.cat((moments[0], moments[2]))[None, :, ::4, ::4], moments.reshape(1, 9, 32, 32)
    times = torch.tensor([[0.0, 0.375, 1.0]])
    model = SAFA(channels=16, blocks=2).train()
    start_from_blending(model)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    routing = Routing(scale=2)
    for _ in range(120):
        loss = three_frame_loss(model(*inputs.split(3, 1), times, routing).frames, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right, wrong = (float(three_frame_loss(model(*inputs.split(3, 1), t, routing).frames, targets))
                        for t in (times, times[:, [2, 0, 1]]))
    assert right < 0.06 and wrong > 5 * right, (right, wrong)


def test_the_loss_is_the_sum_of_three_means():
    frames, targets = torch.rand(2 * 3, 3, 4, 4), torch.rand(2, 9, 4, 4)
    expected = sum((frames[moment::3] - targets[:, 3 * moment:3 * moment + 3]).abs().mean() for moment in range(3))
    assert torch.allclose(three_frame_loss(frames, targets), expected)
    assert abs(charbonnier(frames, frames) - 1e-3) < 1e-7 and l1(frames, frames) == 0


def test_learning_rate_is_the_published_curve():
    rates = [learning_rate(step, 1000, 2e-4, 200) for step in range(1000)]
    assert rates[0] == 1e-6 and rates[199] == rates[200] == 2e-4
    assert abs(rates[-1] - 2e-6) < 1e-12 and abs(rates[600] - (2e-4 + 2e-6) / 2) < 1e-6
    assert all(a >= b for a, b in zip(rates[200:], rates[201:]))


def test_routing_depends_on_seed_and_step_alone_and_coarse_is_half_and_half():
    for step in range(5):
        scales = routing_of_step("coarse", 6, 4, 1, step).scales
        assert sorted(scales[:, 0].tolist()) == [2, 2, 2, 4, 4, 4] and (scales == scales[:, :1]).all()
        draws = routing_of_step("learned", 6, 4, 1, step).draws
        assert torch.equal(draws, routing_of_step("learned", 6, 4, 1, step).draws) and draws.shape == (6, 4, 2)
    seen = {int(s) for step in range(20) for s in routing_of_step("random", 6, 1, 0, step).scales.flatten()}
    assert seen == {1, 2, 4}


def test_encoder_starts_from_the_weights_torchvision_keeps(monkeypatch, tmp_path):
    """Random weights stand in for ImageNet's, where torchvision looks for them; its own layers say what is right."""
    from torchvision.models import resnet18
    torch.manual_seed(0)
    backbone = resnet18(weights=None)
    for buffer in backbone.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(backbone.state_dict(), tmp_path / "hub" / "checkpoints" / RESNET18_FILE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = SAFA(channels=8, blocks=2).train()
    assert load_imagenet_encoder(model, required=True) == "ImageNet"
    picture = torch.rand(1, 3, 32, 48)
    backbone.eval()
    with torch.no_grad():
        half = backbone.relu(backbone.bn1(backbone.conv1(picture)))
        eighth = backbone.layer2(backbone.layer1(backbone.maxpool(half)))
        ours = model.encoder.stem(picture)
        assert torch.equal(ours, half)
        assert torch.equal(model.encoder.layer2(model.encoder.layer1(model.encoder.pool(ours))), eighth)


def test_pretrained_weights_that_cannot_be_had(monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    model = SAFA(channels=8, blocks=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert "random" in load_imagenet_encoder(model, required=False)
    assert same(before, dict(model.state_dict()))
    with pytest.raises(UserError, match=f"{RESNET18_FILE}.*--pretrained_encoder no"):
        load_imagenet_encoder(model, required=True)
    with pytest.raises(UserError, match="--perceptual .*vgg19-dcbb9e9d.pth"):
        Perceptual()


@pytest.mark.parametrize("content", [b"", b"<html>no such page</html>\n"])
def test_stored_weights_that_are_damaged_are_named(monkeypatch, tmp_path, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models.vgg19", lambda weights: weights.get_state_dict())  # without the network
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for name in (RESNET18_FILE, VGG19_FILE):
        (tmp_path / "hub" / "checkpoints" / name).write_bytes(content)
    for required in (False, True):
        with pytest.raises(UserError, match=f"checkpoints/{RESNET18_FILE}: it is damaged"):
            load_imagenet_encoder(SAFA(channels=8, blocks=2), required)
    with pytest.raises(UserError, match=f"checkpoints/{VGG19_FILE}: it is damaged"):
        Perceptual()


def scalars(folder):
    """Every TensorBoard scalar of a training, by name."""
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_two_processes_are_one_with_twice_the_batch(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path / "one", "--max_steps", "3", "--batch_size", "4")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py", *SMALL,
               *BLOCKS, "--max_steps", "3", "--output", str(tmp_path / "two")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = scalars(tmp_path / "one")["train/loss"], scalars(tmp_path / "two")["train/loss"]
    assert len(one) == len(two) == 3
    assert all(abs(a - b) < 1e-5 for a, b in zip(one, two)), (one, two)


def test_mistakes_are_named(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path / "done", "--max_steps", "1")
    before = (tmp_path / "done" / "state-0000001.pt").read_bytes()
    for options, word in ((["--dataset", "folder"], "--data"), (["--crop", "36"], "36"), (["--lr", "0"], "--lr"),
                          (["--output", str(tmp_path / "done")], "--resume"), (["--ema", "1"], "--ema"),
                          (["--upscale_range", "4", "2"], "4 2"), (["--config", str(tmp_path / "none")], "none"),
                          (["--output", str(tmp_path / "done"), "--resume", "--channels", "16"], "--channels 8"),
                          (["--output", str(tmp_path / "done"), "--resume", "--batch_size", "3"], "a step 2 -> 3"),
                          (["--channels", "7"], "odd"), (["--mix", "0"], "above 0"), (["--seed", "9" * 20], "--seed"),
                          (["--dataset", "folder", "--data", str(tmp_path / "none")], "none")):
        with pytest.raises(UserError, match=word):
            run(monkeypatch, tmp_path / "fresh", *options)
    assert (tmp_path / "done" / "state-0000001.pt").read_bytes() == before
