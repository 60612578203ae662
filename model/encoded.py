"""Frames as the predictor keeps them between calls, and pairs of them."""
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from common.errors import UserError
from model.tiles import Tile


@dataclasses.dataclass(eq=False)
class EncodedFrame:
    """A frame as the network keeps it, made by `Predictor.encode`.

    Where the network restores frames by one another, the first one that it is paired with is what it is restored by:
    in a video the frame before it, or, for the first of all, the one after. It stays so, whatever pairs come later.
    """

    working: torch.Tensor  # (1, 3, h, w) float32 in [0, 1]: the frame as the network works on it, padded
    tiles: list[Tile]  # windows of the working frame
    features: list[torch.Tensor]  # one tensor for each tile
    inner: tuple[int, int]  # (h, w) of the working frame before padding
    size: tuple[int, int]  # (H, W) of the frames that come out
    dtype: np.dtype  # of the frames that came in, and go out
    neighbour: "EncodedFrame | None" = None  # what it is restored by
    warped: list[torch.Tensor] = dataclasses.field(default_factory=list)  # for each tile the frame restored
    scales: list[int] = dataclasses.field(default_factory=list)  # as in `Details`, of the blocks that did it

    def alone(self) -> "EncodedFrame":
        """The frame as if it had never been paired."""
        return dataclasses.replace(self, neighbour=None, warped=[], scales=[])

    def meet(self, other: "EncodedFrame") -> None:
        """Be paired with another."""
        self.neighbour = self.neighbour or other.alone()


class Pair(NamedTuple):
    """Two encoded frames, and the timesteps wanted between them."""

    first: EncodedFrame
    second: EncodedFrame
    timesteps: Sequence[float]


def number_of(pairs: list[Pair]) -> int:
    return sum(len(pair.timesteps) for pair in pairs)


def alike(first: EncodedFrame, second: EncodedFrame) -> bool:
    """Whether they can go through the network together."""
    return first.size == second.size and first.dtype == second.dtype and first.inner == second.inner


def check_pair(first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float]) -> None:
    if not alike(first, second):
        raise UserError(f"the frames of a pair differ: {first.size[1]}x{first.size[0]} {first.dtype} and "
                        f"{second.size[1]}x{second.size[0]} {second.dtype}")
    for timestep in timesteps:
        if not 0 <= timestep <= 1:  # false for nan too
            raise UserError(f"timestep {timestep} is not between 0 and 1")
