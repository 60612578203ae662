"""The demo scene: an evening landscape in layers, each painted once and then only moved."""
import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import cv2
import numpy as np

from demo.paint import CANVAS, HEIGHT, MARGIN, WIDTH, S, box, disc, grid, layer, line, mask, polygon
from demo.railcar import paint_railcar
from demo.textures import blobs, bricks, colour, fractal, hillshade, mix, planks, smoothstep

GREENS = [colour(code) for code in ("#10210f", "#213d1a", "#3d5f25", "#6b8433", "#b0b04f")]
HUB = (930.0, 236.0)  # of the windmill's sails at t = 0


@dataclasses.dataclass(frozen=True)
class Layer:
    """A painted layer and its motion from t = 0 to t = 1: a shift in pixels, and a turn in degrees about `centre`."""

    canvas: np.ndarray
    shift: tuple[float, float]
    turn: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)

    def over(self, image: np.ndarray, t: float) -> np.ndarray:
        """The layer as it stands at time `t`, laid over `image`, (HEIGHT * S, WIDTH * S, 3)."""
        matrix = cv2.getRotationMatrix2D((0, 0), -self.turn * t, 1)
        source = (np.array(self.centre) + MARGIN) * S
        target = (np.array(self.centre) + np.array(self.shift) * t) * S
        matrix[:, 2] = target - matrix[:, :2] @ source
        moved = cv2.warpAffine(self.canvas, matrix, (WIDTH * S, HEIGHT * S), flags=cv2.INTER_LINEAR)
        return moved[..., :3] + (1 - moved[..., 3:]) * image


def build(only: Collection[str] = ()) -> list[Layer]:
    """The layers from back to front, all or `only` some. The camera pans to the right: the near moves left faster."""
    # What repeats (windows every 43 pixels, sleepers every 26) moves by less than half of that, so that there is
    # one right answer.
    painters: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], dict[str, Any]]] = {
        "sky": (_sky, {"shift": (-1, 0)}),
        "mountains": (_mountains, {"shift": (-2, 0)}),
        "foothills": (_foothills, {"shift": (-3, 0)}),
        "hills": (_hills, {"shift": (-4, 0)}),
        "mill": (_mill, {"shift": (-6, 0)}),
        "sails": (_sails, {"shift": (-6, 0), "turn": 16, "centre": HUB}),
        "train": (paint_railcar, {"shift": (18, 0)}),
        "embankment": (_embankment, {"shift": (-9, 0)}),
        "meadow": (_meadow, {"shift": (-14, 0)}),
    }
    # Each layer has a generator of its own, so that one alone comes out as it does among the others.
    return [Layer(paint(np.random.default_rng([5, index])), **motion)
            for index, (name, (paint, motion)) in enumerate(painters.items()) if not only or name in only]


def render(layers: list[Layer], t: float) -> np.ndarray:
    """The scene at time `t` in [0, 1]: (720, 1280, 3) uint8 BGR."""
    image = np.zeros((HEIGHT * S, WIDTH * S, 3), np.float32)
    for part in layers:
        image = part.over(image, t)
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.rint(small.clip(0, 1) * 255).astype(np.uint8)


def _skyline(rng: np.random.Generator, base: float, rise: float, cell: float, octaves: int = 6) -> np.ndarray:
    """y of a ridge for every canvas column."""
    profile = fractal(rng, 8, CANVAS[1], cell * S, octaves, 0.5)[4]
    return base - rise * (profile - profile.min()) / (np.ptp(profile) + 1e-6)


def _sky(rng: np.random.Generator) -> np.ndarray:
    y, x = grid()
    stops = [(-100, "#2c5884"), (90, "#5c8db0"), (230, "#b7c3bd"), (330, "#f3d3a0"), (430, "#f7b777")]
    sky = np.dstack([np.interp(y[:, 0], [s for s, _ in stops], [colour(c)[i] for _, c in stops]) for i in range(3)])
    sky = np.broadcast_to(sky.transpose(1, 0, 2), (*CANVAS, 3)).astype(np.float32)
    glow = np.exp(-np.hypot((x - 1120) / 2.2, y - 330) / 110)
    sky = mix(sky, colour("#ffe9b0"), 0.9 * glow)
    field = fractal(rng, *CANVAS, 120 * S, 7, 0.5, 2.4)
    cover = smoothstep(0.46, 0.72, field)
    soft = cv2.GaussianBlur(field, (0, 0), 5 * S)
    lit = smoothstep(-0.07, 0.05, soft - np.roll(soft, (-14 * S, 10 * S), (0, 1)) + 0.25 * (field - soft))
    cloud = mix(mix(colour("#a58f9f"), colour("#fff3dc"), lit), colour("#ffd08f"), 0.6 * glow)
    return layer(mix(sky, cloud, 0.85 * cover * smoothstep(420, 200, y)))


