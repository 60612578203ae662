"""One process or many: found from the environment that torchrun and its predecessor set."""
import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist

from common.errors import UserError
from model.prepare import resolve_device


class Processes(NamedTuple):
    """This process among the others of the run."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0


def join_processes(device: str | None, local_rank: int | None = None) -> Processes:
    """Meet the other processes, if the environment names any (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR ...).

    Args:
        device: the user's choice; None: this process's own GPU, or the CPU.
        local_rank: from the command line, where an old launcher puts it there.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(0, 1, resolve_device(device))
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", local_rank or 0))
    if device is None and torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(f"process {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                            "start that many processes, or give --device cpu")
        device = f"cuda:{local_rank}"
    chosen = resolve_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Processes(rank, count, chosen)


def leave_processes() -> None:
    """Take leave of the others."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """One that ends, for whatever reason, says why itself; the others need not add a traceback each."""
    try:
        yield
    except RuntimeError as error:
        raise UserError("stopped, because another process of this training ended: see what it said "
                        f"({str(error).splitlines()[0]})") from error


def share_weights(model: torch.nn.Module) -> None:
    """Give every process the first one's weights. As all here, raises UserError if another process has ended."""
    if dist.is_initialized():
        with _exchange():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)


def average_gradients(model: torch.nn.Module) -> None:
    """Replace every gradient by its mean over the processes, in one message.

    The network is small (20 MB), so one message after the backward pass costs next to nothing, and it
    leaves the network unwrapped, with whichever blocks took part in this step.
    """
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch._utils._flatten_dense_tensors(gradients)
    with _exchange():
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, averaged in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients)):
        gradient.copy_(averaged)


def total(values: list[float], device: torch.device) -> list[float]:
    """The sum over the processes of each number."""
    if not dist.is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    with _exchange():
        dist.all_reduce(tensor)
    return tensor.tolist()
