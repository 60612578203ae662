"""What goes wrong on clusters: GPUs by the wrong name, workers that are killed, a rank that dies."""
import pytest
import torch

from common.errors import UserError
from training.distributed import _own_device
from training.loading import default_workers
from training.stopping import failures_in_one_line


@pytest.mark.parametrize(("asked", "local_rank", "gpus", "expected"), [
    (None, 1, 4, "cuda:1"), ("cuda", 1, 4, "cuda:1"), ("cpu", 1, 4, "cpu"), (None, 1, 0, None), ("cuda", 1, 0, "cuda")])
def test_each_process_gets_a_gpu_of_its_own(monkeypatch, asked, local_rank, gpus, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert _own_device(asked, local_rank) == expected


def test_gpus_that_cannot_be_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(UserError, match="--device cuda:0 would put every process on one GPU"):
        _own_device("cuda:0", 1)
    with pytest.raises(UserError, match="process 1 of this machine has no GPU: there are 1"):
        _own_device(None, 1)
    monkeypatch.setenv("SLURM_PROCID", "1")  # each task sees its own alone
    assert _own_device(None, 1) == "cuda:0"


@pytest.mark.parametrize(("error", "said"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "the GPU has not enough memory.*--batch_size"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "this machine has not enough memory"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "was killed from outside.*--num_workers"),
    (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "was killed from outside"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers "
                  "are out of shared memory."), "/dev/shm.*--shm-size"),
    (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\n ... unable to write to file </torch_1_2>: No "
                  "space left on device (28)"), "/dev/shm")])
def test_failures_are_one_line(error, said):
    with pytest.raises(UserError, match=said), failures_in_one_line():
        raise error


def test_bugs_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shapes"), failures_in_one_line():
        raise RuntimeError("shapes cannot be multiplied")


def test_workers_are_no_more_than_the_cores_of_a_process(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert [default_workers(cores) for cores in (1, 2, 4, 64)] == [1, 2, 4, 4]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert [default_workers(cores) for cores in (2, 8, 64)] == [1, 2, 4]
