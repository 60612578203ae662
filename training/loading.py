"""Batches for the training loop: which positions of the stream, by how many workers, and what becomes of those."""
import os
import signal
import threading
import time
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from common.processes import Processes
from data.stream import TrainingStream, next_batch

MOST_WORKERS = 4  # of a process, where nobody says how many


class Batches:
    """Batches of a stream, in order, on the CPU; `waited` is the time spent waiting for them, in seconds."""

    def __init__(self, stream: TrainingStream, size: int, positions: Iterator[int], workers: int, pin: bool) -> None:
        self.waited = 0.0
        self._loader = iter(DataLoader(
            stream, size, num_workers=workers, pin_memory=pin, sampler=positions,
            worker_init_fn=leave_stopping_to_parent,
            generator=torch.Generator()))  # its own: the loader must not touch the random state that is saved

    def __next__(self) -> list[torch.Tensor]:
        """The next batch: what the stream's items hold, stacked. Raises UserError as a worker had it."""
        start = time.perf_counter()
        try:
            return next_batch(self._loader)
        finally:
            self.waited += time.perf_counter() - start


def default_workers(cores: int | None = None) -> int:
    """How many workers a process gets that is not told: its share of this machine's cores, at most `MOST_WORKERS`."""
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")  # torchrun's name for how many processes this machine runs
    return max(1, min(MOST_WORKERS, cores // max(int(here) if here.isdecimal() else 1, 1)))


def positions(processes: Processes, samples: int, first: int, last: int) -> Iterator[int]:
    """This process's positions in the stream for steps `first` to `last`, in order, `samples` a step.

    Step s takes the positions s * batch ... of one endless seeded stream, shared out over the processes, so that it
    does not matter how many there are, or where a training was interrupted.
    """
    for step in range(first, last):
        start = (step * processes.count + processes.rank) * samples
        yield from range(start, start + samples)


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
