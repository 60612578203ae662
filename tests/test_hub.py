"""The project from other people's code: torch.hub, beside modules named as ours, and the Hugging Face Hub."""
import http.server
import modulefinder
import runpy
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import TINY

from common.errors import UserError
from model import Predictor, create_network, load_predictor
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_model(create_network("safa_small", **TINY), path)
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


def test_torch_hub_asks_for_all_that_is_imported():
    finder = modulefinder.ModuleFinder([str(ROOT)])  # what lies elsewhere it does not find
    finder.import_hook("model")
    elsewhere = {name.partition(".")[0] for name in finder.badmodules} - sys.stdlib_module_names
    assert elsewhere == set(runpy.run_path(str(ROOT / "hubconf.py"))["dependencies"])


def test_saved_and_loaded_again_the_frames_are_the_same(weights, pair, expected, tmp_path):
    """From a folder, without the Hub's library."""
    load_predictor(weights, device="cpu").save_pretrained(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "model.safetensors"]
    again = Predictor.from_pretrained(tmp_path / "mine", device="cpu")
    for ours, theirs in zip(expected, again.interpolate(*pair, [0.0, 0.3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_come_from_a_server_that_speaks_as_the_hub_does(weights, pair, expected, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            known = self.path == "/someone/network/resolve/main/model.safetensors"
            self.send_response(200 if known else 404)
            if known:
                for name, value in (("X-Repo-Commit", "0" * 40), ("ETag", '"abc"'),
                                    ("Content-Length", str(weights.stat().st_size))):
                    self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(weights.read_bytes())

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        fetch = hub.hf_hub_download
        monkeypatch.setattr(hub, "hf_hub_download", lambda *a, **options: fetch(*a, endpoint=address, **options))
        found = Predictor.from_pretrained("someone/network", cache_dir=tmp_path / "cache", device="cpu")
        with pytest.raises(UserError, match="someone/nothing"):
            Predictor.from_pretrained("someone/nothing", cache_dir=tmp_path / "cache", device="cpu")
        server.shutdown()
    for ours, theirs in zip(expected, found.interpolate(*pair, [0.0, 0.3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_the_hubs_library_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        Predictor.from_pretrained("someone/network")
