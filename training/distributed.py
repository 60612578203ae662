"""The processes of a training: each on a device of its own, with the same weights and gradients."""
import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist

from common.errors import UserError
from common.processes import Processes
from model.prepare import resolve_device


def join_processes(device: str | None, local_rank: int | None = None) -> tuple[Processes, torch.device]:
    """Meet the other processes, if the environment names any; this one's place, and the device it computes on.

    Args:
        device: the user's choice; None: this process's own GPU, or the CPU.
        local_rank: from the command line, where an old launcher puts it there.
    """
    processes = Processes.from_environment(local_rank)
    if processes.count == 1:
        return processes, resolve_device(device)
    local_rank = processes.local_rank
    if device is None and torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(f"process {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                            "start that many processes, or give --device cpu")
        device = f"cuda:{local_rank}"
    chosen = resolve_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    processes.join("nccl" if chosen.type == "cuda" else "gloo")
    return processes, chosen


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
