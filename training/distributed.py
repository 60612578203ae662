"""The processes of a training: each on a device of its own, with the same weights and gradients."""
import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from common.errors import UserError
from common.processes import Processes
from model.prepare import resolve_device

T = TypeVar("T")
PATIENCE = timedelta(minutes=15)  # how long one waits for another: more than a validation or a save may take


def join_processes(device: str | None, local_rank: int | None = None) -> tuple[Processes, torch.device]:
    """Meet the other processes, if the environment names any; this one's place, and the device it computes on.

    Args:
        device: the user's choice; None: this process's own GPU, or the CPU.
        local_rank: from the command line, where an old launcher puts it there.

    Raises:
        UserError: the environment is incomplete, the others cannot be reached, or there is no GPU for this process.
    """
    processes = Processes.from_environment(local_rank)
    if processes.count == 1:
        chosen = resolve_device(device)
    else:
        chosen = resolve_device(_own_device(device, processes.local_rank))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # A process that waits in vain for another then gets an error it can report, instead of being aborted.
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    processes.join("nccl" if chosen.type == "cuda" else "gloo", PATIENCE)
    return processes, chosen


def _own_device(device: str | None, local_rank: int) -> str | None:
    """The device of one of several processes: a GPU of its own, whichever way GPUs were asked for."""
    if device is None and not torch.cuda.is_available():
        return None
    kind, _, index = (device or "cuda").partition(":")
    if kind != "cuda" or not torch.cuda.is_available():
        return device
    if index:
        raise UserError(f"--device {device} would put every process on one GPU: leave the number away, each process "
                        "takes its own")
    count = torch.cuda.device_count()
    if count == 1 and "SLURM_PROCID" in os.environ:  # Slurm can show each task its own GPU alone
        return "cuda:0"
    if local_rank >= count:
        raise UserError(f"process {local_rank} of this machine has no GPU: there are {count}; start that many "
                        "processes, or give --device cpu")
    return f"cuda:{local_rank}"


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


def from_first(processes: Processes, compute: Callable[[], T]) -> T:
    """Compute on the first process alone and give the result to all: only its machine has the file, perhaps."""
    with _exchange():
        return processes.from_first(compute)


def average(model: torch.nn.Module, numbers: torch.Tensor) -> torch.Tensor:
    """Replace every gradient, and return `numbers` (K,) float32, by the mean over the processes, in one message.

    This is not DistributedDataParallel, because the scales that a step is routed through decide which parameters
    have gradients at all, accumulation would need its `no_sync`, and weights are saved from an unwrapped network.
    What it gains by sending gradients while others are still computed is small here: they are 10 to 20 MB.
    """
    if not dist.is_initialized():
        return numbers
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([tensor.reshape(-1) for tensor in (*gradients, numbers)])
    with _exchange():
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    *averaged, numbers = flat.split([tensor.numel() for tensor in (*gradients, numbers)])
    for gradient, values in zip(gradients, averaged):
        gradient.copy_(values.view(gradient.shape))
    return numbers


def total(values: list[float], device: torch.device) -> list[float]:
    """The sum over the processes of each number."""
    if not dist.is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    with _exchange():
        dist.all_reduce(tensor)
    return tensor.tolist()
