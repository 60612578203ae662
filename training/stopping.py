"""Ends of a training that are not the last step: signals, full memory, workers that are killed."""
import contextlib
import signal
import time
from collections.abc import Iterator

import torch

from common.errors import UserError


class StopRequest:
    """True once SIGINT or SIGTERM has come: the loop finishes its step, saves and ends.

    A second Ctrl-C ends at once. Other repetitions mean nothing: torchrun and cluster managers send their
    signals to each process, and again to those that started it.
    """

    PATIENCE = 1.0  # seconds: a SIGINT sooner than that is the same one

    def __init__(self) -> None:
        self._asked: float | None = None
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if self._asked is None:
            self._asked = time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._asked > self.PATIENCE:
            raise KeyboardInterrupt

    def __bool__(self) -> bool:
        return self._asked is not None


@contextlib.contextmanager
def failures_in_one_line() -> Iterator[None]:
    """Raise UserError where memory gives out in the block, of device or machine, or a loader's worker is killed.

    PyTorch notices a killed worker by a signal, so its error can come up anywhere, not just where a batch is read.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the others have no type of their own
        text = " ".join(str(error).split())
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text:
            place = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
            raise UserError(f"{place} has not enough memory for this: lower --batch_size (with --accumulate the step "
                            "keeps its number of samples) or --crop; validate without --val_whole") from error
        if "DataLoader worker" not in text and "/torch_" not in text:
            raise
        if "shared memory" in text or "No space left on device" in text:
            raise UserError("a worker of the data loader found no room in shared memory (/dev/shm): give the container "
                            "more (docker run --ipc=host, or --shm-size), or lower --num_workers") from error
        raise UserError("a worker of the data loader was killed from outside, as happens when memory is full: lower "
                        f"--num_workers ({text[:100]})") from error
