"""What a training shows: validation figures, shared by processes or not, and everything TensorBoard is to hold."""
import contextlib

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train import run

from common.processes import Processes
from data.sample import Sample
from training.validation import chosen, validate


class Held:
    """Gray samples whose frames are 10, 20 and 40 levels above their number, inputs 2 more; notes what is asked."""

    def __init__(self, count):
        self.count, self.asked = count, []

    def __len__(self):
        return self.count

    def sample(self, index, rng, augment, degrade, flow=False):
        assert not augment
        self.asked.append(index)
        targets = np.repeat(np.uint8([10, 20, 40]) + np.uint8(index), 3)[:, None, None] * np.ones((1, 16, 16), np.uint8)
        inputs = (targets[[0, 1, 2, 6, 7, 8], ::4, ::4].astype(np.float32) + 2) / 255
        return Sample(targets, inputs, np.float32(0.5))


class OffBy(torch.nn.Module):
    """Gives all three frames of sample `index` wrong by index + 1 levels."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def forward(self, frame0, frame1, timesteps, routing, ends):
        wrong = self.data.asked[-1] + 1
        truth = torch.tensor([10.0, 20, 40]) + self.data.asked[-1]
        frames = ((truth + wrong) / 255).view(3, 1, 1, 1).expand(3, 3, 16, 16)
        return type("Prediction", (), {"frames": frames})


def figures(count, samples, processes):
    data, cpu = Held(count), torch.device("cpu")
    return validate(OffBy(data), [data], samples, processes, cpu, contextlib.nullcontext())[0], data.asked


def test_validation_is_spread_over_the_set_and_every_sample_counts_once(monkeypatch):
    alone, asked = figures(100, 5, Processes(0, 1))
    assert asked == [0, 20, 40, 60, 80]
    assert figures(3, 64, Processes(0, 1))[1] == [0, 1, 2]

    def psnr(levels):  # Y of a gray picture of v levels is 16 + 219 v / 255
        return -20 * np.log10(219 * levels / 255 / 255)

    ours = np.mean([psnr(index + 1) for index in asked])
    for moment, blending in (("ends", 2), ("between", (12 + 42) / 2 - 20)):
        assert alone[f"psnr_{moment}"] == pytest.approx(ours, abs=1e-3)
        assert alone[f"gain_{moment}"] == pytest.approx(ours - psnr(blending), abs=1e-3)

    sums, shares = [], []
    monkeypatch.setattr("training.validation.total", lambda values, device: sums.append(np.array(values)) or values)
    for rank in range(2):
        shares += figures(100, 5, Processes(rank, 2))[1]
    assert sorted(shares) == asked
    both = (sums[0] + sums[1])[:8].reshape(2, 4)[1]
    assert both[3] == 5 and both[0] / 5 == pytest.approx(alone["psnr_between"])


def test_validation_draws_otherwise_than_a_training_of_any_seed():
    """A generated sample is all drawn: the same draws would be a sample that is trained on."""
    drawn = []

    class Drawn(Held):
        def sample(self, index, rng, *arguments):
            drawn.append(rng.random())
            return super().sample(index, rng, *arguments)

    data, cpu = Drawn(4), torch.device("cpu")
    for _ in range(2):
        validate(OffBy(data), [data], 4, Processes(0, 1), cpu, contextlib.nullcontext())
    trained = [np.random.default_rng((seed, position)).random() for seed in range(3) for position in range(40)]
    assert drawn[:4] == drawn[4:] and len(set(drawn)) == 4 and not set(drawn) & set(trained)


class FlowOf(Held):
    """Frames of 16 x 16 whose flow at low resolution is 2 pixels to the right, known in one corner only."""

    def sample(self, index, rng, augment, degrade, flow):
        confidence = np.zeros((3, 2, 4, 4), np.float32)
        confidence[..., :2, :2] = 1
        flow = np.zeros((3, 4, 4, 4), np.float32) + np.float32([2, 0, 2, 0])[:, None, None]
        sample = super().sample(index, rng, augment, degrade)
        return type("", (), {**sample._asdict(), "flow": flow, "confidence": confidence})


class Still(OffBy):
    """Its flow at full resolution is right where that is not known, and (8 - 3, 4) where it is."""

    def forward(self, *arguments, **options):
        flow = torch.tensor([8.0, 0, 8, 0]).view(1, 4, 1, 1).repeat(3, 1, 16, 16)
        flow[:, :, :8, :8] = torch.tensor([5.0, 4, 5, 4]).view(1, 4, 1, 1)
        return type("", (), {"frames": super().forward(*arguments, **options).frames, "flow": flow})


def test_samples_come_from_several_datasets_in_turn_and_as_whole_frames():
    sets = [Held(10), Held(2), Held(100)]
    picked = chosen(sets, 8)
    assert [number for number, *_ in picked] == [0, 1, 2, 3, 4, 5, 6]  # the second has only two, not three
    assert [index for _, dataset, index in picked if dataset is sets[2]] == [0, 50]
    assert [index for _, dataset, index in picked if dataset is sets[0]] == [0, 3, 6]


def test_end_point_error_is_in_output_pixels_where_the_flow_is_known():
    data = FlowOf(3)
    cpu = torch.device("cpu")
    figures, _ = validate(Still(data), [data], 3, Processes(0, 1), cpu, contextlib.nullcontext(), flow=True)
    assert figures["epe"] == pytest.approx(5.0)


def test_tensorboard_shows_all_there_is_to_see(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path, "--max_steps", "2", "--val_every", "2", "--val_samples", "2")
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    values = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for name in ("loss", "learning_rate", "gradient_norm", "samples_per_second", "waiting_for_data"):
        shown = values[f"train/{name}"]
        assert len(shown) == 2 and min(shown) > 0, name
    assert max(values["train/waiting_for_data"]) < 1
    judged = {f"val/{name}_{place}" for name in ("psnr", "ssim", "gain") for place in ("ends", "between")}
    assert judged <= values.keys()
    assert "--max_steps 2" in events.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert f"step 2: loss {values['train/loss'][1]:.5g}" in lines[1] and "step 2: psnr_ends" in lines[2]
    for block in (0, 1):
        shares = np.array([values[f"scales/block{block}_1in{scale}"] for scale in (1, 2, 4)])
        assert np.allclose(shares.sum(0), 1)
    (picture,) = events.Images(events.Tags()["images"][0])
    assert (picture.width, picture.height) == (4 * 32, 2 * 32)  # two inputs, prediction, target; two flows, mask, error
