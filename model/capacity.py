"""How much of a frame is worked on at once: what caches hold on a CPU, what the memory holds on a GPU."""
import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from tqdm import tqdm

from common.errors import UserError
from model.network import Network
from model.settings import SMALLEST_TILE

MEMORY_SHARE = 0.8  # of what is free on a GPU: the rest is for fragments, and for who comes later
MOST_TIMESTEPS = 16  # of all pairs in one call
JOINING = 1.1  # times the memory: what is kept of several pairs' frames until they are joined

TOO_SMALL = "the GPU's memory is too small"

Result = TypeVar("Result")


class Capacity:
    """Decides on tiles and on the number of timesteps in one call, once for each size of frames.

    `joins_pairs`: whether those of several pairs go together.

    Args:
        model: gives what "auto" means for it.
        tile: as `InferenceSettings.tile`.
        bytes_a_value: of the network's floating-point type.
    """

    def __init__(self, model: Network, device: torch.device, tile: int | str | None, bytes_a_value: int):
        self.model, self.device = model, device
        self.automatic = tile == "auto"
        self.wanted = 0 if self.automatic else int(tile or 0)
        self.bytes_per_pixel = model.bytes_per_pixel * bytes_a_value // 2
        self.joins_pairs = device.type == "cuda"  # in one call; caches gain nothing by it
        self._most = MOST_TIMESTEPS
        self._largest: int | None = None  # tile, once the memory has been too small
        self._plans: dict[tuple[int, int], tuple[int, int]] = {}

    def plan(self, working: torch.Tensor) -> tuple[int, int]:
        """For a padded working frame: the side of its tiles in output pixels, 0 for none; timesteps in one call."""
        height, width = (side * self.model.factor for side in working.shape[-2:])
        if (height, width) not in self._plans:
            self._plans[height, width] = self._plan(height * width)
        tile, at_once = self._plans[height, width]
        if self._largest and (not tile or tile > self._largest):
            return self._largest, 1
        return tile, min(at_once, self._most)

    def fitting(self, working: torch.Tensor, job: Callable[[], Result], timesteps: int = 1) -> Result:
        """Run `job`. If the GPU's memory does not hold it: again with fewer timesteps at once, then with smaller tiles,
        which then remains.

        Args:
            timesteps: how many the job has.

        Raises:
            UserError: it does not hold the smallest tiles either.
        """
        while True:
            try:
                return job()
            except torch.OutOfMemoryError:
                pass  # the retry comes after the exception, which keeps the failed attempt's tensors
            tile, at_once = self.plan(working)
            together = min(timesteps, at_once)
            if together > 1:
                self._most = together // 2
                torch.cuda.empty_cache()
                tqdm.write(f"out of GPU memory: going on with {self._most} new frames at once", file=sys.stderr)
                continue
            side = tile or max(working.shape[-2:]) * self.model.factor
            if side <= SMALLEST_TILE:
                raise UserError(f"{TOO_SMALL} even for --tile {side}: free some of it, or give --device cpu")
            self._largest = max(SMALLEST_TILE, side // 2)
            torch.cuda.empty_cache()
            tqdm.write(f"out of GPU memory: going on with tiles of {self._largest} pixels (--tile {self._largest} "
                       "starts so)", file=sys.stderr)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """For what cannot be cut into tiles: a UserError where the GPU's memory does not hold it."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise UserError(f"{TOO_SMALL} for such frames: free some of it, or give --device cpu") from None

    def _plan(self, pixels: int) -> tuple[int, int]:
        if self.device.type == "cuda":
            return self._by_memory(pixels)
        tile = self.wanted
        if self.automatic:
            tile = 0 if pixels <= self.model.whole_pixels else self.model.tile
        return tile, min(MOST_TIMESTEPS, max(1, self.model.batch_pixels // pixels))

    def _by_memory(self, pixels: int) -> tuple[int, int]:
        free = torch.cuda.mem_get_info(self.device)[0]
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        room = max(1, int(MEMORY_SHARE * free / self.bytes_per_pixel))  # output pixels
        tile = self.wanted
        if self.automatic:
            tile = 0 if pixels <= room else max(SMALLEST_TILE, math.isqrt(room))
        pixels = min(pixels, tile**2) if tile else pixels
        return tile, min(MOST_TIMESTEPS, max(1, int(room / JOINING) // pixels))
