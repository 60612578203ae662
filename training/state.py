"""The training state: everything needed to go on as if nothing had happened."""
import io
import os
import pickle
import signal
import tempfile
import threading
import time
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


def save_state(output: Path, model: Network, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
               progress: dict) -> None:
    """Write `last.safetensors` (the weights, for every script) and `state.pt` (to go on from).

    Each appears under its name only when complete, and going on needs `state.pt` alone: the two need
    not be of the same step. `progress` holds plain numbers and strings.
    """
    save_model(model, output / "last.safetensors", {"steps": str(progress["step"])})
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(),
             "progress": progress, "network": model.name, "settings": model.settings, "random": torch.get_rng_state()}
    file = io.BytesIO()  # written to a file itself, torch would hide that the disk is full behind an error of its own
    torch.save(state, file)
    with atomic_path(output / "state.pt") as temporary:
        temporary.write_bytes(file.getbuffer())


def load_state(output: Path, model: Network, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> dict:
    """Put the state in `output` into model, optimiser and scaler; return its progress.

    Raises:
        UserError: there is none, it is damaged, or of another architecture.
    """
    path = output / "state.pt"
    if not path.is_file():
        raise UserError(f"nothing to resume: there is no {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = _architecture(state["network"], state["settings"])
        if found == (wanted := _architecture(model.name, model.settings)):
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty where the training so far was in another precision
                scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["random"])
            return state["progress"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError,
            OSError) as error:
        raise UserError(f"cannot resume from {path}: it is damaged, or not of this version; start anew with another "
                        f"--output and --init {output / 'last.safetensors'}") from error
    raise UserError(f"cannot resume from {path}: it has {found}, not {wanted}")


def _architecture(network: str, settings: dict[str, int]) -> str:
    """As the command line says it."""
    return " ".join([f"--network {network}", *(f"--{name} {value}" for name, value in settings.items())])


class StopRequest:
    """True once SIGINT or SIGTERM has come: the loop finishes its step, saves and ends.

    A second Ctrl-C ends at once. Other repetitions mean nothing: torchrun and cluster managers send their
    signals to each process, and again to those that started it.
    """

    PATIENCE = 1.0  # seconds: a SIGINT sooner than that is the same one

    def __init__(self):
        self._asked = None
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._note)

    def _note(self, number: int, _frame) -> None:
        if self._asked is None:
            self._asked = time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._asked > self.PATIENCE:
            raise KeyboardInterrupt

    def __bool__(self) -> bool:
        return self._asked is not None


def leave_stopping_to_parent(_worker: int) -> None:
    """For a loader's worker: signals reach whole process groups, but the training needs its workers until it has saved.

    A SIGTERM from the parent itself is obeyed: that is how Python ends such processes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
