"""Plots as SVG: no plotting library, text that can be selected, a page's lines in the page's colours."""
import json
import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 226
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 12, 36

Series = Sequence[tuple[int, float | None]]


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values covering low..high, about `count` steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-6)
    magnitude = 10 ** math.floor(math.log10(span / count))
    step = next(m * magnitude for m in (1, 2, 5, 10) if span / (m * magnitude) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 6) for i in range(first, last + 1)]


def line_plot(series: Mapping[str, Series], x_label: str, description: str) -> str:
    """An <svg> of (x, y) lines over one pair of axes; a y of None leaves a gap.

    Args:
        series: css class of the line -> points by ascending x.
        x_label: what x counts.
        description: what the plot shows, for readers who cannot see it.
    """
    values = [y for points in series.values() for _, y in points if y is not None]
    places = [x for points in series.values() for x, _ in points]
    if not values:
        return "<p>Nothing finite to plot.</p>"
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], max(ticks[-1], ticks[0] + 1e-6)
    first, last = min(places), max(max(places), min(places) + 1)

    def x_of(x: float) -> float:
        return round(LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y_of(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(tick)}" y2="{y_of(tick)}"/>'
                     f'<text class="tick end" x="{LEFT - 8}" y="{y_of(tick) + 4}">{tick:g}</text>')
    for tick in nice_ticks(first, last, 6):
        if first <= tick <= last and tick == int(tick):
            parts.append(f'<text class="tick middle" x="{x_of(tick)}" y="{HEIGHT - 18}">{tick:g}</text>')
    parts.append(f'<text class="tick end" x="{WIDTH - RIGHT}" y="{HEIGHT - 1}">{escape(x_label)}</text>')
    for name, points in series.items():
        path, pen = [], "M"
        for x, y in points:
            path += [] if y is None else [f"{pen}{x_of(x)} {y_of(y)}"]
            pen = "M" if y is None else "L"
        parts.append(f'<path class="line {escape(name)}" d="{"".join(path)}"/>')
    places_of = {name: [[x_of(x), y_of(y), x, round(y, 2)] for x, y in points if y is not None]
                 for name, points in series.items()}
    return (f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}" '
            f'data-points="{escape(json.dumps(places_of, separators=(",", ":")))}">{"".join(parts)}'
            f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" hidden=""/></svg>')


Points = dict[str, tuple[float | None, float]]
SCATTER_WIDTH, SCATTER_HEIGHT, MARGIN = 460, 320, 56
LETTER = 6.5  # wide, in the mean, at 12 pixels high
SCATTER_STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; } .grid { stroke: #e3e0d8; } .tick { fill: #5d636e; }
.point { fill: #1f5eff; } .front { fill: none; stroke: #1f5eff; stroke-width: 1.5; } .title { font-weight: 600; }
.level { stroke: #9a948a; stroke-dasharray: 5 4; } .label { fill: #16181d; } .end { text-anchor: end; }
.middle { text-anchor: middle; }
"""


def pareto_front(points: Points) -> list[str]:
    """The names that no other point beats: none has a smaller or equal x and a larger y; by ascending x."""
    placed = sorted((x, -y, name) for name, (x, y) in points.items() if x is not None)
    front: list[str] = []
    best = -math.inf
    for _, negative, name in placed:
        if -negative > best:
            front.append(name)
            best = -negative
    return front


def scatter_plot(points: Points, title: str, x_label: str, y_label: str) -> str:
    """An <svg> of named points, x on a logarithmic axis, with the line through those that no other beats.

    Args:
        points: name -> (x above 0, y); an x of None: the name costs nothing in this sense, and is a level to beat.
    """
    placed = {name: (x, y) for name, (x, y) in points.items() if x is not None}
    levels = {name: y for name, (x, y) in points.items() if x is None}
    xs = [x for x, _ in placed.values()] or [1.0]
    ys = nice_ticks(min(y for _, y in points.values()), max(y for _, y in points.values()))
    first, last = math.log10(min(xs)) - 0.15, math.log10(max(xs)) + 0.45  # room for the last name
    right, bottom, top = SCATTER_WIDTH - 12, SCATTER_HEIGHT - 44, 34

    def x_of(x: float) -> float:
        return round(MARGIN + (math.log10(x) - first) / (last - first) * (right - MARGIN), 1)

    def y_of(y: float) -> float:
        return round(bottom - (y - ys[0]) / (max(ys[-1], ys[0] + 1e-6) - ys[0]) * (bottom - top), 1)

    parts = [f'<text class="title" x="{MARGIN}" y="18">{escape(title)}</text>']
    for tick in ys:
        parts.append(f'<line class="grid" x1="{MARGIN}" x2="{right}" y1="{y_of(tick)}" y2="{y_of(tick)}"/>'
                     f'<text class="tick end" x="{MARGIN - 8}" y="{y_of(tick) + 4}">{tick:g}</text>')
    decades = range(math.floor(first), math.ceil(last) + 1)
    for tick in (digit * 10.0**decade for decade in decades for digit in (1, 2, 5)):
        if first <= math.log10(tick) <= last:
            parts.append(f'<line class="grid" x1="{x_of(tick)}" x2="{x_of(tick)}" y1="{top}" y2="{bottom}"/>'
                         f'<text class="tick middle" x="{x_of(tick)}" y="{bottom + 18}">{tick:g}</text>')
    parts.append(f'<text class="tick end" x="{right}" y="{SCATTER_HEIGHT - 8}">{escape(x_label)}</text>'
                 f'<text class="tick" x="{MARGIN}" y="{SCATTER_HEIGHT - 8}">{escape(y_label)}</text>')
    front = [placed[name] for name in pareto_front(points)]
    path = "L".join(f"{x_of(x)} {y_of(y)}" for x, y in front)
    parts.append(f'<path class="front" d="M{path}"/>' if len(front) > 1 else "")
    for name, y in levels.items():
        parts.append(f'<line class="level" x1="{MARGIN}" x2="{right}" y1="{y_of(y)}" y2="{y_of(y)}"/>'
                     f'<text class="label" x="{MARGIN + 4}" y="{y_of(y) - 5}">{escape(name)}</text>')
    for name, (x, y) in placed.items():
        fits = x_of(x) + 9 + LETTER * len(name) <= right
        side, place = ("label", x_of(x) + 9) if fits else ("label end", x_of(x) - 9)
        parts.append(f'<circle class="point" cx="{x_of(x)}" cy="{y_of(y)}" r="4.5"/>'
                     f'<text class="{side}" x="{place}" y="{y_of(y) + 4}">{escape(name)}</text>')
    return (f'<svg viewBox="0 0 {SCATTER_WIDTH} {SCATTER_HEIGHT}" width="{SCATTER_WIDTH}" height="{SCATTER_HEIGHT}">'
            + "".join(parts) + "</svg>")


def side_by_side(plots: list[str]) -> str:
    """A whole SVG file of `scatter_plot`s in a row."""
    width = SCATTER_WIDTH * len(plots)
    placed = "".join(f'<g transform="translate({SCATTER_WIDTH * index} 0)">{plot}</g>'
                     for index, plot in enumerate(plots))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {SCATTER_HEIGHT}" width="{width}" '
            f'height="{SCATTER_HEIGHT}"><style>{SCATTER_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
            f"{placed}</svg>\n")
