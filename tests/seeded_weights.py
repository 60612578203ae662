"""Weights for parity with the official release: every tensor drawn from a generator seeded by its official name.

`data/official_state_dict.json` lists the official release's names and shapes; `data/golden.npz` holds
what the official network gives with these weights.
"""
import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
# Chosen so that the seeded network warps by a few pixels, picks every scale, and seldom saturates.
GAINS = {"block.convflow.0.weight": 1.5, "block.getscale.4.weight": 12.0, "lastconv.15.weight": 0.05}
OFFSETS = {"block.getscale.4.bias": [8.0, 5.0]}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def seeded_tensor(name: str, shape: list[int]) -> torch.Tensor:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("normalize.weight"):
        values = (np.eye(3) / STD[:, None]).reshape(shape)
    elif name.endswith("normalize.bias"):
        values = -MEAN / STD
    elif name.endswith("running_mean"):
        values = 0.2 * rng.standard_normal(shape)
    elif name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("beta"):
        values = 0.3 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) * GAINS.get(name, 1.0)
    elif name.endswith("weight"):
        values = rng.uniform(0.1, 0.9, shape)
    else:
        values = 0.05 * rng.standard_normal(shape)
    return torch.from_numpy(np.asarray(values + np.array(OFFSETS.get(name, 0.0)), np.float32))


def seeded_state_dict(prefix: str = "module.") -> dict[str, torch.Tensor]:
    """The whole official state dict, its names with `prefix` as in the published file."""
    shapes = json.loads((DATA / "official_state_dict.json").read_text())
    return {prefix + name: seeded_tensor(name, shape) for name, shape in shapes.items()}
