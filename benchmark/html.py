"""The parts of a page of results: one file that loads nothing, images included.

A page shows several results on the same clips; the first is the one that the others are compared with.
"""
import base64
import json
from html import escape
from pathlib import Path

import cv2
import numpy as np

from benchmark.examples import GROUND_TRUTH, Example, detail_box
from benchmark.measures import MEASURES, measured
from benchmark.plot import line_plot
from benchmark.published import SOURCES, comparison_note
from benchmark.results import clip_mean, format_figure
from benchmark.statistics import Paired

PAGE = Path(__file__).parent / "page"
TITLES = {"vid4": "Vid4", "gopro": "GoPro", "adobe240": "Adobe240", "vimeo90k-fast": "Vimeo-90K fast",
          "vimeo90k-medium": "Vimeo-90K medium", "vimeo90k-slow": "Vimeo-90K slow", "synthetic": "generated scenes"}
MANY_VIDEOS = 24  # more than this are plotted as one curve over clips
COLOURS = 6  # of lines and rows, in page/style.css


def document(title: str, overline: str, introduction: str, sections: list[str], footer: str) -> str:
    """A whole page; `introduction` and `sections` are HTML, the rest is text."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{(PAGE / "style.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<p class="overline">{escape(overline)}</p>
<h1>{escape(title)}</h1>
{introduction}
</header>
<main>
{"".join(sections)}
</main>
<footer>{escape(footer)} This page is complete in itself: it loads nothing from anywhere.</footer>
<script>
{(PAGE / "script.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def numbers(cells: list[tuple[str, str]]) -> str:
    """Large figures: (label, HTML of the value)."""
    return '<dl class="numbers">' + "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>"
                                            for label, value in cells) + "</dl>"


def data_uri(image: np.ndarray) -> str:
    """An image as a lossless WebP inside the page."""
    encoded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1]
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode()


def section(name: str, heading: str, body: str) -> str:
    return f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(heading)}</h2>\n{body}\n</section>\n'


def scenes(examples: list[Example], labels: dict[str, str]) -> str:
    """Frames to compare by dragging. `labels`: method -> what to call it, the reported one first."""
    if not examples:
        return ""
    main = next(iter(labels))
    part = ("where the baseline is worst" if len(labels) == 1 else
            f"where {labels[main]} gains most over {labels[list(labels)[1]]}")
    text = ("Drag across an image, or focus it and press the arrow keys. Of each clip the frame farthest in time from "
            f"those that went in is looked at; best, median and worst are by {labels[main]}’s PSNR of that frame, "
            f"which is also the figure below. The framed part, magnified beside it, is {part}.")
    return section("look", "See for yourself", f'<p class="soft">{escape(text)}</p>\n'
                   + "\n".join(_scene(example, labels | {GROUND_TRUTH: "Ground truth"}) for example in examples))


def _scene(example: Example, labels: dict[str, str]) -> str:
    main, *others = [name for name in labels if name != GROUND_TRUTH]
    order = [*others, main, GROUND_TRUTH]
    pairs = [(other, main) for other in others] + [(main, GROUND_TRUTH)]
    height, width = example.images[GROUND_TRUTH].shape[:2]
    x, y, w, h = detail_box(example, main, others[0] if others else None)
    buttons = "".join(
        f'<button type="button" data-pair="{escape(a)} {escape(b)}" aria-pressed="{"true" if i == 0 else "false"}">'
        f"{escape(labels[a])} / {escape(labels[b])}</button>" for i, (a, b) in enumerate(pairs))
    images = "".join(f'<img data-name="{escape(name)}" alt="{escape(labels[name])}" '
                     f'src="{data_uri(example.images[name])}">' for name in order)
    box = (f"left:{100 * x / width:.3f}%;top:{100 * y / height:.3f}%;"
           f"width:{100 * w / width:.3f}%;height:{100 * h / height:.3f}%")
    details = "".join(
        f'<figure class="{"ours" if name == main else "other"}">'
        f'<img alt="{escape(labels[name])}, magnified" width="{w}" height="{h}" '
        f'src="{data_uri(example.images[name][y:y + h, x:x + w])}"><figcaption><span>{escape(labels[name])}</span>'
        f'<span>{_decibels(example.psnr.get(name))}</span></figcaption></figure>' for name in order)
    return f"""<div class="scene">
