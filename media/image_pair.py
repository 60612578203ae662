"""Images between two images of any kind: gray, alpha and linear light around a network that knows frames."""
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.errors import UserError
from media.image import ColourTag, LoadedImage
from media.resize import enlarge_bicubic


@dataclasses.dataclass(frozen=True)
class LogCurve:
    """Scene-linear light to [0, 1] and back: v = (s(x) - s(lowest)) / (s(peak) - s(lowest)), where
    s(x) = sign(x) * log(1 + |x| / KNEE).

    The network was trained on display-referred images, and expects values in [0, 1]. With a peak of 1
    this curve stays near the sRGB one (middle gray 0.18: 0.50 against 0.46); with brighter peaks it
    compresses the highlights more, as film does, instead of pressing everything else into black, and
    nothing is clipped. `lowest` is 0 unless the images have negative values (colours out of gamut, rays that went
    astray), which are compressed as their opposites are: one far below zero costs the rest little.
    """

    lowest: float
    peak: float
    KNEE = 0.05

    @classmethod
    def around(cls, images: Sequence[np.ndarray]) -> "LogCurve":
        """The curve whose [0, 1] holds all values of these images."""
        return cls(min(0.0, *(float(image.min()) for image in images)), max(float(image.max()) for image in images))

    def encode(self, linear: np.ndarray) -> np.ndarray:
        """Scene-linear values to [0, 1], float32."""
        return ((self._compressed(linear) - self._start()) / self._range()).clip(0, 1).astype(np.float32)

    def decode(self, value: np.ndarray) -> np.ndarray:
        """[0, 1] to scene-linear values, float32."""
        compressed = value * self._range() + self._start()
        return np.copysign(np.expm1(np.abs(compressed)) * self.KNEE, compressed).astype(np.float32)

    def _compressed(self, linear: Any) -> Any:
        return np.copysign(np.log1p(np.abs(linear) / self.KNEE), linear)

    def _start(self) -> float:
        return float(self._compressed(self.lowest))

    def _range(self) -> float:
        return max(float(self._compressed(self.peak)) - self._start(), float(self._compressed(1e-6)))


# Where the network's alpha is taken from and given back: a silhouette in half the contrast moves more faithfully.
_ALPHA_LOW, _ALPHA_RANGE = 0.25, 0.5
_REMAP_SIDE = 32767  # OpenCV's remap takes sides below it only


