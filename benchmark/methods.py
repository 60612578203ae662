"""What is benchmarked: a network, and the baselines every network must beat."""
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from benchmark.baseline import BASELINES
from benchmark.clips import FACTOR, LoadedClip, Source, Target

if TYPE_CHECKING:
    from model import Predictor
    from model.encoded import EncodedFrame
    from model.predictor import Details

TITLES = {"safa": "SAFA", "safa_small": "SAFA small"} | {name: entry.title for name, entry in BASELINES.items()}


def title_of(name: str) -> str:
    """What tables and pages call a method: a network's or baseline's title, any other name as it is."""
    return TITLES.get(name, name)


class BaselineMethod:
    """One of `benchmark.baseline.BASELINES`. Needs no weights."""
    device = "cpu"

    def __init__(self, name: str):
        self.name = name

    def identity(self) -> dict[str, object]:
        """What identifies its results."""
        return {"method": self.name}

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        frames: dict[int, np.ndarray] = {}
        height, width = loaded.ground_truth[0].shape[:2]
        for pair, targets in _by_pair(loaded):
            first, second = (loaded.inputs[source] for source in loaded.clip.inputs[pair:pair + 2])
            between = BASELINES[self.name].between(first, second, [target.timestep for target in targets],
                                                   (height, width))
            frames.update(zip((target.position for target in targets), between, strict=True))
        return [frames[target.position] for target in loaded.clip.targets]

    def gmac(self, loaded: LoadedClip) -> float | None:
        """Multiply-adds are a measure of networks."""
        return None


class NetworkMethod:
    """A network through the user's door, its `Predictor`; each input frame is encoded once, also across clips."""

    def __init__(self, predictor: "Predictor"):
        self.predictor = predictor
        self.name = str(predictor.identity()["network"])
        self.device = str(predictor.device)
        self._encoded: OrderedDict[Source, EncodedFrame] = OrderedDict()
        self._scales: dict[int, list[int]] = {}  # of the clip predicted last: position -> scale of each block
        self._restoring: dict[int, list[int]] = {}  # the same of the frame that each pair is the first to have

    def identity(self) -> dict[str, object]:
        """What identifies its results."""
        return {"method": self.name, "weights": str(self.predictor.settings.model or "the default weights"),
                **self.predictor.identity()}

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        frames: dict[int, np.ndarray] = {}
        self._scales, self._restoring = {}, {}
        for pair, targets in _by_pair(loaded):
            # Alone: a frame is restored by the other one of this pair, whatever clips it was in before.
            first, second = (self._encode(loaded, source).alone() for source in loaded.clip.inputs[pair:pair + 2])
            details: list[Details] = []
            predicted = self.predictor.between(first, second, [target.timestep for target in targets], details,
                                               exact=True)
            self._restoring[pair] = second.scales
            for target, frame, detail in zip(targets, predicted, details, strict=True):
                frames[target.position], self._scales[target.position] = frame, detail.scales
        return [frames[target.position] * np.float32(255) for target in loaded.clip.targets]

    def gmac(self, loaded: LoadedClip) -> float:
        """Billions of multiply-adds for each frame of the clip predicted last, at the scales that were used.

        Counted as in a video: every pair encodes and restores one new frame, and its timesteps share what they can.
        """
        height, width = loaded.ground_truth[0].shape[:2]
        total = 0.0
        for pair, targets in _by_pair(loaded):
            cost = self.predictor.model.multiply_adds(height, width, [self._scales[t.position] for t in targets],
                                                      self._restoring[pair])
            total += cost.frame + cost.pair + sum(cost.timesteps)
        return total / len(loaded.clip.targets) / 1e9

    def _encode(self, loaded: LoadedClip, source: Source) -> "EncodedFrame":
        if source not in self._encoded:
            self._encoded[source] = self.predictor.encode(loaded.inputs[source], FACTOR)
            while len(self._encoded) > 2:  # a pair is all that is ever used together
                self._encoded.popitem(last=False)
        return self._encoded[source]


Method = BaselineMethod | NetworkMethod


def _by_pair(loaded: LoadedClip) -> Iterator[tuple[int, list[Target]]]:
    for pair in sorted({target.pair for target in loaded.clip.targets}):
        yield pair, [target for target in loaded.clip.targets if target.pair == pair]
