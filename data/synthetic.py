"""`synthetic`: endless generated motion whose truth is known at every time.

A scene is a background and up to four foreground layers. A layer is a texture with an outline; it moves,
turns and grows along a smooth path, and some bend as well. Every frame is rendered from the textures
themselves at twice the resolution and averaged down, so frames are equally sharp wherever the layers are.
"""
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from data.base import Dataset
from data.textures import draw_mask, load_photos, make_textures

_SUPERSAMPLING = 2
_MOVE = (0.5, 60.0)  # range of motion over the window, pixels at a crop of 128; drawn evenly in its logarithm
_EPOCH = 10000


@dataclass
class LayerPath:
    """Where a layer is at time u in [0, 1], in rendering pixels from the middle of the frame."""

    middle: np.ndarray        # (2,) x, y at u = 1/2
    move: np.ndarray          # (2,) displacement from u = 0 to u = 1
    bow: np.ndarray           # (2,) how far the path bends off the straight line at u = 1/2
    angle: float              # radians at u = 1/2
    turn: float               # radians over the window
    zoom: float               # enlargement of the texture at u = 1/2
    growth: float             # log of the enlargement over the window

    def matrix(self, u: float, texture: np.ndarray, size: int) -> np.ndarray:
        """(2, 3) map from rendering pixels of the frame to texture pixels."""
        scale = self.zoom * np.exp(self.growth * (u - 0.5))
        angle = self.angle + self.turn * (u - 0.5)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cos, sin], [-sin, cos]])
        centre = size / 2 - 0.5 + self.middle + self.move * (u - 0.5) + self.bow * 4 * u * (1 - u)
        anchor = np.array([texture.shape[1], texture.shape[0]]) / 2 - 0.5
        return np.hstack([turn, (anchor - turn @ centre)[:, None]])