@dataclasses.dataclass(frozen=True)
class ImagePair:
    """Two images of the same kind, ready for the network.

    Attributes:
        frames: two (H, W, 3) BGR arrays: uint8, uint16, or float32 in [0, 1].
        alphas: two (H, W) arrays of the images' own type, or None where both images are opaque by format.
        gray: the images have one channel.
        curve: for scene-linear images, what `frames` went through.
    """

    frames: tuple[np.ndarray, ...]
    alphas: tuple[np.ndarray, ...] | None
    gray: bool
    curve: LogCurve | None

    def between(self, predictor: Any, timesteps: Sequence[float], upscale: float = 4,
                with_details: bool = False) -> Iterator[tuple[np.ndarray, Any]]:
        """Images of the pair's kind, enlarged, at the given timesteps.

        Alpha goes through the network by itself, as a gray image, because colours that hide nothing below alpha 0
        (`spread_colours`) may show no motion at all, as a white disc's do not.

        Args:
            predictor: anything with `encode(frame, upscale)` and `between(first, second, timesteps, details)`, as
                `model.Predictor` has them.
            timesteps: 0 is the first image, 1 the second.
            upscale: enlargement.
            with_details: give the predictor's details on the colours too.

        Yields:
            (image, details or None) for each timestep, in order.
        """
        colours = [predictor.encode(frame, upscale) for frame in self.frames]
        silhouettes = [predictor.encode(frame, upscale) for frame in self._silhouettes()]
        for timestep in timesteps:
            details: list[Any] | None = [] if with_details else None
            frame = predictor.between(*colours, [timestep], details)[0]
            image = self._as_stored(frame)
            if self.alphas:
                alpha = self.alphas[0].flat[0]  # of images that are opaque, or clear, all over
                if silhouettes:
                    moved: list[Any] = []
                    silhouette = predictor.between(*silhouettes, [timestep], moved)[0]
                    alpha = self._alpha(silhouette, moved[0].flow, moved[0].mask)
                image = np.dstack([image, np.broadcast_to(alpha, image.shape[:2])])
            yield image, details[0] if details else None

    def _as_stored(self, frame: np.ndarray) -> np.ndarray:
        """One of the network's frames in the files' own light, (H, W) where they are gray."""
        if self.curve:
            frame = self.curve.decode(frame)
        return _rounded(frame.mean(axis=2, dtype=np.float32), frame.dtype) if self.gray else frame

    def _silhouettes(self) -> list[np.ndarray]:
        """The alphas as frames for the network, (H, W, 3) float32; none where alpha is the same everywhere."""
        if self.alphas is None or len({value for alpha in self.alphas for value in (alpha.min(), alpha.max())}) == 1:
            return []
        peak = _peak(self.alphas[0].dtype)
        return [np.dstack([_ALPHA_LOW + _ALPHA_RANGE * (alpha.astype(np.float32) / peak).clip(0, 1)] * 3)
                for alpha in self.alphas]

    def _alpha(self, silhouette: np.ndarray, flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The network's silhouette as alpha, kept within what its own flow brings there from the two images.

        A network's frame is seldom exactly 1 where both images are opaque, nor exactly 0 where both are clear.

        Args:
            silhouette: (H', W', 3) float32.
            flow: (H', W', 4) float32, pixels, x and y to image 0, x and y to image 1.
            mask: (H', W') float32, only its size counts.
        """
        assert self.alphas is not None  # or there would be no silhouette
        peak = _peak(self.alphas[0].dtype)
        values = (silhouette.mean(axis=2) - _ALPHA_LOW) * (peak / _ALPHA_RANGE)
        height, width = mask.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        brought = []
        for alpha, (dx, dy) in zip(self.alphas, (flow[..., :2].transpose(2, 0, 1), flow[..., 2:].transpose(2, 0, 1)),
                                   strict=True):
            enlarged = enlarge_bicubic(alpha.astype(np.float32), height, width).clip(alpha.min(), alpha.max())
            brought.append(_sampled(enlarged, x + dx, y + dy))
        window = np.ones((3, 3), np.uint8)
        lowest, highest = cv2.erode(np.minimum(*brought), window), cv2.dilate(np.maximum(*brought), window)
        return _rounded(values.clip(lowest, highest), self.alphas[0].dtype)


def prepare_pair(image0: np.ndarray, image1: np.ndarray,
                 names: Sequence[str] = ("the first", "the second")) -> ImagePair:
    """Bring two images to one kind: the richer of the two in colour, alpha and depth.

    Gray beside colour becomes colour, an image without alpha is opaque, 8 bits beside 16 become 16.

    Args:
        image0, image1: as `media.image.read_image` returns them.
        names: what to call them in errors.

    Raises:
        UserError: different sizes, float beside integer pixels, or NaN or infinite pixels.
    """
    images: tuple[np.ndarray, ...] = (image0, image1)
    _check(images, names)
    dtype = np.result_type(*images)
    images = tuple(image * dtype.type(257) if image.dtype != dtype else image for image in images)
    colours = [np.dstack([image] * 3) if image.ndim == 2 else np.ascontiguousarray(image[..., :3]) for image in images]
    alphas: tuple[np.ndarray, ...] | None = None
    if any(map(_has_alpha, images)):
        alphas = tuple(image[..., 3].copy() if _has_alpha(image) else np.full(image.shape[:2], _peak(dtype), dtype)
                       for image in images)
    curve = None
    if dtype == np.float32:  # alpha is in the colours already: nothing is hidden
        curve = LogCurve.around(colours)
        colours = [curve.encode(colour) for colour in colours]
    elif alphas:
        colours = [spread_colours(colour, alpha) for colour, alpha in zip(colours, alphas)]
    return ImagePair(tuple(colours), alphas, all(image.ndim == 2 for image in images), curve)


def common_colour(images: Sequence[LoadedImage], paths: Sequence[str | Path], pair: ImagePair,
                  notes: list[str]) -> ColourTag | None:
    """The profile that images between these two get; what is given up is added to `notes`."""
    first, second = (image.colour for image in images)
    colour = first or second
    if first != second:
        notes.append(f"{paths[0]} and {paths[1]} have different colour profiles: the results get "
                     f"{paths[0] if first else paths[1]}'s, and no colours are converted")
    kind = "scene-linear" if pair.curve else "GRAY" if pair.gray else "RGB"
    if colour and colour.space != kind:
        notes.append(f"the {colour.space} colour profile is left out: the results are {kind}")
        return None
    return colour


def spread_colours(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replace the colours of fully transparent pixels by those of the visible ones around them.

    What programs leave below alpha 0, black mostly, would be mixed into the edge by every enlargement. Averages over
    ever larger squares, weighted by alpha, are filled in, each from the smallest that holds anything visible.

    Args:
        colours: (H, W, 3) uint8 or uint16.
        alpha: (H, W), same type.
    """
    weights = (alpha.astype(np.float32) / _peak(alpha.dtype))[..., None]
    if not alpha.any() or alpha.all():
        return colours
    levels: list[np.ndarray] = [np.dstack([colours * weights, weights])]
    while max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA))
    filled = levels[-1][..., :3] / levels[-1][..., 3:]
    for level in reversed(levels[:-1]):
        coarse = cv2.resize(filled, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        weights = level[..., 3:]
        own = level[..., :3] / np.maximum(weights, 1e-9)
        filled = coarse + (own - coarse) * (16 * weights).clip(0, 1)  # what is hardly visible at all hardly counts
    return np.where((alpha > 0)[..., None], colours, _rounded(filled, colours.dtype))


def _check(images: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Raise UserError if the two images cannot be a pair."""
    sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images]
    if sizes[0] != sizes[1]:
        raise UserError(f"the images have different sizes: {names[0]} is {sizes[0]}, {names[1]} is {sizes[1]}; "
                        "bring them to one size first")
    linear = [image.dtype == np.float32 for image in images]
    if any(linear) and not all(linear):
        raise UserError(f"{names[linear.index(True)]} holds linear light and {names[linear.index(False)]} does not; "
                        "convert one of them first")
    for image, name in zip(images, names, strict=True):
        if all(linear) and not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            raise UserError(f"cannot use {name}: {count} of its values are infinite or not a number; repair them first")


def _sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of (H, W) float32 at x and y, (H, W) float32 each; the border's values beyond it."""
    height, width = image.shape
    if max(height, width) < _REMAP_SIDE:
        return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    upper, lower = (image[row, left] + (image[row, right] - image[row, left]) * (x % 1) for row in (top, below))
    return upper + (lower - upper) * (y % 1)


def _has_alpha(image: np.ndarray) -> bool:
    return image.ndim == 3 and image.shape[2] == 4


def _peak(dtype: np.dtype) -> int:
    """The value of white, and of opaque."""
    return 1 if dtype == np.float32 else np.iinfo(dtype).max


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Float values as pixels of a type, whose range they keep to."""
    return values.astype(dtype) if dtype == np.float32 else np.rint(values).clip(0, _peak(dtype)).astype(dtype)
