"""The web page of a result: one file that asks the network for nothing, pictures included."""
import base64
import json
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import cv2
import numpy as np

from benchmark.clips import Clip, load_clip
from benchmark.methods import Bicubic, Network
from benchmark.plot import line_plot
from benchmark.published import SOURCES
from benchmark.results import clip_psnr
from common.files import atomic_path

PAGE = Path(__file__).parent / "page"
TITLES = {"vid4": "Vid4", "gopro": "GoPro", "adobe240": "Adobe240", "vimeo90k-fast": "Vimeo-90K fast",
          "vimeo90k-medium": "Vimeo-90K medium", "vimeo90k-slow": "Vimeo-90K slow"}
NAMES = {"safa": "SAFA", "safa_small": "SAFA small", "bicubic": "Bicubic", "truth": "Truth"}
DETAIL = (96, 72)  # width, height of the magnified part
MANY_VIDEOS = 24  # more than this are plotted as one curve over clips


@dataclass
class Example:
    """A clip to look at: one frame by each method, and the frame itself."""
    rank: str
    name: str
    pictures: dict[str, np.ndarray]  # "bicubic", "safa", "truth" -> HxWx3 uint8
    psnr: dict[str, float]


def write_report(folder: Path, result: dict, floor: dict | None, published: dict, clips: list[Clip],
                 method: Bicubic | Network, lr: Path | None = None) -> Path:
    """Write `folder`/index.html for a result as `protocol.run` makes it.

    Args:
        result: what is reported; `floor`: the same of bicubic, None if `result` is that itself.
        published: figure's name -> method -> (PSNR, SSIM), as papers print them.
        clips: those of the result; the best, the median and the worst are predicted again by `method` to be shown.
    """
    examples = choose_examples(result, floor, clips, method, lr)
    page = folder / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text(render(result, floor, published, examples), encoding="utf-8")
    return page


