"""What is benchmarked: the network, and the floor every method must beat."""
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.clips import LoadedClip

if TYPE_CHECKING:
    from model import Predictor


class Bicubic:
    """Bicubic enlargement and linear blending of the two inputs. Needs no weights."""
    name = "bicubic"
    device = "cpu"

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        frames = []
        for target in loaded.clip.targets:
            first, second = (loaded.enlarged[path].astype(np.float32)
                             for path in loaded.clip.inputs[target.pair:target.pair + 2])
            frames.append((1 - target.timestep) * first + target.timestep * second)
        return frames


class Network:
    """SAFA through its `Predictor`; each input frame is encoded once, also across clips that share it."""
    name = "safa"

    def __init__(self, predictor: "Predictor"):
        self.predictor = predictor
        self.device = str(predictor.device)
        self._encoded: OrderedDict[Path, object] = OrderedDict()

    def predict(self, loaded: LoadedClip) -> list[np.ndarray]:
        """One HxWx3 float32 BGR frame in 0..255, not rounded, per target of the clip."""
        frames = {}
        for pair in sorted({target.pair for target in loaded.clip.targets}):
            targets = [target for target in loaded.clip.targets if target.pair == pair]
            first, second = (self._encode(loaded, path) for path in loaded.clip.inputs[pair:pair + 2])
            predicted = self.predictor.between(first, second, [target.timestep for target in targets])
            frames.update(zip((target.position for target in targets), predicted, strict=True))
        return [frames[target.position] * np.float32(255) for target in loaded.clip.targets]

    def _encode(self, loaded: LoadedClip, path: Path) -> object:
        if path not in self._encoded:
            # The frame is enlarged already, in 8 bits; as floats it makes the predictor give floats back.
            frame = loaded.enlarged[path].astype(np.float32) / 255
            self._encoded[path] = self.predictor.encode(frame, upscale=1)
            while len(self._encoded) > 2:  # a pair is all that is ever used together
                self._encoded.popitem(last=False)
        return self._encoded[path]
