"""The official network's own outputs, reproduced from its own checkpoint format."""
import numpy as np
import pytest
import torch
from seeded_weights import DATA, seeded_state_dict

from model import Predictor, load_model
from model.prepare import prepare_for_inference
from model.routing import Routing

BRANCHES = {"fine": [1] * 6, "half": [2] * 6, "quarter": [4] * 6, "mixed": [1, 2, 4] * 2, "thresholded": None}


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A file as the release publishes it."""
    folder = tmp_path_factory.mktemp("train_log")
    torch.save(seeded_state_dict(), folder / "flownet.pkl")
    return folder


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "golden.npz")


@pytest.fixture(scope="module", params=["as trained", "as run"])
def network(request, official):
    """Both the plain network and what the predictor makes of it are held to the same figures."""
    model = load_model(official)
    return model if request.param == "as trained" else prepare_for_inference(model, torch.device("cpu"), "fp32")


def on_enlarged(network, frames, timesteps, scales=None):
    """The network on frames that are enlarged already, as the official one takes them."""
    scales = None if scales is None else torch.tensor(scales)[:, None].expand(6, 2)
    return network(frames[:, :3], frames[:, 3:], torch.from_numpy(timesteps)[None], Routing(scales), frames.shape[2:])


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_branch_gives_the_official_frames_and_flow(network, golden, branch):
    frames = torch.from_numpy(golden["input"])
    with torch.no_grad():
        found = on_enlarged(network, frames, golden["timesteps"], BRANCHES[branch])
    difference = np.abs(found.frames.numpy() - golden[f"frames_{branch}"])
    assert difference.max() < 1e-4 and difference.mean() < 1e-6
    flow = golden[f"flow_{branch}"].astype(np.float32)
    assert np.abs(found.flow[1].numpy() - flow[0, :4]).max() < 0.02
    assert np.abs(found.mask[1, 0].numpy() - 1 / (1 + np.exp(-flow[0, 4]))).max() < 0.02


def test_selector_gives_the_official_probabilities(network, golden):
    found = []
    hook = network.flow.selector.register_forward_hook(lambda module, inputs, output: found.append(output.numpy()))
    frames = torch.from_numpy(golden["input"])
    with torch.no_grad():
        on_enlarged(network, frames, golden["timesteps"])
    hook.remove()
    assert np.abs(np.stack(found, 1) - golden["selector_probabilities"]).max() < 1e-5


def test_predictor_gives_the_official_frames_rounded(official, golden):
    """From 8-bit frames: enlargement, padding, timesteps in a batch and rounding included."""
    predictor = Predictor(load_model(official), device="cpu", precision="fp32")
    frames = predictor.interpolate(golden["lr0"], golden["lr1"], golden["timesteps"].tolist())
    for frame, expected in zip(frames, golden["frames_thresholded"]):
        exact = expected.transpose(1, 2, 0) * 255
        assert np.abs(frame - exact).max() < 0.5 + 0.03  # the nearest whole number, up to the 1e-4 above


def test_half_precision_stays_close(official, golden):
    """bf16 features and fp32 coordinates: far from visible, even with these weights, which amplify noise."""
    exact = golden["frames_mixed"]
    model = prepare_for_inference(load_model(official), torch.device("cpu"), "bf16")
    frames = torch.from_numpy(golden["input"])
    with torch.no_grad():
        found = on_enlarged(model, frames, golden["timesteps"], BRANCHES["mixed"]).frames.numpy()
    assert -10 * np.log10(((found - exact) ** 2).mean()) > 35
