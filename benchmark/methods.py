"""What is benchmarked: a network, and the baseline every method must beat."""
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.baseline import bicubic_blend
from benchmark.clips import FACTOR, LoadedClip

if TYPE_CHECKING:
    from model import Predictor


class Bicubic:
    """Bicubic enlargement and linear blending of the two inputs. Needs no weights."""
    name = "bicubic"
    device = "cpu"

    def identity(self) -> dict[str, object]:
        """What identifies its results."""
        return {"method": self.name}

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        size = loaded.truth[0].shape[:2]
        return [bicubic_blend(*(loaded.inputs[path] for path in loaded.clip.inputs[target.pair:target.pair + 2]),
                              target.timestep, *size) for target in loaded.clip.targets]


class Network:
    """A network through the user's door, its `Predictor`; each input frame is encoded once, also across clips."""

    def __init__(self, predictor: "Predictor"):
        self.predictor = predictor
        self.name = predictor.identity()["network"]
        self.device = str(predictor.device)
        self._encoded: OrderedDict[Path, object] = OrderedDict()

    def identity(self) -> dict[str, object]:
        """What identifies its results."""
        return {"method": self.name, "weights": str(self.predictor.settings.model or "the default weights"),
                **self.predictor.identity()}

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        frames = {}
        for pair in sorted({target.pair for target in loaded.clip.targets}):
            targets = [target for target in loaded.clip.targets if target.pair == pair]
            first, second = (self._encode(loaded, path) for path in loaded.clip.inputs[pair:pair + 2])
            predicted = self.predictor.between(first, second, [target.timestep for target in targets], exact=True)
            frames.update(zip((target.position for target in targets), predicted, strict=True))
        return [frames[target.position] * np.float32(255) for target in loaded.clip.targets]

    def _encode(self, loaded: LoadedClip, path: Path) -> object:
        if path not in self._encoded:
            self._encoded[path] = self.predictor.encode(loaded.inputs[path], FACTOR)
            while len(self._encoded) > 2:  # a pair is all that is ever used together
                self._encoded.popitem(last=False)
        return self._encoded[path]
