"""Line plots as SVG, drawn for the report: no plotting library, text that can be selected, colours from the page."""
import json
import math
from collections.abc import Sequence
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


def line_plot(series: dict[str, Series], x_label: str, description: str) -> str:
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
