"""`synthetic`: endless generated motion that is known exactly at every time.

A scene is a background and up to four foreground layers (`data.layers`). A layer is a texture with an outline; it
moves, turns and grows along a smooth path, and some bend as well.
"""
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.base import Dataset
from data.layers import TEXELS, Layer, LayerPath, render, render_with_motion
from data.materials import draw_mask, load_photos, make_textures, print_letters
from data.sample import Triplet

_MOVE = (0.25, 60.0)    # range of motion over the window, pixels at a crop of 128; drawn evenly in its logarithm
_REDUCE = (2.0, 3.2)    # a photograph's pixels per pixel of the frame: it is sharper than it was itself
_STEPS = 8              # moments of the window that may be asked for
_EPOCH = 10000


class Synthetic(Dataset):
    """Generated scenes; no data is needed. Timesteps are k / 8, k uniform in 1..7, as in windows of 240 fps videos.

    Args:
        crop: side of the frames in pixels.
        split: "val" uses other textures than "train".
        photos: folders of images to take textures from; none: procedural textures.
        val_photos: name patterns of photos for "val" alone, see `data.materials.load_photos`.
        motion: (least, most) motion over the window in pixels, camera and layers alike; None: from hardly any to
            half the frame, and some cameras stand still.
        length: samples called an epoch; a sample's index means nothing, all comes from the generator.
    """

    crop: int  # never None here

    def __init__(self, crop: int, split: str = "train", photos: Sequence[Path] = (),
                 val_photos: Sequence[str] = (), motion: tuple[float, float] | None = None,
                 length: int = _EPOCH) -> None:
        super().__init__(crop)
        self._length, self._still = length, 0.15 if motion is None else 0.0
        self._motion: tuple[float, ...] = motion or tuple(length * crop / 128 for length in _MOVE)
        self._textures = load_photos(tuple(photos), split, tuple(val_photos)) if photos else make_textures(split)

    def __len__(self) -> int:
        return self._length

    @functools.cached_property
    def textures_digest(self) -> str:
        """Of all that scenes are cut from."""
        digest = hashlib.sha256()
        for texture in self._textures:
            digest.update(str(texture.shape).encode())
            digest.update(texture.tobytes())
        return digest.hexdigest()

    def triplet(self, index: int, rng: np.random.Generator, augment: bool, motion: bool = False) -> Triplet:
        timestep = int(rng.integers(1, _STEPS)) / _STEPS
        layers = self.scene(rng)
        if motion:
            frames, flow = render_with_motion(layers, timestep, self.crop)
            return Triplet(frames, timestep, flow)
        return Triplet(np.stack([render(layers, u, self.crop) for u in (0.0, timestep, 1.0)]), timestep)

    def scene(self, rng: np.random.Generator) -> list[Layer]:
        """The layers of a new scene, for `data.layers.render`."""
        crop = self.crop
        camera = np.zeros(2) if rng.random() < self._still else self._move(rng)
        turn, growth = _small_turn(rng), _small_growth(rng)
        path = LayerPath(rng.uniform(-0.2, 0.2, 2) * crop, camera, _bow(camera, rng), rng.normal(0, 0.15), turn,
                         _zoom(rng), growth)
        ground = self._patch(2 * crop, rng)
        if rng.random() < 0.1:
            ground = print_letters(ground, TEXELS, rng)
        layers = [Layer(ground, None, path, _bend(crop, rng) if rng.random() < 0.3 else None)]
        for _ in range(int(rng.choice(5, p=[0.25, 0.3, 0.2, 0.15, 0.1]))):
            move = camera + (0 if rng.random() < 0.2 else self._move(rng))
            move *= min(1, self._motion[1] / max(np.hypot(*move), 1e-6))
            path = LayerPath(rng.uniform(-0.5, 0.5, 2) * crop, move, _bow(move, rng), rng.normal(0, 0.3),
                             turn + 2 * _small_turn(rng), _zoom(rng), growth + 2 * _small_growth(rng))
            texture = self._patch(int(crop * np.exp(rng.uniform(np.log(0.25), np.log(1.1)))), rng)
            if plain := rng.random() < 0.2:
                texture = np.full_like(texture, rng.integers(0, 256, 3))
            elif rng.random() < 0.5:
                gain, offset = rng.uniform(0.5, 1.3), rng.uniform(-50, 50)
                texture = cv2.convertScaleAbs(texture, alpha=gain, beta=max(offset, 0) if gain < 1 else 0)
            if rng.random() < (0.7 if plain else 0.3):
                texture = print_letters(texture, TEXELS, rng)
            height, width = texture.shape[:2]
            layers.append(Layer(texture, draw_mask(height, width, rng), path,
                                 _bend(crop, rng) if rng.random() < 0.15 else None))
        return layers

    def _move(self, rng: np.random.Generator) -> np.ndarray:
        """A displacement over the window, (2,), in pixels."""
        length = np.exp(rng.uniform(*np.log(self._motion)))
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), 0.6 * np.sin(angle)])  # cameras move sideways more than up
        return length * direction / np.hypot(*direction)

    def _patch(self, side: int, rng: np.random.Generator) -> np.ndarray:
        """A piece of a texture for at most `side` x `side` pixels, reduced, flipped and recoloured at random."""
        image = self._textures[int(rng.integers(len(self._textures)))]
        reduce = rng.uniform(*_REDUCE)
        # A small photograph is reduced less, so that a layer does not run out of it; at its edges it is mirrored.
        reduce = max(_REDUCE[0], min(reduce, min(image.shape[:2]) / side))
        height, width = (min(round(side * reduce), length) for length in image.shape[:2])
        top = int(rng.integers(image.shape[0] - height + 1))
        left = int(rng.integers(image.shape[1] - width + 1))
        patch = image[top:top + height, left:left + width]
        if reduce > TEXELS:
            size = round(width * TEXELS / reduce), round(height * TEXELS / reduce)
            patch = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return np.ascontiguousarray(patch[..., rng.permutation(3)] if rng.random() < 0.3 else patch)


def _zoom(rng: np.random.Generator) -> float:
    """Most layers are as sharp as can be; some are enlarged, like what is out of focus."""
    return 1.0 if rng.random() < 0.8 else rng.uniform(1, 1.6)


def _small_turn(rng: np.random.Generator) -> float:
    return rng.normal(0, 0.05) if rng.random() < 0.5 else 0.0


def _small_growth(rng: np.random.Generator) -> float:
    return rng.normal(0, 0.04) if rng.random() < 0.5 else 0.0


def _bow(move: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speeding up, slowing down and bending: small beside the motion itself."""
    return rng.normal(0, 0.03, 2) * np.abs(move).max()


def _bend(crop: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth displacement field (crop, crop, 2) in texels: cloth, water, walking legs."""
    cells = int(rng.integers(2, 7))
    strength = crop * TEXELS * rng.uniform(0.004, 0.06) / cells  # no steeper where it is finer: it must not fold
    field = rng.normal(0, 1, (cells, cells, 2)).clip(-2, 2).astype(np.float32) * np.float32(strength)
    return cv2.resize(field, (crop, crop), interpolation=cv2.INTER_CUBIC)