def _mountains(rng: np.random.Generator) -> np.ndarray:
    return _range(rng, 345, 190, "#66738f", "#9aa0b4", 0.16, 0.95)


def _foothills(rng: np.random.Generator) -> np.ndarray:
    return _range(rng, 395, 120, "#4d5d6b", "#7d8f8c", 0.1, 0.0)


def _range(rng: np.random.Generator, base: float, rise: float, dark: str, light: str, haze: float,
           snow: float) -> np.ndarray:
    """A range whose foot is lost in haze; `snow`: its share of the upper slopes."""
    y, _ = grid()
    ridge = _skyline(rng, base, rise, 230)
    depth = y - ridge[None]
    folds = 1 - np.abs(2 * fractal(rng, *CANVAS, 85 * S, 6, 0.5, 0.8) - 1)  # sharp crests
    shade = hillshade(cv2.GaussianBlur(folds, (0, 0), 0.8 * S), 0.3)
    rock = mix(colour(dark), colour(light), fractal(rng, *CANVAS, 24 * S, 5))
    white = snow * smoothstep(-12, 12, 0.42 * rise - depth + 130 * (folds - 0.82))
    paint = mix(rock, colour("#f7f0ea"), white) * (1 + (shade - 1) * (1 - 0.3 * white))[..., None]
    paint = mix(paint, colour("#f0cba2"), (haze + 0.6 * smoothstep(0, rise * 1.2, depth)).clip(0, 0.92))
    return layer(paint, smoothstep(-0.5, 0.5, depth))


def _hills(rng: np.random.Generator) -> np.ndarray:
    y, x = grid()
    ridge = _skyline(rng, 420, 60, 300, 4)
    depth = y - ridge[None]
    rows = np.sin((x * 0.55 + depth * 2.1) * 0.55) * 0.5 + 0.5
    field = fractal(rng, *CANVAS, 120 * S, 3, 0.5, 2.5)
    grass = mix(colour("#6f7f3c"), colour("#b9a85a"), smoothstep(0.42, 0.6, field))
    grass = mix(grass, grass * 0.72, rows * smoothstep(0.5, 0.55, field))
    grass = grass * (0.8 + 0.4 * fractal(rng, *CANVAS, 9 * S, 4))[..., None]
    canvas = layer(mix(grass, colour("#e9c08d"), 0.22), smoothstep(-0.5, 0.5, depth))
    shades = [mix(green, colour("#d9b488"), 0.16) for green in GREENS]
    spots = [(column, row) for row in range(-6, 110, 12) for column in range(-90, WIDTH + 90, 11)]
    wood = fractal(rng, *CANVAS, 90 * S, 3, 0.5, 2.0)
    for place, row in spots:
        column = place + rng.uniform(-5, 5)
        at = int((column + MARGIN) * S)
        top = ridge[min(at, CANVAS[1] - 1)] + row
        if wood[int((top + MARGIN) * S), min(at, CANVAS[1] - 1)] < 0.53:
            continue
        size = rng.uniform(5, 9) * (1 + row / 160)
        centre = ((column + MARGIN) * S, (top + MARGIN) * S)
        blobs(rng, canvas, centre, (size * 0.8 * S, size * S), shades, 42, 1.5 * S)
    return canvas