<div class="top"><div><h3>{example.rank}: {escape(example.name)}</h3></div>
<div class="pairs" role="group" aria-label="What to compare">{buttons}</div></div>
<div class="stage" style="aspect-ratio:{width}/{height}">{images}<span class="mark" style="{box}"></span>
<span class="tag at-left"></span><span class="tag at-right"></span><span class="bar"></span>
<input type="range" min="0" max="100" step="0.5" value="50" aria-label="Divide, {escape(example.name)}"></div>
<div class="crops">{details}</div>
</div>"""


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} dB"


def colour(index: int) -> str:
    """The CSS class of the result at this place."""
    return f"s{min(index, COLOURS - 1)}"


def table(results: list[dict], labels: list[str], published: dict) -> str:
    """Every result's figures, beside the published ones."""
    figures = list(results[0]["figures"])
    names = measured(results[0])
    head = "".join(f'<th scope="col">{escape(MEASURES[name].title)}<br>{escape(figure)}</th>'
                   for figure in figures for name in names)
    rows = []
    for method in dict.fromkeys(m for figure in figures for m in published.get(figure, {})):
        cells = _cells([published.get(figure, {}).get(method, {}) for figure in figures], names)
        rows.append(f'<tr class="published"><th scope="row">{method} <em>{SOURCES[method]}</em>'
                    f'<span class="kind">from its paper</span></th>{cells}</tr>')
    for index in [*range(1, len(results)), 0]:
        cells = _cells([results[index]["figures"][figure] for figure in figures], names)
        rows.append(f'<tr class="measured {colour(index)}"><th scope="row">{escape(labels[index])}'
                    f'<span class="kind">measured here</span></th>{cells}</tr>')
    notes = []
    if published:
        notes.append("Rows marked “from its paper” repeat what the authors printed; nothing of them was run here.")
    if results[0]["infinite_frames"]:
        notes.append(f"{results[0]['infinite_frames']} frames equal the ground truth exactly (infinite PSNR: black "
                     "frames) and are left out of the means.")
    if note := comparison_note(results[0]["protocol"].get("expected_clips"), results[0]["clips"]):
        notes.append(f"{note[0].upper()}{note[1:]}.")
    return section("table", "Beside the published figures" if published else "Figures", "".join(
        f'<p class="soft">{escape(note)}</p>' for note in notes)
        + f"""<div class="scroll" tabindex="0" role="region" aria-labelledby="table">
<table><thead><tr><th scope="col">Method</th>{head}</tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>""")


def _cells(figures: list[dict], names: list[str]) -> str:
    """Each metric of each figure; empty where there is none."""
    return "".join(f"<td>{format_figure(name, figure[name], 2 if name == 'psnr' else None) if name in figure else ''}"
                   "</td>" for figure in figures for name in names)


def differences(comparisons: dict[str, list[Paired]], main: str) -> str:
    """What the first result has over each other one. `comparisons`: the other's label -> one entry for each metric."""
    if not comparisons:
        return ""
    rows = [f'<tr><th scope="row">{escape(label)}</th><td>{escape(MEASURES[pair.metric].title)}</td>'
            f"<td>{_signed(pair, pair.mean)}</td><td>{_signed(pair, pair.low)} to {_signed(pair, pair.high)}</td>"
            f"<td>{pair.better} of {pair.clips}</td><td>{_chance(pair.p)}</td></tr>"
            for label, pairs in comparisons.items() for pair in pairs]
    text = (f"{main} minus each other method, over the same clips. The interval holds 95 % of the means of clips drawn "
            "anew (bootstrap); p is of a two-sided permutation test on the clips’ differences. Clips of one video are "
            "alike, so both are rather too sure.")
    return section("differences", f"What {main} has over the others", f"""<p class="soft">{escape(text)}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="differences">
<table><thead><tr><th scope="col">Method</th><th scope="col">Metric</th><th scope="col">Mean difference</th>
<th scope="col">95 % interval</th><th scope="col">Better in clips</th><th scope="col">p</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>""")


