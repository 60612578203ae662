"""The demo scene's railcar: red and cream, with its name on the side."""
import numpy as np

from demo.paint import CANVAS, box, disc, grid, layer, line, mask, polygon
from demo.textures import colour, fractal, mix, smoothstep

LEFT, RIGHT, ROOF, FLOOR, RAIL = 70, 600, 428, 508, 527
# Strokes of the letters in a box of 1 x 1, y down.
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "S": [[(0.95, 0.12), (0.75, 0), (0.25, 0), (0, 0.14), (0, 0.36), (0.2, 0.48), (0.8, 0.54), (1, 0.68), (1, 0.86),
           (0.75, 1), (0.25, 1), (0, 0.86)]],
    "A": [[(0, 1), (0.5, 0), (1, 1)], [(0.2, 0.64), (0.8, 0.64)]],
    "F": [[(0, 1), (0, 0), (0.95, 0)], [(0, 0.48), (0.75, 0.48)]],
    "P": [[(0, 1), (0, 0), (0.75, 0), (1, 0.14), (1, 0.4), (0.75, 0.54), (0, 0.54)]],
    "C": [[(1, 0.16), (0.75, 0), (0.25, 0), (0, 0.16), (0, 0.84), (0.25, 1), (0.75, 1), (1, 0.84)]],
    "E": [[(1, 0), (0, 0), (0, 1), (1, 1)], [(0, 0.48), (0.8, 0.48)]],
    "T": [[(0, 0), (1, 0)], [(0.5, 0), (0.5, 1)]],
    "I": [[(0.5, 0), (0.5, 1)]],
    "M": [[(0, 1), (0, 0), (0.5, 0.6), (1, 0), (1, 1)]],
    "-": [[(0.15, 0.5), (0.85, 0.5)]],
}


def paint_railcar(rng: np.random.Generator) -> np.ndarray:
    """The railcar on its canvas, facing right."""
    y, x = grid()
    nose = [(RIGHT - 34, ROOF), (RIGHT - 14, ROOF + 8), (RIGHT - 2, ROOF + 38), (RIGHT + 4, FLOOR - 14), (RIGHT, FLOOR)]
    outline = [(LEFT, FLOOR), (LEFT - 3, ROOF + 30), (LEFT + 6, ROOF + 5), (LEFT + 18, ROOF), *nose]
    round_light = 0.72 + 0.42 * np.exp(-(((y - ROOF - 16) / 15) ** 2)) - 0.2 * smoothstep(FLOOR - 22, FLOOR, y)
    dirt = fractal(rng, *CANVAS, 30, 5, 0.6, 3)
    red = mix(colour("#b3202a"), colour("#d4372f"), dirt)
    cream = mix(colour("#efe2bf"), colour("#f7efd8"), dirt)
    side = mix(cream, red, smoothstep(-0.4, 0.4, y - ROOF - 49))
    side = mix(side, mix(colour("#5f6368"), colour("#8d9297"), dirt), smoothstep(0.4, -0.4, y - ROOF - 10))
    side = mix(side, colour("#40332a"), 0.55 * smoothstep(0.45, 0.8, dirt) * smoothstep(FLOOR - 26, FLOOR, y))
    side = side * (1 - 0.25 * smoothstep(0.8, 0.3, np.abs((x - LEFT) % 66 - 33)))[..., None]  # panel joints
    canvas = layer(side * round_light[..., None]) * mask(outline)[..., None]
    for height, code, width in ((49, "#d9a93a", 2), (53.5, "#f2e6c6", 1), (10, "#3c3f44", 1.5), (76, "#2f2a28", 3)):
        line(canvas, [(LEFT - 1, ROOF + height), (RIGHT - 1, ROOF + height)], colour(code), width)
    _windows(rng, canvas)
    _write(canvas, "SAFA", (LEFT + 206, ROOF + 55), 16, 5.5, 2.5)
    _write(canvas, "SPACE-TIME", (LEFT + 322, ROOF + 58), 11, 4.5, 1.5)
    for row in (ROOF + 13, FLOOR - 7):
        for rivet in range(LEFT + 6, RIGHT - 10, 8):
            line(canvas, [(rivet, row), (rivet + 0.8, row)], colour("#7a1d20" if row > ROOF + 30 else "#a99c7e"), 1)
    for fan in range(LEFT + 60, RIGHT - 90, 130):
        polygon(canvas, [(fan, ROOF), (fan + 4, ROOF - 6), (fan + 50, ROOF - 6), (fan + 54, ROOF)], colour("#585d62"))
        for slat in range(fan + 6, fan + 50, 4):
            line(canvas, [(slat, ROOF - 5), (slat, ROOF - 1)], colour("#2c2f33"), 1)
    _running_gear(canvas)
    return canvas


