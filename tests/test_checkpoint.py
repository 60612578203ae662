"""Weights in and out of files, and what is said of files that are no weights."""
import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from common.errors import UserError
from model import SAFA, load_model
from model.checkpoint import OFFICIAL_NAMES, save_model, weights_hash


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SAFA(channels=8, blocks=2).eval()


def official_names(model, prefix):
    """The same weights under the release's names."""
    ours = {mine: theirs for theirs, mine in reversed(OFFICIAL_NAMES.items())}
    return {prefix + next(ours[mine] + name[len(mine):] for mine in ours if name.startswith(mine)): tensor
            for name, tensor in model.state_dict().items()}


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_round_trip_keeps_weights_and_architecture(small, tmp_path):
    save_model(small, tmp_path / "w.safetensors", {"steps": "7"})
    loaded = load_model(tmp_path)  # a folder holding one
    assert (loaded.name, loaded.settings) == ("safa", {"channels": 8, "blocks": 2})
    assert same_weights(small, loaded) and not loaded.training
    assert weights_hash(loaded) == weights_hash(small)
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"network": "safa", "settings": '{"channels": 8, "blocks": 2}', "steps": "7"}
    (tmp_path / "other").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode  # others may read it too
    save_model(small, tmp_path / "half" / "w.safetensors", dtype=torch.float16)
    assert os.path.getsize(tmp_path / "half" / "w.safetensors") < 0.6 * os.path.getsize(tmp_path / "w.safetensors")
    assert next(load_model(tmp_path / "half").parameters()).dtype == torch.float32


def test_same_weights_are_the_same_bytes_as_safetensors_wrote_them_but_for_the_order(small, tmp_path):
    strings = {name: name for name in ("steps", "run", "größe", *"abcdef")}
    for number in range(3):
        save_model(small, tmp_path / f"{number}.safetensors", strings)
    first, *others = (path.read_bytes() for path in tmp_path.iterdir())
    assert others == [first] * 2
    state = {name: tensor.contiguous() for name, tensor in small.state_dict().items()}
    theirs = safetensors.torch.save(state, strings | {"network": small.name, "settings": json.dumps(small.settings)})
    headers, data = zip(*((json.loads(file[8:end]), file[end:]) for file in (first, theirs)
                          for end in [8 + int.from_bytes(file[:8], "little")]))
    assert headers[0] == headers[1] and data[0] == data[1]
    assert (len(first) - len(data[0])) % 8 == 0
    assert same_weights(load_model(tmp_path / "0.safetensors"), small)


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("name", ["flownet.pkl", "any.pth"])
def test_official_files_load(small, tmp_path, prefix, name):
    torch.save(official_names(small, prefix), tmp_path / name)
    assert same_weights(load_model(tmp_path / name), small)
    assert same_weights(load_model(tmp_path), small)


def test_every_official_name_is_translated_once(small):
    """No two official names fall together, and none is left over."""
    names = official_names(small, "module.")
    assert len(names) == len(small.state_dict())


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_files_that_are_no_weights_are_named_and_never_run(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "whole.safetensors"
    save_model(small, whole)
    torch.save(official_names(small, "module."), "whole.pkl")
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "cut.pkl").write_bytes((tmp_path / "whole.pkl").read_bytes()[:5000])
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "empty.pkl").write_bytes(b"")
    torch.save({"a": torch.zeros(1)}, "foreign.pkl")
    torch.save([1, 2], "list.pkl")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("cut.safetensors", "cut.pkl", "text.safetensors", "text.pkl", "empty.pkl", "foreign.pkl", "list.pkl",
                 "evil.pkl", "nowhere.pkl", "x" * 300):
        with pytest.raises(UserError, match=name):
            load_model(name)
    assert not (tmp_path / "pwned").exists()


def test_mismatching_keys_are_named(small, tmp_path):
    names = official_names(small, "")
    del names["lastconv.15.bias"]
    names["lastconv.99.bias"] = torch.zeros(3)
    names["block.shuffle.0.bias"] = torch.zeros(9)
    torch.save(names, tmp_path / "odd.pkl")
    with pytest.raises(UserError) as error:
        load_model(tmp_path / "odd.pkl")
    assert "missing decoder.to_picture.bias" in str(error.value)
    assert "unknown lastconv.99.bias" in str(error.value)
    assert "flow.fuse.0.bias (9,) for (8,)" in str(error.value)


def test_a_failed_write_keeps_the_old_file(small, tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_model(small, path)
    before = path.read_bytes()

    def full(temporary, data):
        with open(temporary, "wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        save_model(small, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["w.safetensors"]
