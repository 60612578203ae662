"""The order of training: an endless sequence of samples that any number of workers and ranks can share."""
import functools
import os
import re
import time
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import get_worker_info

from common.errors import UserError
from data.base import Dataset, Mixture
from data.sample import Degrade


class TrainingStream(torch.utils.data.Dataset):
    """`stream[position]` for any position >= 0: the sample that is trained on in that place.

    Epoch e is a permutation of the dataset drawn from (seed, e); everything random inside a sample is
    drawn from (seed, position). So what is trained on depends on the seed alone: not on the number of
    workers or ranks, nor on stops and resumes.

    Args:
        dataset: a dataset or a mixture.
        seed: >= 0.
        degradation: a `degradation.Degradation`, or None for bicubic reduction alone.

        flow: give the samples' flow and confidence too.

    An item is (targets uint8 (9, H, W), inputs float32 (6, H/4, W/4), timestep float32 ()), and with `flow` also
    (flow float32 (3, 4, H/4, W/4), confidence float32 (3, 2, H/4, W/4)); see `data.sample.Sample`.
    """

    def __init__(self, dataset: Dataset | Mixture, seed: int, degradation: Degrade | None = None,
                 flow: bool = False) -> None:
        self.dataset, self.seed, self.degradation, self.flow = dataset, seed, degradation, flow
        self.epoch_length = len(dataset)
        self._prepared_process: int | None = None

    def __getitem__(self, position: int) -> tuple[torch.Tensor, ...]:
        self._prepare_worker()
        epoch, place = divmod(int(position), self.epoch_length)
        index = int(_permutation(self.seed, epoch, self.epoch_length)[place])
        rng = np.random.default_rng((self.seed, int(position)))
        sample = self.dataset.sample(index, rng, True, self.degradation, self.flow)
        item = torch.from_numpy(sample.targets), torch.from_numpy(sample.inputs), torch.tensor(sample.timestep)
        return (*item, torch.from_numpy(sample.flow), torch.from_numpy(sample.confidence)) if self.flow else item

    def _prepare_worker(self) -> None:
        """A loader's worker works alone: neither OpenCV nor numpy's BLAS may start threads in it, whatever the
        environment says. The workers share the cores already, and OpenCV's threads can hang after a fork."""
        if self._prepared_process != os.getpid():
            if get_worker_info() is not None:
                cv2.setNumThreads(0)
                threadpool_limits(1)
            self._prepared_process = os.getpid()

    @property
    def skipped(self) -> int:
        """Samples skipped because a frame could not be read, those of loader workers included."""
        return self.dataset.skipped


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    # The spawn key keeps these draws apart from the samples' own, whatever seed, epoch and position are.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(length)


def next_batch(loader: Iterator) -> list[torch.Tensor]:
    """The next batch of a `DataLoader` of a stream; an error in a worker is raised as the worker had it.

    The loader itself makes its message the text of a whole traceback, with the error in the last line.
    """
    try:
        return next(loader)
    except UserError as error:
        raise UserError(re.sub(r"(?s).*\n[\w.]+: ", "", str(error).rstrip())) from None


def samples_per_second(stream: TrainingStream, samples: int = 200) -> float:
    """How fast this process draws samples, for measuring; compare with the training step's appetite."""
    stream[0]  # opens files and draws the permutation
    start = time.perf_counter()
    for position in range(1, samples + 1):
        stream[position]
    return samples / (time.perf_counter() - start)
