"""Reading and writing weights: this project's .safetensors and the official release's pickled dict."""
import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from common.errors import UserError
from common.files import atomic_path
from model.network import Network
from model.registry import DEFAULT_WEIGHTS, WEIGHTS, create_network

# The official release's names, as prefixes, and ours.
OFFICIAL_NAMES = {
    "block.convimg.cnn0.": "encoder.stem.",
    "block.convimg.cnn1.1.": "encoder.layer1.",
    "block.convimg.cnn2.0.": "encoder.layer2.",
    "block.convimg.out0.": "encoder.project_half.",
    "block.convimg.out1.": "encoder.project_quarter.",
    "block.convimg.out2.": "encoder.project_eighth.",
    "block.convimg.normalize.": "encoder.normalize.",
    "block.shuffle.": "flow.fuse.",
    "block.convflow.0.": "flow.to_flow.",
    "block.getscale.0.": "flow.selector.squeeze.",
    "block.getscale.1.": "flow.selector.reduce.",
    "block.getscale.4.": "flow.selector.decide.",
    **{f"block.convblock.{i}.conv_stem.": f"flow.blocks.{i}.stem." for i in range(64)},
    **{f"block.convblock.{i}.conv_backbone.": f"flow.blocks.{i}.residual." for i in range(64)},
    "lastconv.0.": "decoder.reduce.",
    **{f"lastconv.{i + 1}.": f"decoder.residual.{i}." for i in range(12)},
    "lastconv.13.": "decoder.expand.",
    "lastconv.15.": "decoder.to_picture.",
}

# What PyTorch and safetensors raise of files that are damaged, cut short or something else.
UNREADABLE = (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError,
              KeyError, AttributeError, IndexError, TypeError)


def load_model(path: str | Path | None = None) -> Network:
    """The network with the weights of `path`, float32, on the CPU, in eval mode.

    Args:
        path: a .safetensors of this project, the official `flownet.pkl` (or .pth), or a folder that
            holds one (`train_log/`, a training's output); or the name of weights that come with the
            project ("small", "full"). None: the default ones.

    Raises:
        UserError: no such file, not a checkpoint, cut short, not finite, or the weights of another network.
    """
    path = _find(DEFAULT_WEIGHTS if path is None else WEIGHTS.get(str(path), Path(path)))
    state, header = _read(path)
    if not header:
        state = {_our_name(name): tensor for name, tensor in state.items()}
    name = header.get("network", "safa")  # the only network there was, before files said which
    try:
        settings = json.loads(header["settings"]) if "settings" in header else _safa_settings(state)
        model = create_network(name, **settings)
    except UserError as error:
        raise UserError(f"cannot use {path}: {error}") from None
    except (KeyError, ValueError, AttributeError, IndexError, TypeError):
        raise UserError(f"{path} does not hold the weights of this network: it has "
                        f"{_some(sorted(state)) or 'no tensors'}") from None
    _check(path, state, model.state_dict())
    if broken := [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]:
        raise UserError(f"{path} holds weights that are not finite ({_some(broken)}): the training they come from "
                        "diverged; use an earlier file of it, such as best.safetensors")
    model.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor
                           for name, tensor in state.items()})
    return model.eval()


def save_model(model: Network, path: str | Path, metadata: dict[str, str] | None = None,
               dtype: torch.dtype | None = None) -> None:
    """Write the weights to a .safetensors, atomically; the network's name and settings go into its header.

    Args:
        metadata: further strings to keep in the file's header.
        dtype: type to store floating-point tensors in; None keeps theirs.
    """
    state = {name: (tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
             for name, tensor in model.state_dict().items()}
    header = {"network": model.name, "settings": json.dumps(model.settings), **(metadata or {})}
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_order(save(state, header)))  # save_file's can be read by its owner alone


def _in_order(file: bytes) -> bytes:
    """The bytes of a .safetensors with its header's keys sorted: safetensors writes its strings in random order.

    The header is the length of a JSON text, 8 bytes, and that text, padded with spaces to a multiple of 8.
    """
    end = 8 + int.from_bytes(file[:8], "little")
    text = json.dumps(json.loads(file[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[end:]


def refuse_if_stored(name: str, error: Exception) -> None:
    """Raise UserError if PyTorch's cache holds a file `name`: then it was not fetching it that failed by `error`."""
    file = Path(torch.hub.get_dir(), "checkpoints", name)
    if file.is_file():
        raise UserError(f"cannot read weights from {file}: it is damaged or cut short; delete it, and it is fetched "
                        "again") from error


def weights_hash(model: Network) -> str:
    """SHA-256 (hex) of the weights themselves, whatever file they came in."""
    digest = hashlib.sha256(json.dumps([model.name, model.settings]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _safa_settings(state: dict[str, torch.Tensor]) -> dict[str, int]:
    """The official files say nothing of the architecture: it shows in the shapes."""
    return {"channels": state["flow.fuse.0.weight"].shape[0],
            "blocks": len({name.split(".")[2] for name in state if name.startswith("flow.blocks.")})}


def _find(path: Path) -> Path:
    if os.path.isdir(path):  # false for a name too long, where pathlib's raises
        for name in ("flownet.pkl", "flownet.pth", "last.safetensors", "best.safetensors"):
            if (path / name).is_file():
                return path / name
        found = sorted(path.glob("*.safetensors")) + sorted(path.glob("*.pkl")) + sorted(path.glob("*.pth"))
        if len(found) != 1:
            raise UserError(f"{path} holds {len(found) or 'no'} weights files: name the one to load")
        return found[0]
    if not os.path.isfile(path):
        raise UserError(f"no weights at {path}: give a .safetensors, a flownet.pkl or a folder holding one")
    return path


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise UserError(f"cannot read weights from {path} ({reason}): it is damaged, cut short or no checkpoint; "
                        "fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{path} is no dict of tensors, so no checkpoint of this network")
    return state, {}


def _our_name(name: str) -> str:
    name = name.removeprefix("module.")
    for prefix, ours in OFFICIAL_NAMES.items():
        if name.startswith(prefix):
            return ours + name[len(prefix):]
    return name


def _check(path: Path, state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    problems = []
    if missing := [name for name in expected if name not in state]:
        problems.append(f"missing {_some(missing)}")
    if unknown := [name for name in state if name not in expected]:
        problems.append(f"unknown {_some(unknown)}")
    wrong = [f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}" for name, tensor in expected.items()
             if name in state and state[name].shape != tensor.shape]
    if wrong:
        problems.append(f"of another shape {_some(wrong)}")
    if problems:
        raise UserError(f"{path} does not fit this network: {'; '.join(problems)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
