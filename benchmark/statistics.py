"""Whether one method is better than another on the same clips: paired differences, their interval, their chance."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.measures import MEASURES
from benchmark.results import clip_mean

DRAWS = 10000
_AT_ONCE = 500


class Paired(NamedTuple):
    """The differences of a metric between two methods, clip by clip: the first minus the second.

    Attributes:
        metric: its name in `benchmark.measures.MEASURES`.
        mean: over the clips.
        low, high: 95 % bootstrap interval of the mean, by drawing clips anew.
        better, worse: in how many clips the first is better, or worse; the rest are equal.
        clips: how many both methods have a figure for.
        p: two-sided, of a permutation test: how often the mean would be as far from 0 if each clip's two figures
            were exchanged at random.
    """
    metric: str
    mean: float
    low: float
    high: float
    better: int
    worse: int
    clips: int
    p: float


def paired(first: Sequence[dict], second: Sequence[dict], metric: str) -> Paired | None:
    """Compare two results' records of the same clips, in the same order; None if no clip has a figure in both."""
    pairs = [(clip_mean(a, metric), clip_mean(b, metric)) for a, b in zip(first, second, strict=True)]
    differences = np.array([a - b for a, b in pairs if a is not None and b is not None])
    if not len(differences):
        return None
    low, high = bootstrap_interval(differences)
    gains = differences if MEASURES[metric].higher else -differences
    return Paired(metric, float(differences.mean()), low, high, int((gains > 0).sum()), int((gains < 0).sum()),
                  len(differences), permutation_p(differences))


def bootstrap_interval(values: np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """The interval that holds `share` of the means of samples drawn from `values` with replacement; seeded."""
    random = np.random.default_rng(0)
    means = np.concatenate([values[random.integers(len(values), size=(_AT_ONCE, len(values)))].mean(1)
                            for _ in range(DRAWS // _AT_ONCE)])
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def permutation_p(differences: np.ndarray) -> float:
    """Two-sided p of the mean of paired differences under random signs; seeded, at least 1 / (draws + 1)."""
    random = np.random.default_rng(0)
    observed = abs(differences.mean()) * (1 - 1e-9)  # rounding must not tell equal means apart
    extreme = 0
    for _ in range(DRAWS // _AT_ONCE):
        signs = random.integers(0, 2, (_AT_ONCE, len(differences))) * 2 - 1
        extreme += int((np.abs((signs * differences).mean(1)) >= observed).sum())
    return (extreme + 1) / (DRAWS + 1)
