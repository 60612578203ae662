"""The training state: everything needed to go on as if nothing had happened."""
import io
import pickle
import tempfile
from pathlib import Path

import torch

from common.errors import UserError
from common.files import atomic_path, remove_unfinished
from model.checkpoint import save_model
from model.network import Network


def open_output(output: Path) -> None:
    """Make the folder a training writes to, and clear away what a killed one left half-written.

    Raises:
        UserError: it cannot be written to. Better now than at the first save.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        remove_unfinished(output)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror or error}") from error


def saved_states(output: Path) -> list[Path]:
    """The states in a folder, the newest first: `state-STEP.pt`, and `state.pt` as earlier versions called it."""
    numbered = [path for path in output.glob("state-*.pt") if path.stem.removeprefix("state-").isdecimal()]
    numbered.sort(key=lambda path: int(path.stem.removeprefix("state-")), reverse=True)
    return numbered + [path for path in [output / "state.pt"] if path.is_file()]


def save_state(output: Path, state: dict, weights: Network, header: dict[str, str], keep: int) -> None:
    """Write `last.safetensors` (the weights, for every script) and `state-STEP.pt` (to go on from).

    Each appears under its name only when complete, and going on needs the state alone: the two need not be of
    the same step. The newest `keep` states stay.

    Args:
        state: what `Training.state` gives.
        weights: the network to write for others: the averaged one, where there is one.
        header: further strings for the header of its file.

    Raises:
        UserError: the disk is full, or a weight is not finite; what was saved before stays.
    """
    step = state["progress"]["step"]
    if broken := first_not_finite(state["model"]) or first_not_finite(weights.state_dict()):
        raise UserError(f"after step {step} the weights are no longer finite ({broken}): not saved, {output} keeps the "
                        "states before; go on from those with --resume and a lower --lr --allow_changes")
    save_model(weights, output / "last.safetensors", header)
    file = io.BytesIO()  # written to a file itself, torch would hide that the disk is full behind an error of its own
    torch.save(state, file)
    path = output / f"state-{step:07d}.pt"
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())
    for old in saved_states(output)[keep:]:
        old.unlink(missing_ok=True)


def read_state(output: Path) -> dict | None:
    """The newest state in `output`, on the CPU; None where there is none.

    Raises:
        UserError: it is damaged, or its weights are not finite.
    """
    found = saved_states(output)
    if not found:
        return None
    path, *others = found
    instead = (f"delete it, and --resume goes on from {others[0].name}" if others else
               f"start anew with another --output and --init {output / 'last.safetensors'}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        broken = first_not_finite(state["model"])
        state.update(path=str(path), instead=instead)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError,
            OSError) as error:
        raise UserError(f"cannot resume from {path}: it is damaged, or not of this version; {instead}") from error
    if broken:
        raise UserError(f"cannot resume from {path}: its weights are not finite ({broken}), that training diverged; "
                        f"{instead}")
    return state


def restore(state: dict, model: Network, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
            average: torch.optim.swa_utils.AveragedModel | None = None) -> dict:
    """Put what `read_state` gave into the parts of a training; return its progress.

    Raises:
        UserError: it is of another architecture, or misses something.
    """
    try:
        found = architecture(state["network"], state["settings"])
        if found == (wanted := architecture(model.name, model.settings)):
            model.load_state_dict(state["model"])
            for group, made in zip(state["optimizer"]["param_groups"], optimizer.param_groups):
                group["fused"] = made["fused"]  # a matter of the device at hand, not of the one it was saved on
            optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty where the training so far was in another precision
                scaler.load_state_dict(state["scaler"])
            if average is not None:
                average.load_state_dict(state["average"]) if state.get("average") else average.module.load_state_dict(
                    state["model"])
            torch.set_rng_state(state["random"])
            return state["progress"]
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"cannot resume from {state.get('path')}: it is damaged, or not of this version; "
                        f"{state.get('instead')}") from error
    raise UserError(f"cannot resume from {state['path']}: it has {found}, not {wanted}")


def first_not_finite(tensors: dict[str, torch.Tensor]) -> str | None:
    """The name of the first tensor with an infinite value or one that is not a number."""
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)


def architecture(network: str, settings: dict[str, int]) -> str:
    """As the command line says it."""
    return " ".join([f"--network {network}", *(f"--{name} {value}" for name, value in settings.items())])
