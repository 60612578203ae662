"""Flow supervision and the steps that are skipped: losses against plain loops, and a training that uses them."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_train import run, scalars
from tiny_networks import network

import training.build
from common.errors import UserError
from data.stream import TrainingStream
from model import SAFASmall
from model.loss import end_point_error, flow_loss
from model.routing import Routing
from training.sanity import FEWEST, MOST_IN_A_ROW, SaneSteps


def test_flow_loss_and_end_point_error_are_what_plain_loops_give():
    rng = np.random.default_rng(0)
    flows, target = rng.normal(size=(3, 2, 4, 3, 5)), rng.normal(size=(2, 4, 3, 5))
    confidence = rng.random((2, 2, 3, 5))
    expected, distance, weight = 0.0, 0.0, 0.0
    for n, frame, y, x in np.ndindex(2, 2, 3, 5):
        for block, share in enumerate((0.64, 0.8, 1.0)):
            dx, dy = (flows[block, n, 2 * frame + axis, y, x] - target[n, 2 * frame + axis, y, x] for axis in (0, 1))
            expected += share * confidence[n, frame, y, x] * (abs(dx) + abs(dy)) / confidence.size
        distance += confidence[n, frame, y, x] * np.hypot(dx, dy)
        weight += confidence[n, frame, y, x]
    flows, target, confidence = (torch.from_numpy(array) for array in (flows, target, confidence))
    assert float(flow_loss(list(flows), target, confidence)) == pytest.approx(expected)
    assert float(end_point_error(flows[-1], target, confidence)) == pytest.approx(distance / weight)


class StillStream(TrainingStream):
    """Says that nothing moves, with full confidence."""

    def __init__(self, *arguments, flow=False):
        super().__init__(*arguments)
        self.flow = flow

    def __getitem__(self, position):
        targets, inputs, timestep = super().__getitem__(position)[:3]
        extra = (torch.zeros(3, 4, *inputs.shape[1:]), torch.ones(3, 2, *inputs.shape[1:])) if self.flow else ()
        return targets, inputs, timestep, *extra


def test_supervised_flow_draws_near_and_its_weight_falls_to_a_tenth(monkeypatch, tmp_path):
    monkeypatch.setattr(training.build, "TrainingStream", StillStream)
    small = ["--network", "safa_small", "--max_steps", "12", "--lr", "0.1", "--routing", "full"]
    run(monkeypatch, tmp_path / "small", *small, "--flow_loss", "2")
    seen = scalars(tmp_path / "small")
    assert seen["train/flow_weight"][0] == 2 and seen["train/flow_weight"][-1] == pytest.approx(0.2)
    assert seen["train/flow_loss"][-1] < 0.5 * max(seen["train/flow_loss"])
    with pytest.raises(UserError, match="--flow_loss.*safa_small"):
        run(monkeypatch, tmp_path / "safa", "--max_steps", "1", "--flow_loss", "1")


def test_flows_to_supervise_are_those_of_the_frames_without_their_padding():
    torch.manual_seed(0)
    model, frames, times = network(SAFASmall), torch.rand(2, 3, 18, 21), torch.tensor([[0.5]])
    padded = F.pad(frames, (0, 3, 0, 2), mode="replicate")
    with torch.no_grad():
        found, whole = (model(*part.split(1), times, Routing(scale=1), ends=True).flows for part in (frames, padded))
    assert len(found) == len(whole) > 0
    for ours, theirs in zip(found, whole):
        assert torch.equal(ours, theirs[..., :18, :21])


def test_steps_far_above_the_median_or_not_finite_are_refused():
    steps = SaneSteps(5.0)
    assert all(steps.accept(loss, 1.0) for loss in np.linspace(0.1, 0.3, FEWEST - 1))
    assert steps.accept(100.0, 1.0)  # too few yet to judge by
    assert not steps.accept(1.1, 1.0) and steps.accept(0.9, 1.0)
    assert not steps.accept(float("nan"), 1.0) and not steps.accept(0.2, float("inf"))
    assert SaneSteps(5.0, list(steps.recent)).recent == steps.recent
    with pytest.raises(UserError, match=f"{MOST_IN_A_ROW} steps in a row"):
        for _ in range(MOST_IN_A_ROW - 2):
            steps.accept(50.0, 1.0)
    assert SaneSteps(0.0, [0.1] * 50).accept(50.0, 1.0)
