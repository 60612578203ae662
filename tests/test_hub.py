"""The project from other people's code: torch.hub, beside modules of the same names as ours."""
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from model import create_network, load_predictor
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_model(create_network("safa_small", channels=16, encoder_depth=1, flow_depth=1, decoder_depth=1), path)
    return path


@pytest.fixture
def pair():
    return np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)


@pytest.fixture
def expected(weights, pair):
    return load_predictor(weights, device="cpu").interpolate(*pair, [0.0, 0.3])


@pytest.fixture
def callers_modules(monkeypatch):
    """The caller has modules `model` and `common` of his own, and works in another folder."""
    theirs = {name: types.ModuleType(name) for name in ("model", "common")}
    for name in [name for name in sys.modules if name.partition(".")[0] in theirs]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in theirs.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(ROOT))])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield theirs
    for name in [name for name in sys.modules if name.startswith("safa_")]:
        del sys.modules[name]


@pytest.mark.parametrize("entry", ["safa", "safa_small"])
def test_torch_hub_gives_the_predictor_beside_the_callers_own_modules(entry, weights, pair, expected, callers_modules,
                                                                     monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = {name: dict(vars(module)) for name, module in callers_modules.items()}
    predictor = torch.hub.load(str(ROOT), entry, source="local", weights=weights, device="cpu")
    for ours, theirs in zip(expected, predictor.interpolate(*pair, [0.0, 0.3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(sys.modules[name] is module and vars(module) == before[name] for name, module in callers_modules.items())
    assert not [name for name in sys.modules if name.startswith(("model.", "common."))]


def test_torch_hub_names_what_is_wrong(callers_modules, tmp_path):
    with pytest.raises(ValueError, match="none.safetensors"):
        torch.hub.load(str(ROOT), "safa", source="local", weights=tmp_path / "none.safetensors")


def test_the_two_networks_are_all_that_torch_hub_lists():
    """torch.hub takes every public callable for a network."""
    names = runpy.run_path(str(ROOT / "hubconf.py"))
    assert [name for name in names if callable(names[name]) and not name.startswith("_")] == ["safa", "safa_small"]