def _windows(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Panes with the evening sky in them, passengers behind; two doors; the driver's window and the headlight."""
    for index in range(11):
        left, top, width, height = LEFT + 22 + 43 * index, ROOF + 17, 33, 25
        door = index in (2, 8)
        panes = [left]
        if door:
            box(canvas, left, ROOF + 14, left + 33, FLOOR - 3, colour("#c9b78e"))
            line(canvas, [(left + 16.5, ROOF + 14), (left + 16.5, FLOOR - 3)], colour("#5d4d3a"), 1.5)
            panes, top, width, height = [left + 4, left + 19], ROOF + 19, 10, 30
        for pane in panes:
            box(canvas, pane - 1.5, top - 1.5, pane + width + 1.5, top + height + 1.5, colour("#5a4a3c"))
            for band in range(10):
                paint = mix(colour("#24384c"), colour("#e6b06a"), (band / 10) ** 1.6 * 0.85)
                box(canvas, pane, top + height * band / 10, pane + width, top + height * (band + 1) / 10, paint)
            if not door and rng.random() < 0.75:
                _passenger(rng, canvas, pane + rng.uniform(9, 24), top)
            shine = pane + width * 0.25
            line(canvas, [(shine + 6, top + 1), (shine, top + height - 1)], colour("#d9dfe0"), 1)
    right, top = RIGHT, ROOF + 13
    polygon(canvas, [(right - 36, top), (right - 17, top), (right - 7, top + 25), (right - 36, top + 25)],
            colour("#1e2c3a"))
    polygon(canvas, [(right - 26, top + 1), (right - 20, top + 1), (right - 11, top + 23), (right - 18, top + 23)],
            colour("#7fa0b0"))
    disc(canvas, RIGHT - 6, ROOF + 57, 4.2, 6, colour("#5a4a3c"))
    disc(canvas, RIGHT - 6, ROOF + 57, 3.2, 4.5, colour("#fff3c4"))


def _passenger(rng: np.random.Generator, canvas: np.ndarray, x: float, top: float) -> None:
    coat = colour(str(rng.choice(["#3c2b36", "#274052", "#54352a"])))
    disc(canvas, x, top + 13, 3.6, 4.4, colour("#2a2026"))
    polygon(canvas, [(x - 7, top + 25), (x - 4, top + 18), (x + 4, top + 18), (x + 7, top + 25)], coat)


def _write(canvas: np.ndarray, text: str, corner: tuple[float, float], height: float, gap: float, width: float) -> None:
    x, top = corner
    for letter in text:
        for stroke in LETTERS[letter]:
            points = [(x + 0.75 * height * u, top + height * v) for u, v in stroke]
            line(canvas, [(u + 0.8, v + 0.8) for u, v in points], colour("#5e1118"), width)
            line(canvas, points, colour("#f8e6b0"), width)
        x += 0.75 * height + gap


def _running_gear(canvas: np.ndarray) -> None:
    box(canvas, LEFT + 124, FLOOR, RIGHT - 134, FLOOR + 12, colour("#2c2926"))
    for left in range(LEFT + 140, RIGHT - 160, 34):
        box(canvas, left, FLOOR + 1, left + 26, FLOOR + 10, colour("#4d4741"))
        for slat in range(4, 26, 5):
            line(canvas, [(left + slat, FLOOR + 3), (left + slat, FLOOR + 9)], colour("#25211e"), 1)
    for centre in (LEFT + 70, RIGHT - 80):
        box(canvas, centre - 42, FLOOR, centre + 42, FLOOR + 9, colour("#37322e"))
        for wheel in (centre - 25, centre + 25):
            for radius, code in ((10.5, "#1d1a19"), (8.5, "#8b8177"), (6.8, "#4a423c"), (2.5, "#b0a598")):
                disc(canvas, wheel, RAIL - 10.5, radius, radius, colour(code))
    for left in (LEFT - 12, RIGHT):
        box(canvas, left, FLOOR - 6, left + 13, FLOOR - 1, colour("#2a2725"))