def _signed(pair: Paired, value: float) -> str:
    return f"{value:+.{MEASURES[pair.metric].digits}f}"


def _chance(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def plots(results: list[dict], labels: list[str]) -> str:
    """PSNR over each video's frames, or over all clips where there are many videos."""
    videos = list(dict.fromkeys(record["video"] for record in results[0]["per_clip"]))
    if len(videos) > MANY_VIDEOS:
        heading, x_name = "Clip by clip", "clip"
        text = "PSNR of each clip, every method's clips sorted from worst to best."
        drawings = {"": [_sorted_clips(result) for result in results]}
    else:
        heading, x_name = "Frame by frame", "frame"
        text = ("PSNR over each video. Frames that went in mostly fare better than those between them, "
                "which is what the teeth are.")
        drawings = {video: [_frames_of(result, video) for result in results] for video in videos}
    names = {"x": x_name} | {colour(index): label for index, label in enumerate(labels[:COLOURS])}
    drawn = []
    for video, lines in drawings.items():
        series = {colour(index): points for index, points in enumerate(lines[:COLOURS])}
        means = {kind: [y for _, y in points if y is not None] for kind, points in series.items()}
        mean = ", ".join(f"{names[kind]} {sum(ys) / len(ys):.2f} dB" for kind, ys in means.items() if ys)
        svg = line_plot(series, x_name, f"PSNR in dB over {x_name}s of {video or 'all clips'}. Means: {mean}")
        drawn.append(f'<div><div class="head"><h3>{escape(video)}</h3><span class="soft">{escape(mean)}</span></div>'
                     f'<div class="wrap" data-labels="{escape(json.dumps(names))}">{svg}<div class="tip" hidden></div>'
                     "</div></div>")
    legend = "".join(f'<li class="{kind}">{escape(name)}</li>' for kind, name in names.items() if kind != "x")
    return section("plots", heading, f"""<p class="soft">{text}</p>
<ul class="legend">{legend}</ul>
<div class="plots">{"".join(drawn)}</div>""")


def _frames_of(result: dict, video: str) -> list[tuple[int, float | None]]:
    return sorted((frame["index"], frame["psnr"]) for record in result["per_clip"] if record["video"] == video
                  for frame in record["frames"])


def _sorted_clips(result: dict) -> list[tuple[int, float | None]]:
    means = [clip_mean(record) for record in result["per_clip"]]
    return list(enumerate(sorted(mean for mean in means if mean is not None)))


def facts(results: list[dict], labels: list[str]) -> str:
    """How it was measured: protocol, metrics, weights, software, machine."""
    protocol, machine = results[0]["protocol"], results[0]["hardware"]
    words = {"lr": "LR frames", "y": "Y"}
    rows = [(words.get(key, key.replace("_", " ").capitalize()), protocol[key])
            for key in ("footage", "averaging", "rounding", "lr", "enlargement", "y", "border") if protocol.get(key)]
    rows += [(MEASURES[name].title, note) for name, note in protocol["metrics"].items() if name in MEASURES]
    for result, label in zip(results, labels, strict=True):
        if "weights_sha256" in result:
            rows += [(label, f"weights {result['weights']}, SHA-256 {result['weights_sha256']}; {result['precision']}, "
                      f"tile {result['tile']}, scale cap {result['scale_cap']}")]
    rows.append(("Software", ", ".join(f"{name} {version}" for name, version in results[0]["versions"].items())))
    rows.append(("Machine", ", ".join(str(v) for v in (machine["gpu"], machine["processor"], machine["system"]) if v)))
    body = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in rows)
    return section("facts", "How it was measured", f'<dl class="facts">{body}</dl>')
