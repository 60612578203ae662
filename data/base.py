"""What every dataset has in common: samples by index, and what happens to frames that cannot be read."""
import numpy as np

from common.errors import UserError
from data.frames import CorruptFrame
from data.sample import UPSCALE, Degrade, Sample, Triplet, make_sample

_WORKERS = 1024   # slots of the skip counter; more loader workers than this share slots
_ATTEMPTS = 100   # unreadable samples in a row before giving up


class SkipCounter:
    """Counts skipped samples across the worker processes of a data loader.

    The counts live in memory shared with the workers, one slot per worker so that no lock is needed.
    """

    def __init__(self) -> None:
        import torch  # here, because listing and packing frames does without it
        self._counts = torch.zeros(_WORKERS, dtype=torch.int64).share_memory_()

    def add(self) -> None:
        from torch.utils.data import get_worker_info
        worker = get_worker_info()
        self._counts[worker.id % _WORKERS if worker else 0] += 1

    def total(self) -> int:
        return int(self._counts.sum())


class Dataset:
    """Base of the datasets: a subclass gives `__len__` and `triplet`.

    Args:
        crop: side of the square samples in pixels, a multiple of 4; None: whole frames.
        skip_corrupt: where frames cannot be read, draw another sample instead of raising; `skipped`
            counts them, those of loader workers included.
    """

    def __init__(self, crop: int | None, skip_corrupt: bool = False) -> None:
        if crop is not None and (crop < 4 * UPSCALE or crop % UPSCALE):
            raise UserError(f"crop {crop}: use a multiple of {UPSCALE}, at least {4 * UPSCALE}")
        self.crop = crop
        self._counter = SkipCounter() if skip_corrupt else None

    def __len__(self) -> int:
        raise NotImplementedError

    def triplet(self, index: int, rng: np.random.Generator, augment: bool, motion: bool = False) -> Triplet:
        """The three frames of a sample; with `motion`, and where it is known, the true motion between them."""
        raise NotImplementedError

    def sample(self, index: int, rng: np.random.Generator, augment: bool = True,
               degrade: Degrade | None = None, flow: bool = False) -> Sample:
        """The sample at `index`; everything random about it comes from `rng`.

        Args:
            index: 0 <= index < len(self).
            augment: False: the crop from the middle and nothing flipped, for validation. The timestep
                still comes from `rng`.
            degrade, flow: see `data.sample.make_sample`.

        Raises:
            UserError: a frame cannot be read (and `skip_corrupt` is off), or is smaller than the crop.
        """
        for _ in range(_ATTEMPTS):
            try:
                return make_sample(self.triplet(index, rng, augment, flow), rng, augment, degrade, flow)
            except CorruptFrame as error:
                if self._counter is None:
                    raise
                last = error
                self._counter.add()
                index = int(rng.integers(len(self)))
        raise UserError(f"{_ATTEMPTS} unreadable samples in a row, the last one: {last}")

    @property
    def skipped(self) -> int:
        """How many samples were skipped because a frame could not be read."""
        return self._counter.total() if self._counter else 0


class Mixture:
    """Several datasets as one: each sample comes from a dataset drawn by weight.

    Args:
        datasets: datasets of one crop size, or of whole frames.
        weights: one positive number per dataset; they need not sum to one. None: equal.

    A sample's dataset and its place in it are drawn from the sample's generator (with replacement), so
    weights hold exactly in the long run however long the datasets are. `len` is the sum of their lengths.
    """

    def __init__(self, datasets: list[Dataset], weights: list[float] | None = None) -> None:
        weights = [1.0] * len(datasets) if weights is None else list(weights)
        if not datasets or len(weights) != len(datasets) or not all(0 < weight < float("inf") for weight in weights):
            raise UserError(f"a mixture needs one positive weight per dataset: {len(datasets)} datasets, {weights}")
        if len({dataset.crop for dataset in datasets} - {None}) > 1:
            raise UserError("the datasets of a mixture need one crop size")
        self.datasets = datasets
        self._bounds = np.cumsum(weights) / np.sum(weights)

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def sample(self, index: int, rng: np.random.Generator, augment: bool = True,
               degrade: Degrade | None = None, flow: bool = False) -> Sample:
        """As `Dataset.sample`; `index` only has to be in range."""
        choice = int(np.searchsorted(self._bounds[:-1], rng.random(), side="right"))
        dataset = self.datasets[choice]
        return dataset.sample(int(rng.integers(len(dataset))), rng, augment, degrade, flow)

    @property
    def skipped(self) -> int:
        return sum(dataset.skipped for dataset in self.datasets)