@dataclass
class Layer:
    texture: np.ndarray       # HxWx3 uint8
    mask: np.ndarray | None   # HxW uint8; None: the background, which has no end
    path: LayerPath
    bend: np.ndarray | None   # (size, size, 2) float32: how far texture points wander over the window

    def render(self, u: float, size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(size, size, 3) uint8, and the mask (size, size) uint8 or None."""
        matrix = self.path.matrix(u, self.texture, size)
        border = cv2.BORDER_REFLECT_101
        if self.bend is None:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            colour = cv2.warpAffine(self.texture, matrix, (size, size), flags=flags, borderMode=border)
            return colour, None if self.mask is None else cv2.warpAffine(self.mask, matrix, (size, size), flags=flags)
        axis = np.arange(size, dtype=np.float32)
        matrix = matrix.astype(np.float32)
        where = self.bend * np.float32(u - 0.5) + matrix[:, 2]
        where += axis[None, :, None] * matrix[:, 0]
        where += axis[:, None, None] * matrix[:, 1]
        colour = cv2.remap(self.texture, where, None, cv2.INTER_LINEAR, borderMode=border)
        return colour, None if self.mask is None else cv2.remap(self.mask, where, None, cv2.INTER_LINEAR)


class Synthetic(Dataset):
    """Generated scenes; no data is needed.

    Args:
        crop: side of the frames in pixels.
        split: "val" uses other textures than "train".
        photos: a folder of pictures to take textures from; None: procedural textures.
        gap: timesteps are k / gap, k uniform in 1..gap-1, as those of recorded windows are.
        length: samples called an epoch; a sample's index means nothing, all comes from the generator.
    """

    def __init__(self, crop: int | None, split: str = "train", photos: Path | None = None, gap: int = 8,
                 length: int = _EPOCH) -> None:
        super().__init__(crop)
        if crop is None:
            raise UserError("synthetic frames need a size: give --crop")
        if not isinstance(gap, int):
            gap = max(gap)
        self._gap, self._length, self._split, self._photos = gap, length, split, photos
        self._textures = load_photos(photos, split) if photos else make_textures(split)

    def __len__(self) -> int:
        return self._length

    def frames(self, index: int, rng: np.random.Generator, augment: bool) -> tuple[np.ndarray, float]:
        timestep = int(rng.integers(1, self._gap)) / self._gap
        layers = self._scene(rng)
        return np.stack([render(layers, u, self.crop) for u in (0.0, timestep, 1.0)]), timestep

    def _scene(self, rng: np.random.Generator) -> list[Layer]:
        size = self.crop * _SUPERSAMPLING
        camera = np.zeros(2) if rng.random() < 0.15 else self._move(rng)
        turn, growth = _small_turn(rng), _small_growth(rng)
        path = LayerPath(rng.uniform(-0.2, 0.2, 2) * size, camera, _bow(camera, rng), rng.normal(0, 0.15), turn,
                     np.exp(rng.uniform(np.log(0.85), np.log(1.8))), growth)
        layers = [Layer(self._patch(size * 2, rng), None, path, _bend(size, rng) if rng.random() < 0.3 else None)]
        for _ in range(int(rng.choice(5, p=[0.25, 0.3, 0.2, 0.15, 0.1]))):
            move = camera + (0 if rng.random() < 0.2 else self._move(rng))
            path = LayerPath(rng.uniform(-0.5, 0.5, 2) * size, move, _bow(move, rng), rng.normal(0, 0.3),
                         turn + 2 * _small_turn(rng), np.exp(rng.uniform(np.log(0.85), np.log(1.5))),
                         growth + 2 * _small_growth(rng))
            texture = self._patch(int(size * np.exp(rng.uniform(np.log(0.25), np.log(1.1)))), rng)
            if rng.random() < 0.2:
                texture = np.full_like(texture, rng.integers(0, 256, 3))
            elif rng.random() < 0.5:
                gain, offset = rng.uniform(0.5, 1.3), rng.uniform(-50, 50)
                texture = cv2.convertScaleAbs(texture, alpha=gain, beta=max(offset, 0) if gain < 1 else 0)
            layers.append(Layer(texture, draw_mask(*texture.shape[:2], rng), path,
                                 _bend(size, rng) if rng.random() < 0.15 else None))
        return layers

    def _move(self, rng: np.random.Generator) -> np.ndarray:
        """A displacement over the window, (2,), in rendering pixels."""
        length = np.exp(rng.uniform(*np.log(_MOVE))) * self.crop / 128 * _SUPERSAMPLING
        angle = rng.uniform(0, 2 * np.pi)
        return length * np.array([np.cos(angle), 0.6 * np.sin(angle)])  # cameras move sideways more than up

    def _patch(self, side: int, rng: np.random.Generator) -> np.ndarray:
        """A piece of a texture, at most side x side, flipped and with its colours swapped at random."""
        picture = self._textures[int(rng.integers(len(self._textures)))]
        height, width = min(side, picture.shape[0]), min(side, picture.shape[1])
        top = int(rng.integers(picture.shape[0] - height + 1))
        left = int(rng.integers(picture.shape[1] - width + 1))
        patch = picture[top:top + height, left:left + width]
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return np.ascontiguousarray(patch[..., rng.permutation(3)] if rng.random() < 0.3 else patch)


def render(layers: list[Layer], u: float, crop: int) -> np.ndarray:
    """The scene at time u, (crop, crop, 3) uint8."""
    size = crop * _SUPERSAMPLING
    canvas, _ = layers[0].render(u, size)
    for layer in layers[1:]:
        colour, mask = layer.render(u, size)
        weight = cv2.merge([mask, mask, mask]).astype(np.float32) / 255
        canvas = canvas + (colour.astype(np.float32) - canvas) * weight
    small = cv2.resize(canvas, (crop, crop), interpolation=cv2.INTER_AREA)
    return small if small.dtype == np.uint8 else np.round(small).astype(np.uint8)


def _small_turn(rng: np.random.Generator) -> float:
    return rng.normal(0, 0.05) if rng.random() < 0.5 else 0.0


def _small_growth(rng: np.random.Generator) -> float:
    return rng.normal(0, 0.04) if rng.random() < 0.5 else 0.0


def _bow(move: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speeding up, slowing down and bending: small beside the motion itself."""
    return rng.normal(0, 0.03, 2) * np.abs(move).max()


def _bend(size: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth displacement field (size, size, 2) in texture pixels: cloth, water, walking legs."""
    cells = int(rng.integers(2, 7))
    field = rng.normal(0, 1, (cells, cells, 2)).astype(np.float32) * np.float32(size * rng.uniform(0.002, 0.03))
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
