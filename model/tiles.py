"""Overlapping tiles over an image, and weights that blend them without seams."""
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from model.network import Network, Prediction


class Tile(NamedTuple):
    """A window of an image: rows `top` to `bottom`, columns `left` to `right` (ends excluded)."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, image: torch.Tensor) -> torch.Tensor:
        """A view of the window of (..., H, W)."""
        return image[..., self.top:self.bottom, self.left:self.right]


def tile_grid(height: int, width: int, size: int, overlap: int, multiple: int) -> list[Tile]:
    """Windows of at most `size` that cover the image, neighbours sharing at least `overlap`.

    All windows have the same size, a multiple of `multiple`, and start at a multiple of it;
    `height` and `width` are multiples already. size 0 means one window: the whole image.
    """
    if not size:
        return [Tile(0, height, 0, width)]
    rows = _spans(height, size, overlap, multiple)
    columns = _spans(width, size, overlap, multiple)
    return [Tile(top, bottom, left, right) for top, bottom in rows for left, right in columns]


def _spans(length: int, size: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    size = max(size // multiple, 1) * multiple
    if length <= size:
        return [(0, length)]
    count = -(-(length - overlap) // max(size - overlap, multiple))
    starts = [round(i * (length - size) / (count - 1) / multiple) * multiple for i in range(count)]
    return [(start, start + size) for start in starts]


def assemble(tiles: list[Tile], predictions: Iterator[Prediction], size: Sequence[int], network: Network,
             with_details: bool) -> Prediction:
    """Blend the tiles' predictions into one; only one tile's exists at a time.

    Args:
        tiles: windows of the working frame, `size` that frame's (h, w).
        with_details: flow and mask, too.

    Returns:
        The whole frame's, its scales those of the middle tile.
    """
    device = network.device
    tiles = [Tile(*(network.factor * side for side in tile)) for tile in tiles]
    height, width = (network.factor * side for side in size)
    overlap = min(network.overlap, tiles[0].bottom - tiles[0].top, tiles[0].right - tiles[0].left)
    rows = blend_weights([(tile.top, tile.bottom) for tile in tiles], height, overlap, device)
    columns = blend_weights([(tile.left, tile.right) for tile in tiles], width, overlap, device)
    sums: list[torch.Tensor] = []
    scales: list[torch.Tensor] = []
    for index, (tile, prediction) in enumerate(zip(tiles, predictions)):
        parts: Sequence[Any] = prediction[:3 if with_details else 1]
        sums = sums or [part.new_zeros(*part.shape[:2], height, width) for part in parts]
        weights = rows[tile.top, tile.bottom][:, None] * columns[tile.left, tile.right]
        for whole, part in zip(sums, parts):
            tile.cut(whole).addcmul_(part, weights)
        if index == len(tiles) // 2:
            scales = prediction.scales
    frames, flow, mask = sums if with_details else (sums[0], None, None)
    return Prediction(frames, flow, mask, scales)


def blend_weights(spans: list[tuple[int, int]], length: int, overlap: int,
                  device: torch.device | str = "cpu") -> dict[tuple[int, int], torch.Tensor]:
    """For each (start, end) along one side, (end - start,) weights that add up to 1 everywhere.

    They fall toward those ends where another span goes on, over at most half of the span.
    """
    weights = {}
    total = torch.zeros(length, device=device)
    for start, end in dict.fromkeys(spans):
        reach = min(overlap, (end - start) // 2)
        ramp = (torch.arange(reach, device=device) + 0.5) / reach
        weights[start, end] = torch.ones(end - start, device=device)
        if start > 0:
            weights[start, end][:reach] = ramp
        if end < length:
            weights[start, end][-reach:] = ramp.flip(0)
        total[start:end] += weights[start, end]
    return {(start, end): weight / total[start:end] for (start, end), weight in weights.items()}
