"""Procedural materials for the demo scene: noise, brick, wood, foliage. Colours are BGR floats in [0, 1]."""
import cv2
import numpy as np


def colour(code: str) -> np.ndarray:
    """(3,) BGR floats from "#rrggbb"."""
    return np.array([int(code[i:i + 2], 16) for i in (5, 3, 1)], np.float32) / 255


def fractal(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 5, gain: float = 0.5,
            stretch: float = 1.0) -> np.ndarray:
    """(height, width) float32 noise around 0.5 in [0, 1]; `cell`: size of the largest blobs, times `stretch` in x."""
    total = np.zeros((height, width), np.float32)
    weight, sum_of_weights = 1.0, 0.0
    for _ in range(octaves):
        rows, columns = int(height / cell) + 4, int(width / (cell * stretch)) + 4
        grid = rng.random((rows, columns), np.float32)
        scale = np.array([[1 / (cell * stretch), 0, 1.5], [0, 1 / cell, 1.5]], np.float32)
        total += weight * cv2.warpAffine(grid, scale, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                                         borderMode=cv2.BORDER_REFLECT)
        sum_of_weights += weight
        weight *= gain
        cell = max(cell / 2, 1.0)
    return (total / sum_of_weights).clip(0, 1)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def mix(a: np.ndarray, b: np.ndarray, amount: np.ndarray | float) -> np.ndarray:
    """a + amount * (b - a); a 2-D `amount` is spread over the colours."""
    if isinstance(amount, np.ndarray) and amount.ndim == 2:
        amount = amount[..., None]
    return a + amount * (b - a)


def hillshade(relief: np.ndarray, strength: float) -> np.ndarray:
    """Light from the upper right on a rough surface; 1 on average, `strength` its deviation."""
    slope = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3) * 0.7 - cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3)
    return (1 + strength * slope / (slope.std() + 1e-9)).clip(0.4, 1.6)


def bricks(rng: np.random.Generator, height: int, width: int, brick: tuple[int, int]) -> np.ndarray:
    """Weathered brickwork, every second course shifted by half a brick; `brick`: (width, height) in pixels."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    row = np.floor(y / brick[1]).astype(int)
    x = x + (row % 2) * brick[0] / 2
    column = np.floor(x / brick[0]).astype(int)
    tone = rng.random((row.max() + 1, column.max() + 1), np.float32)[row, column]
    dark = rng.random((row.max() + 1, column.max() + 1), np.float32)[row, column]
    wall = mix(colour("#7d3b2c"), colour("#c47a55"), tone) * np.where(dark > 0.9, 0.7, 1)[..., None]
    wall = wall * (0.75 + 0.5 * fractal(rng, height, width, 6, 3))[..., None]
    x, y = x % brick[0], y % brick[1]
    edge = np.minimum(np.minimum(x, brick[0] - x), np.minimum(y, brick[1] - y)) / 2
    mortar = 1 - smoothstep(0.2, 0.9, edge)
    wall = mix(wall, colour("#cbb9a2"), 0.75 * mortar)
    return mix(wall, colour("#5c6440"), 0.35 * smoothstep(0.5, 0.75, fractal(rng, height, width, 90, 4)))


def planks(rng: np.random.Generator, height: int, width: int, plank: int, light: str, dark: str) -> np.ndarray:
    """Upright weathered boards with grain; `plank`: width in pixels."""
    x = np.arange(width)
    grain = fractal(rng, width, height, 3, 3, 0.6, 12).T
    tone = rng.random(width // plank + 1).astype(np.float32)[x // plank]
    wood = mix(colour(dark), colour(light), (0.25 + 0.5 * grain + 0.35 * tone[None]).clip(0, 1))
    return wood * np.where(x % plank == 0, 0.45, 1.0).astype(np.float32)[None, :, None]


def blobs(rng: np.random.Generator, canvas: np.ndarray, centre: tuple[float, float], radius: tuple[float, float],
          shades: list[np.ndarray], count: int, leaf: float) -> None:
    """Paint foliage into an RGBA canvas: many small leaves, brighter towards the light at the upper right."""
    for layer in range(count):
        angle, reach = rng.random() * 2 * np.pi, np.sqrt(rng.random())
        dx, dy = np.cos(angle) * reach, np.sin(angle) * reach
        light = 0.45 + 0.28 * (dx * 0.7 - dy) + 0.25 * (rng.random() - 0.5) + 0.15 * layer / count
        tone = np.interp(light, np.linspace(0, 1, len(shades)), np.arange(len(shades)))
        low = int(min(tone, len(shades) - 1.001))
        paint = mix(shades[low], shades[low + 1], tone - low)
        point = (int((centre[0] + dx * radius[0]) * 16), int((centre[1] + dy * radius[1]) * 16))
        reach = max(1, int(leaf * (0.6 + 0.8 * rng.random()) * 16))
        cv2.circle(canvas, point, reach, (*map(float, paint), 1.0), cv2.FILLED, shift=4)
