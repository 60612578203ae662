"""Overlapping tiles over a picture, and weights that blend them without seams."""
from typing import NamedTuple

import torch


class Tile(NamedTuple):
    """A window of a picture: rows `top` to `bottom`, columns `left` to `right` (ends excluded)."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, picture: torch.Tensor) -> torch.Tensor:
        """A view of the window of (..., H, W)."""
        return picture[..., self.top:self.bottom, self.left:self.right]


def tile_grid(height: int, width: int, size: int, overlap: int, multiple: int) -> list[Tile]:
    """Windows of at most `size` that cover the picture, neighbours sharing at least `overlap`.

    All windows have the same size, a multiple of `multiple`, and start at a multiple of it;
    `height` and `width` are multiples already. size 0 means one window: the whole picture.
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


def blend_weights(tile: Tile, height: int, width: int, overlap: int) -> torch.Tensor:
    """(tile height, tile width) weights: 1 inside, falling toward those edges where another tile goes on."""
    rows = _ramp(tile.bottom - tile.top, tile.top > 0, tile.bottom < height, overlap)
    columns = _ramp(tile.right - tile.left, tile.left > 0, tile.right < width, overlap)
    return rows[:, None] * columns


def _ramp(length: int, before: bool, after: bool, overlap: int) -> torch.Tensor:
    weights = torch.ones(length)
    ramp = (torch.arange(overlap) + 0.5) / overlap
    if before:
        weights[:overlap] = ramp
    if after:
        weights[-overlap:] = torch.minimum(weights[-overlap:], ramp.flip(0))
    return weights