def _mill(rng: np.random.Generator) -> np.ndarray:
    """A grassy knoll with trees and the windmill's brick tower."""
    y, x = grid()
    knoll = 430 - 72 * np.exp(-(((x[0] - 950) / 230) ** 2)) + 20 * np.cos(x[0] / 170) + 3 * np.sin(x[0] / 23)
    depth = y - knoll[None]
    grass = mix(colour("#4a6328"), colour("#96983f"), fractal(rng, *CANVAS, 50 * S, 6, 0.6, 2))
    grass = grass * (0.65 + 0.7 * fractal(rng, *CANVAS, 4 * S, 3, 0.6, 0.5))[..., None]
    canvas = layer(grass, smoothstep(-0.5, 0.5, depth))
    cx, cy = HUB
    tower = [(cx - 44, cy + 8), (cx + 44, cy + 8), (cx + 68, cy + 160), (cx - 68, cy + 160)]
    half = 44 + 24 * ((y - cy - 8) / 152).clip(0, 1)
    around = (x - cx) / half
    round_light = 0.42 + 0.85 * np.sqrt((1 - (around - 0.35) ** 2 / 2.2).clip(0, 1)) * smoothstep(-1.2, 0.7, around)
    wall = bricks(rng, *CANVAS, (11 * S, 5 * S)) * round_light[..., None]
    canvas = mix(canvas, layer(wall), mask(tower))
    for across, down, width, height in ((-12, 52, 20, 28), (6, 108, 22, 46)):
        left, top, frame = cx + across, cy + down, colour("#e8dcc2")
        right, bottom = left + width, top + height
        box(canvas, left - 3, top - 3, right + 3, bottom + 3, frame)
        box(canvas, left, top, right, bottom, colour("#33475a" if height < 40 else "#39552f"))
        line(canvas, [(left + width / 2, top), (left + width / 2, bottom)], frame, 1.5)
        line(canvas, [(left, top + height / 2), (right, top + height / 2)], frame, 1.5)
    cap = [(cx - 52 * np.cos(a), cy + 12 - 62 * np.sin(a) ** 0.8) for a in np.linspace(0, np.pi, 40)]
    shingles = planks(rng, *CANVAS, 5 * S, "#7a6a58", "#3d332c") * np.where((y % 7) < 1, 0.6, 1)[..., None]
    canvas = mix(canvas, layer(shingles * round_light[..., None]), mask(cap))
    line(canvas, [(cx - 56, cy + 13), (cx + 56, cy + 13)], colour("#e8dcc2"), 4)
    for _ in range(26):
        column = rng.choice([rng.uniform(690, 850), rng.uniform(1010, 1330), rng.uniform(-60, 180)])
        size = rng.uniform(13, 26)
        top = np.interp(column, x[0], knoll) - size * 0.6 + rng.uniform(0, 26)
        centre = ((column + MARGIN) * S, (top + MARGIN) * S)
        blobs(rng, canvas, centre, (size * S, size * 1.15 * S), GREENS, 260, 2.1 * S)
    return canvas


def _sails(rng: np.random.Generator) -> np.ndarray:
    """Four lattice sails, cloth on each, on a dark shaft."""
    canvas = np.zeros((*CANVAS, 4), np.float32)
    for arm in range(4):
        angle = np.radians(arm * 90 + 27)
        out, side = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])

        def at(distance: float, across: float, out: np.ndarray = out, side: np.ndarray = side) -> tuple[float, float]:
            return tuple(np.array(HUB) + distance * out + across * side)

        tone = 0.86 + 0.14 * np.cos(angle - 0.6)
        polygon(canvas, [at(34, 3), at(166, 3), at(166, 27), at(34, 23)], colour("#e9dcc0") * tone)
        for patch in range(34, 166, 22):
            paint = colour("#a93a2a") if patch // 22 % 2 else colour("#d9c7a2")
            polygon(canvas, [at(patch, 4), at(patch + 20, 4), at(patch + 20, 24), at(patch, 22)], paint * tone)
        for bar in range(30, 176, 9):
            line(canvas, [at(bar, -7), at(bar, 28)], colour("#4b3524"), 1.5)
        for across in (12, 27.5, -7):
            line(canvas, [at(30, across), at(172, across)], colour("#5b4330"), 1.5)
        line(canvas, [at(0, 0), at(176, 0)], colour("#33241a"), 5)
        line(canvas, [at(2, 1), at(175, 1)], colour("#8a6a4a"), 1.5)
    for radius, code in ((12, "#2b211b"), (7, "#7d5c3d"), (3, "#d9b27c")):
        disc(canvas, *HUB, radius, radius, colour(code))
    return canvas


