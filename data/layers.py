"""Moving layers: a texture with an outline on a smooth path, drawn at any time, with the flow between any two.

A texture has two texels per pixel of the frame. It is averaged over 2x2 texels once and then sampled with a cubic
kernel at the pixels' positions, which gives what drawing at twice the size and averaging would give, at a quarter
of the work: frames are as sharp as a photograph reduced by area, and equally so wherever the layers are.
"""
import functools
from dataclasses import dataclass

import cv2
import numpy as np

from data.motion import Motion, inside, pixel_grid, still_motion

TEXELS = 2        # per pixel of the frame, along each axis
_REFINEMENTS = 5  # of a point's position in a layer that bends; each divides the error by five or more


@dataclass
class LayerPath:
    """Where a layer is at time u in [0, 1], in pixels of the frame."""

    middle: np.ndarray        # (2,) x, y of the texture's middle from the frame's at u = 1/2
    move: np.ndarray          # (2,) displacement from u = 0 to u = 1
    bow: np.ndarray           # (2,) how far the path bends off the straight line at u = 1/2
    angle: float              # radians at u = 1/2
    turn: float               # radians over the window
    zoom: float               # enlargement of the texture at u = 1/2; 1: two texels a pixel
    growth: float             # log of the enlargement over the window

    def matrix(self, u: float, texture: np.ndarray, crop: int) -> np.ndarray:
        """(2, 3) map from pixels of a frame of `crop` x `crop` to texels."""
        scale = self.zoom * np.exp(self.growth * (u - 0.5)) / TEXELS
        angle = self.angle + self.turn * (u - 0.5)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cos, sin], [-sin, cos]])
        centre = crop / 2 - 0.5 + self.middle + self.move * (u - 0.5) + self.bow * 4 * u * (1 - u)
        anchor = np.array([texture.shape[1], texture.shape[0]]) / 2 - 0.5
        return np.hstack([turn, (anchor - turn @ centre)[:, None]])


@dataclass
class Layer:
    texture: np.ndarray       # HxWx3 uint8
    mask: np.ndarray | None   # HxW uint8; None: the background, which has no end
    path: LayerPath
    bend: np.ndarray | None   # (crop, crop, 2) float32: by how many texels what a pixel shows wanders over the window

    @functools.cached_property
    def _averaged(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Texture and mask averaged over 2x2 texels: entry (i, j) stands for texel (i + 1/2, j + 1/2)."""
        def average(image: np.ndarray) -> np.ndarray:
            return cv2.blur(image, (2, 2), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
        return average(self.texture), None if self.mask is None else average(self.mask)

    def draw(self, u: float, crop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The layer at time u: (crop, crop, 3) uint8, and how much it covers, (crop, crop) float32; None: all."""
        texture, mask = self._averaged
        matrix = self.path.matrix(u, self.texture, crop)
        matrix[:, 2] -= 0.5
        cubic, linear = cv2.INTER_CUBIC, cv2.INTER_LINEAR
        if self.bend is None:
            def sample(image: np.ndarray, kernel: int, border: int) -> np.ndarray:
                return cv2.warpAffine(image, matrix, (crop, crop), flags=kernel | cv2.WARP_INVERSE_MAP,
                                      borderMode=border)
        else:
            where = np.stack(_apply(matrix, *pixel_grid(crop, crop)[::-1]), 2) + self.bend * np.float32(u - 0.5)

            def sample(image: np.ndarray, kernel: int, border: int) -> np.ndarray:
                return cv2.remap(image, where, None, kernel, borderMode=border)  # type: ignore[call-overload]
        colour = sample(texture, cubic, cv2.BORDER_REFLECT_101)
        return colour, None if mask is None else sample(mask, linear, cv2.BORDER_CONSTANT).astype(np.float32) / 255

    def follow(self, here: float, there: float, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Where, at time `there`, each pixel's piece of the layer at time `here` is: x and y, (crop, crop) float32."""
        x, y = pixel_grid(crop, crop)[::-1]
        forward = np.vstack([self.path.matrix(here, self.texture, crop), [0, 0, 1]])
        back = np.linalg.inv(np.vstack([self.path.matrix(there, self.texture, crop), [0, 0, 1]]))
        if self.bend is None:
            return _apply((back @ forward)[:2], x, y)
        texel = np.stack(_apply(forward[:2], x, y), 2) + self.bend * np.float32(here - 0.5)
        # The bend belongs to the pixel looked through, so the place sought is on both sides of the equation.
        bend = self.bend
        for _ in range(_REFINEMENTS):
            left = texel - bend * np.float32(there - 0.5)
            x, y = _apply(back[:2], left[..., 0], left[..., 1])
            bend = cv2.remap(self.bend, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return x, y


def render(layers: list[Layer], u: float, crop: int) -> np.ndarray:
    """The scene at time u, (crop, crop, 3) uint8; `layers` from back to front, the first without a mask."""
    return _compose([layer.draw(u, crop) for layer in layers])


def render_with_motion(layers: list[Layer], timestep: float, crop: int) -> tuple[np.ndarray, Motion]:
    """The scene at times 0, `timestep` and 1, (3, crop, crop, 3) uint8, and the true motion between them.

    A pixel that shows two layers, on an edge, has the flow of the one it shows more of, with a confidence of 0 where
    they share it evenly up to 1 where it is alone.
    """
    times = (0.0, timestep, 1.0)
    drawn = [[layer.draw(u, crop) for layer in layers] for u in times]
    frames = np.stack([_compose(parts) for parts in drawn])
    uncovered = [_uncovered([mask for _, mask in parts], crop) for parts in drawn]
    rows, columns = pixel_grid(crop, crop)
    flow, confidence = still_motion(crop, crop)
    for place, u in enumerate(times):
        # How much of each pixel shows which layer; they sum to one.
        shares = np.stack([free if mask is None else free * mask for free, (_, mask) in zip(uncovered[place],
                                                                                           drawn[place])])
        seen = shares.argmax(0)
        alone = (2 * shares.max(0) - 1).clip(0, 1)
        for end in (0, 1):
            if place == 2 * end:
                continue
            for number in np.flatnonzero(np.bincount(seen.ravel())):
                here = seen == number
                x, y = layers[number].follow(u, float(end), crop)
                visible = cv2.remap(uncovered[2 * end][number], x, y, cv2.INTER_LINEAR) * inside(x, y) * alone
                flow[place, 2 * end][here] = (x - columns)[here]
                flow[place, 2 * end + 1][here] = (y - rows)[here]
                confidence[place, end][here] = visible[here]
    return frames, Motion(flow, confidence)


def _compose(parts: list[tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """Colours laid over each other by their masks, (crop, crop, 3) uint8."""
    canvas = parts[0][0]
    for colour, mask in parts[1:]:
        assert mask is not None  # only the background has none
        canvas = canvas + (colour - canvas.astype(np.float32)) * mask[..., None]
    return canvas if canvas.dtype == np.uint8 else np.rint(canvas).astype(np.uint8)


def _uncovered(masks: list[np.ndarray | None], crop: int) -> list[np.ndarray]:
    """For each layer how much of it the ones in front leave to be seen, (crop, crop) float32."""
    free, result = np.ones((crop, crop), np.float32), []
    for mask in reversed(masks):
        result.append(free)
        free = free if mask is None else free * (1 - mask)
    return result[::-1]


def _apply(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A (2, 3) affine map of positions, float32."""
    (a, b, c), (d, e, f) = matrix.astype(np.float32)
    return a * x + b * y + c, d * x + e * y + f
