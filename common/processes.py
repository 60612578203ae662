"""This process among those that share a job: what torchrun, or another launcher, put into the environment."""
import atexit
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from common.errors import UserError

T = TypeVar("T")


class Processes(NamedTuple):
    """This process's place; alone unless a launcher started several.

    Attributes:
        rank: its number, from 0 on, over all machines.
        count: how many processes share the job.
        local_rank: its number on its own machine, which chooses its GPU.
    """

    rank: int = 0
    count: int = 1  # type: ignore[assignment]  # hides the tuple's own `count`, which nobody needs
    local_rank: int = 0

    @classmethod
    def from_environment(cls, local_rank: int | None = None) -> "Processes":
        """From RANK, WORLD_SIZE and LOCAL_RANK, or Slurm's own variables where `srun` alone started the processes.

        Args:
            local_rank: for launchers that give it on the command line instead of in the environment.

        Raises:
            UserError: the variables are incomplete, no numbers, or contradict each other.
        """
        given = _environment()
        count = _number(given, "WORLD_SIZE", 1)
        if count == 1:
            return cls(0, 1, _number(given, "LOCAL_RANK", local_rank or 0))
        rank = _number(given, "RANK")
        if not 0 <= rank < count:
            raise UserError(f"RANK={rank} is not below WORLD_SIZE={count}: start the processes with torchrun")
        return cls(rank, count, _number(given, "LOCAL_RANK", local_rank or 0))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def join(self, backend: str = "gloo", timeout: timedelta | None = None) -> None:
        """Connect the processes until this one ends; all have to call it. Nothing to do for a process alone.

        Args:
            timeout: how long one may wait for another (None: torch's own limit).

        Raises:
            UserError: the environment does not say where to meet, or the others cannot be reached.
        """
        if self.count == 1:
            return
        os.environ.update(_environment())  # where torch looks
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise UserError(f"WORLD_SIZE={self.count}, but {' and '.join(missing)} not set: start with torchrun")
        import torch.distributed as dist
        try:
            dist.init_process_group(backend, timeout=timeout, rank=self.rank, world_size=self.count)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"cannot reach the other processes at {os.environ['MASTER_ADDR']}:"
                            f"{os.environ['MASTER_PORT']}: {str(error).splitlines()[0]}") from error
        atexit.register(_disconnect)

    def wait_for_all(self) -> None:
        """Return when all joined processes have called it."""
        if self.count > 1:
            import torch.distributed as dist
            dist.barrier()

    def from_first(self, compute: Callable[[], T]) -> T:
        """Compute on the first process and give the result to all joined processes."""
        box: list[Any] = [compute() if self.first else None]
        if self.count > 1:
            import torch.distributed as dist
            dist.broadcast_object_list(box)
        return box[0]

    def first_of_all(self, value: T | None) -> T | None:
        """The first value that is not None, by rank, among those that all joined processes give."""
        values = [value]
        if self.count > 1:
            import torch.distributed as dist
            values = [None] * self.count
            dist.all_gather_object(values, value)
        return next((value for value in values if value is not None), None)

    def share(self, items: list[T]) -> list[T]:
        """This process's part of a list; neighbours stay together."""
        return items[len(items) * self.rank // self.count:len(items) * (self.rank + 1) // self.count]


def _disconnect() -> None:
    """However the process ends: the connection's threads would abort it if they were still there after Python."""
    import torch.distributed as dist
    with contextlib.suppress(RuntimeError):  # the others may be gone
        if dist.is_initialized():
            dist.destroy_process_group()


def _environment() -> dict[str, str]:
    """The environment; where srun alone started the processes, with what torchrun would have put there."""
    started = "RANK" in os.environ or "WORLD_SIZE" in os.environ
    return dict(os.environ) if started else {**_from_slurm(os.environ), **os.environ}


def _from_slurm(slurm: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would set for this task of a Slurm step; nothing where it is the only one, or none.

    The first node of the step is where to meet, on a port that its job's number chooses.
    """
    if not {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_JOB_ID"} <= slurm.keys():
        return {}
    if int(slurm["SLURM_STEP_NUM_TASKS"]) == 1:
        return {}
    nodes = slurm.get("SLURM_STEP_NODELIST") or slurm.get("SLURM_JOB_NODELIST") or "localhost"
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\]([^\[,]*))?", nodes)
    assert match is not None  # even an empty text matches
    head, digits, tail = match.groups(default="")
    number = int(slurm["SLURM_JOB_ID"]) + int(slurm.get("SLURM_STEP_ID", "0"))
    return {"RANK": slurm["SLURM_PROCID"], "WORLD_SIZE": slurm["SLURM_STEP_NUM_TASKS"],
            "LOCAL_RANK": slurm.get("SLURM_LOCALID", "0"), "MASTER_ADDR": head + digits + tail,
            "MASTER_PORT": str(20000 + number % 20000)}


def _number(given: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise UserError(f"WORLD_SIZE={given['WORLD_SIZE']}, but {name} is not set: start the processes with "
                        "torchrun, or unset WORLD_SIZE for a single one")
    if not text.isdecimal() or (name == "WORLD_SIZE" and int(text) == 0):
        raise UserError(f"{name}={text} in the environment is not a number of processes: start them with torchrun")
    return int(text)