def _embankment(rng: np.random.Generator) -> np.ndarray:
    y, x = grid()
    stones = fractal(rng, *CANVAS, 5 * S, 3, 0.7)
    gravel = mix(colour("#4f463f"), colour("#b8a894"), smoothstep(0.3, 0.7, stones))
    gravel = gravel * hillshade(stones, 0.2)[..., None]
    grass = mix(colour("#3f5a22"), colour("#8f9440"), fractal(rng, *CANVAS, 26 * S, 6, 0.65, 1.6))
    edge = 553 + 8 * (fractal(rng, *CANVAS, 24 * S, 4) - 0.5)
    paint = mix(gravel, grass, smoothstep(-2, 2, y - edge))
    canvas = layer(paint, smoothstep(-0.5, 0.5, y - 532))
    for sleeper in range(-MARGIN, WIDTH + MARGIN, 26):
        box(canvas, sleeper, 531, sleeper + 15, 537, colour("#4a3a2e"))
    line(canvas, [(-MARGIN, 528.5), (WIDTH + MARGIN, 528.5)], colour("#6a5446"), 4)
    line(canvas, [(-MARGIN, 527), (WIDTH + MARGIN, 527)], colour("#e9dfd2"), 1)
    return canvas


def _meadow(rng: np.random.Generator) -> np.ndarray:
    """The fence in front, tall grass and poppies: what hides the train in part."""
    canvas = np.zeros((*CANVAS, 4), np.float32)
    boards = planks(rng, *CANVAS, 24 * S, "#a58c6c", "#4b3b2d")
    rails = np.ascontiguousarray(boards.transpose(1, 0, 2)[:CANVAS[0]])
    rails = cv2.resize(rails, CANVAS[::-1], interpolation=cv2.INTER_LINEAR)
    for top in (509, 562):
        bar = [(-MARGIN, top), (WIDTH + MARGIN, top - 3), (WIDTH + MARGIN, top + 12), (-MARGIN, top + 15)]
        canvas = mix(canvas, layer(rails * 0.95), mask(bar))
        line(canvas, [(-MARGIN, top + 1), (WIDTH + MARGIN, top - 2)], colour("#d8bf95"), 1.5)
    y, x = grid()
    shaded = layer(boards * (0.55 + 0.65 * ((x + 70) % 236 / 23).clip(0, 1))[..., None])
    for left in range(-70, WIDTH + MARGIN, 236):
        lean = rng.uniform(-4, 4)
        post = [(left + lean, 470), (left + 11 + lean, 462), (left + 22 + lean, 470), (left + 23, 700), (left - 1, 700)]
        canvas = mix(canvas, shaded, mask(post))
    soil = mix(colour("#24380f"), colour("#4d6a20"), fractal(rng, *CANVAS, 20 * S, 4))
    ground = layer(soil, smoothstep(628, 640, y))
    canvas = ground + (1 - ground[..., 3:]) * canvas
    shades = [colour(code) for code in ("#2d4714", "#4c6b1f", "#76892f", "#a8a848", "#d5c66c")]
    for blade in range(9000):
        depth = blade / 9000
        root = (rng.uniform(-MARGIN, WIDTH + MARGIN), 622 + 130 * depth + rng.uniform(-6, 6))
        length, lean = rng.uniform(22, 62) * (0.7 + 0.6 * depth), rng.normal(0, 9)
        paint = shades[rng.integers(len(shades))] * rng.uniform(0.65, 1.05)
        tip = (root[0] + lean, root[1] - length)
        middle = (root[0] + lean * 0.3, root[1] - length * 0.6)
        line(canvas, [root, middle, tip], paint, rng.choice([0.5, 1.0, 1.0, 1.5]))
        if blade % 75 == 0:
            _poppy(rng, canvas, tip, rng.uniform(5, 9) * (0.7 + 0.6 * depth))
    return canvas


def _poppy(rng: np.random.Generator, canvas: np.ndarray, at: tuple[float, float], size: float) -> None:
    petal = [colour("#c7271c"), colour("#e2442a"), colour("#f0673c")]
    for index in range(5):
        angle = index * 1.26 + rng.uniform(0, 0.5)
        x, y = at[0] + 0.45 * size * np.cos(angle), at[1] + 0.32 * size * np.sin(angle)
        disc(canvas, x, y, 0.62 * size, 0.5 * size, petal[index % 3] * rng.uniform(0.85, 1.0))
    disc(canvas, *at, 0.22 * size, 0.18 * size, colour("#2a1520"))
