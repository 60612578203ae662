"""The training state: everything needed to go on as if nothing had happened."""
import pickle
import signal
from pathlib import Path

import torch

from common.errors import UserError
from common.files import atomic_path
from model.checkpoint import save_model
from model.safa import SAFA


def save_state(output: Path, model: SAFA, optimizer: torch.optim.Optimizer, progress: dict) -> None:
    """Write `last.safetensors` (the weights, for every script) and `state.pt` (to go on from).

    Each appears under its name only when complete, and going on needs `state.pt` alone: the two need
    not be of the same step. `progress` holds plain numbers and strings.
    """
    save_model(model, output / "last.safetensors", {"steps": str(progress["step"])})
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress,
             "architecture": [model.channels, model.blocks], "random": torch.get_rng_state()}
    with atomic_path(output / "state.pt") as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error


def load_state(output: Path, model: SAFA, optimizer: torch.optim.Optimizer) -> dict:
    """Put the state in `output` into model and optimiser; return its progress.

    Raises:
        UserError: there is none, it is damaged, or of another architecture.
    """
    path = output / "state.pt"
    if not path.is_file():
        raise UserError(f"nothing to resume: there is no {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        architecture = state["architecture"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"cannot resume from {path}: it is damaged; start anew with --init "
                        f"{output / 'last.safetensors'}") from error
    if architecture != [model.channels, model.blocks]:
        raise UserError(f"cannot resume from {path}: it has --channels {architecture[0]} --blocks {architecture[1]}, "
                        f"not {model.channels} and {model.blocks}")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["progress"]


class StopRequest:
    """True once SIGINT or SIGTERM has come: the loop finishes its step, saves and ends. A second one ends at once."""

    def __init__(self):
        self.signal = None
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._note)

    def _note(self, number: int, _frame) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number

    def __bool__(self) -> bool:
        return self.signal is not None