def choose_examples(result: dict, floor: dict | None, clips: list[Clip], method: Bicubic | Network,
                    lr: Path | None) -> list[Example]:
    """The clips of highest, middle and lowest PSNR, each by the scored frame farthest from its inputs."""
    ranked = sorted((r for r in result["per_clip"] if clip_psnr(r) is not None), key=clip_psnr, reverse=True)
    if not ranked:
        return []
    chosen = {}
    for rank, at in (("Best", 0), ("Median", len(ranked) // 2), ("Worst", len(ranked) - 1)):
        chosen.setdefault(ranked[at]["clip"], rank)
    by_name = {clip.name: clip for clip in clips}
    methods = {"bicubic": Bicubic()} | ({method.name: method} if method.name != "bicubic" else {})
    examples = []
    for name, rank in chosen.items():
        middle = len(by_name[name].inputs) / 2 - 0.5
        target = min(by_name[name].targets, key=lambda t: (abs(t.timestep - 0.5), abs(t.pair + t.timestep - middle)))
        loaded = load_clip(replace(by_name[name], targets=(target,)), lr)
        pictures = {key: np.clip(np.rint(m.predict(loaded)[0]), 0, 255).astype(np.uint8)
                    for key, m in methods.items()} | {"truth": loaded.truth[0]}
        psnr = {key: _frame_psnr(source, name, target.position)
                for key, source in ((method.name, result), ("bicubic", floor)) if source}
        examples.append(Example(rank, target.name, pictures, psnr))
    return examples


def _frame_psnr(result: dict, clip: str, position: int) -> float | None:
    record = next(r for r in result["per_clip"] if r["clip"] == clip)
    return next(frame["psnr"] for frame in record["frames"] if frame["position"] == position)


def render(result: dict, floor: dict | None, published: dict, examples: list[Example]) -> str:
    """The page as HTML."""
    protocol = result["protocol"]
    dataset = TITLES.get(protocol["dataset"], protocol["dataset"])
    title = f"{NAMES[result['method']]} on {dataset}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{escape(title)}, {escape(protocol['name'])} protocol</title>
<style>
{(PAGE / "style.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<p class="overline">Space-time video super-resolution, four times the size</p>
<h1>{escape(title)}</h1>
<p>Frames in: {escape(protocol['frames_in'])}. Scored: {escape(protocol['frames_scored'])}.
This is the <strong>{escape(protocol['name'])}</strong> protocol; figures of other protocols do not compare.</p>
{_numbers(result, floor)}
</header>
<main>
{_scenes(examples)}
{_table(result, floor, published)}
{_plots(result, floor)}
{_facts(result)}
</main>
<footer>PSNR and SSIM on Y. This page is complete in itself: it loads nothing from anywhere.</footer>
<script>
{(PAGE / "script.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _numbers(result: dict, floor: dict | None) -> str:
    cells = [("PSNR", f"{_number(result['psnr'], 2)} <small>dB</small>"), ("SSIM", _number(result["ssim"], 4))]
    if floor and None not in (result["psnr"], floor["psnr"]):
        gain = result["psnr"] - floor["psnr"]
        cells.append(("over bicubic", f'<span class="gain">{gain:+.2f}</span> <small>dB</small>'))
    cells.append((f"clips, {result['frames']} frames", str(result["clips"])))
    return '<dl class="numbers">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in cells) + "</dl>"


def data_uri(picture: np.ndarray) -> str:
    """A picture as a lossless WebP inside the page."""
    encoded = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 101])[1]
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode()


def detail_box(example: Example) -> tuple[int, int, int, int]:
    """x, y, width, height of the part that gained most over bicubic (or is worst, if there is only bicubic)."""
    truth = example.pictures["truth"].astype(np.float32)
    height, width = truth.shape[:2]
    size = min(DETAIL[0], width), min(DETAIL[1], height)
    errors = {name: np.square(picture - truth).mean(2) for name, picture in example.pictures.items()}
    gain = errors["bicubic"] - errors.get("safa", 0)
    # The mean over each box is at its centre; only boxes that lie inside count.
    means = cv2.boxFilter(gain, -1, size, anchor=(0, 0))[:height - size[1] + 1, :width - size[0] + 1]
    y, x = np.unravel_index(int(means.argmax()), means.shape)
    return int(x), int(y), *size


def _scenes(examples: list[Example]) -> str:
    if not examples:
        return ""
    scenes = "\n".join(_scene(example) for example in examples)
    return f"""<section aria-labelledby="look">
<h2 id="look">See for yourself</h2>
<p class="soft">Drag across a picture, or focus it and press the arrow keys. Best, median and worst are by PSNR
over all clips; each shows the frame farthest in time from those that went in. The framed part, magnified beside it, is
{"where SAFA gains most over bicubic" if "safa" in examples[0].pictures else "where bicubic is worst"};
the figures under it are of the whole frame.</p>
{scenes}
</section>"""


def _scene(example: Example) -> str:
    ours = [name for name in example.pictures if name not in ("bicubic", "truth")]
    order = ["bicubic", *ours, "truth"]
    pairs = [("bicubic", name) for name in ours] + [(name, "truth") for name in ours] + [("bicubic", "truth")]
    height, width = example.pictures["truth"].shape[:2]
    x, y, w, h = detail_box(example)
    buttons = "".join(
        f'<button type="button" data-pair="{a} {b}" aria-pressed="{"true" if i == 0 else "false"}">'
        f"{NAMES[a]} / {NAMES[b]}</button>" for i, (a, b) in enumerate(pairs))
    images = "".join(f'<img data-name="{name}" alt="{NAMES[name]}" src="{data_uri(example.pictures[name])}">'
                     for name in order)
    box = (f"left:{100 * x / width:.3f}%;top:{100 * y / height:.3f}%;"
           f"width:{100 * w / width:.3f}%;height:{100 * h / height:.3f}%")
    details = "".join(
        f'<figure class="{"ours" if name in ours else name}">'
        f'<img alt="{NAMES[name]}, magnified" width="{w}" height="{h}" '
        f'src="{data_uri(example.pictures[name][y:y + h, x:x + w])}"><figcaption><span>{NAMES[name]}</span>'
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


def _table(result: dict, floor: dict | None, published: dict) -> str:
    figures = list(result["figures"])
    head = "".join(f'<th scope="col">PSNR<br>{escape(name)}</th><th scope="col">SSIM<br>{escape(name)}</th>'
                   for name in figures)
    rows = []
    for method in dict.fromkeys(m for name in figures for m in published.get(name, {})):
        cells = _cells([published.get(name, {}).get(method) for name in figures])
        rows.append(f'<tr class="published"><th scope="row">{method} <em>{SOURCES[method]}</em>'
                    f'<span class="kind">from its paper</span></th>{cells}</tr>')
    for measured, kind in ((floor, "floor"), (result, "ours" if result["method"] != "bicubic" else "floor")):
        if measured:
            cells = _cells([(measured["figures"][name]["psnr"], measured["figures"][name]["ssim"]) for name in figures])
            rows.append(f'<tr class="measured {kind}"><th scope="row">{NAMES[measured["method"]]}'
                        f'<span class="kind">measured here</span></th>{cells}</tr>')
    note = ""
    if result["infinite_frames"]:
        note = (f'<p class="soft">{result["infinite_frames"]} frames equal the truth exactly (infinite PSNR: black '
                "frames) and are left out of the means.</p>")
    expected = result["protocol"]["expected_clips"]
    if expected not in (None, result["clips"]):
        note += (f'<p class="soft">Measured on {result["clips"]} clips; the published figures are over {expected} and '
                 "do not compare.</p>")
    return f"""<section aria-labelledby="table">
<h2 id="table">Beside the published figures</h2>
<p class="soft">Rows marked “from its paper” repeat what the authors printed; nothing of them was run here.</p>
{note}<div class="scroll" tabindex="0" role="region" aria-labelledby="table">
<table><thead><tr><th scope="col">Method</th>{head}</tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _cells(figures: list[tuple[float | None, float | None] | None]) -> str:
    """PSNR and SSIM for each figure; empty where there is none."""
    return "".join(f"<td>{_number(psnr, 2)}</td><td>{_number(ssim, 4)}</td>" if psnr or ssim else "<td></td><td></td>"
                   for psnr, ssim in (figure or (None, None) for figure in figures))


def _plots(result: dict, floor: dict | None) -> str:
    kinds = {"ours" if result["method"] != "bicubic" else "floor": result} | ({"floor": floor} if floor else {})
    videos = list(dict.fromkeys(record["video"] for record in result["per_clip"]))
    if len(videos) > MANY_VIDEOS:
        heading, x_name = "Clip by clip", "clip"
        text = "PSNR of each clip, every method's clips sorted from worst to best."
        plots = {"": {kind: _sorted_clips(source) for kind, source in kinds.items()}}
    else:
        heading, x_name = "Frame by frame", "frame"
        text = ("PSNR over each video. Frames that went in mostly fare better than those between them, "
                "which is what the teeth are.")
        plots = {video: {kind: _frames_of(source, video) for kind, source in kinds.items()} for video in videos}
    labels = {"x": x_name} | {kind: NAMES[source["method"]] for kind, source in kinds.items()}
    drawn = []
    for video, series in plots.items():
        means = {kind: [y for _, y in points if y is not None] for kind, points in series.items()}
        mean = ", ".join(f"{labels[kind]} {sum(ys) / len(ys):.2f} dB" for kind, ys in means.items() if ys)
        svg = line_plot(series, x_name, f"PSNR in dB over {x_name}s of {video or 'all clips'}. Means: {mean}")
        drawn.append(f'<div><div class="head"><h3>{escape(video)}</h3><span class="soft">{mean}</span></div>'
                     f'<div class="wrap" data-labels="{escape(json.dumps(labels))}">{svg}<div class="tip" hidden></div>'
                     "</div></div>")
    legend = "".join(f'<li class="{kind}">{labels[kind]}</li>' for kind in kinds)
    return f"""<section aria-labelledby="plots">
<h2 id="plots">{heading}</h2>
<p class="soft">{text}</p>
<ul class="legend">{legend}</ul>
<div class="plots">{"".join(drawn)}</div>
</section>"""


def _frames_of(result: dict, video: str) -> list[tuple[int, float | None]]:
    return sorted((frame["index"], frame["psnr"]) for record in result["per_clip"] if record["video"] == video
                  for frame in record["frames"])


def _sorted_clips(result: dict) -> list[tuple[int, float | None]]:
    means = [clip_psnr(record) for record in result["per_clip"]]
    return list(enumerate(sorted(mean for mean in means if mean is not None)))


def _facts(result: dict) -> str:
    protocol, machine = result["protocol"], result["hardware"]
    rows = [(key.replace("_", " ").capitalize(), protocol[key]) for key in
            ("averaging", "rounding", "lr", "enlargement", "y", "psnr", "ssim", "border")]
    rows = [(key if len(key) > 4 else {"Lr": "LR frames", "Y": "Y", "Psnr": "PSNR", "Ssim": "SSIM"}[key], value)
            for key, value in rows]
    if "weights_sha256" in result:
        rows += [("Weights", f"{result['weights']}, SHA-256 {result['weights_sha256']}"),
                 ("Arithmetic", f"{result['precision']}, tile {result['tile']}, scale cap {result['scale_cap']}")]
    rows.append(("Software", ", ".join(f"{name} {version}" for name, version in result["versions"].items())))
    rows.append(("Machine", ", ".join(str(v) for v in (machine["gpu"], machine["processor"], machine["system"]) if v)))
    body = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in rows)
    return f"""<section aria-labelledby="facts">
<h2 id="facts">How it was measured</h2>
<dl class="facts">{body}</dl>
</section>"""
