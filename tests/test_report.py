"""The report page: complete in itself, its figures those of the result, its images exact; in a browser if any."""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from benchmark import examples, vid4
from benchmark.plot import line_plot, nice_ticks
from model import SAFA
from model.checkpoint import save_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Every element with its attributes and the text directly inside it."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        self.open.append(self.elements[-1])

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def all(self, tag: str, **wanted) -> list[dict]:
        return [attributes for name, attributes, _ in self.elements
                if name == tag and all(attributes.get(key) == value for key, value in wanted.items())]

    def text_of(self, tag: str) -> list[str]:
        return ["".join(text).strip() for name, _, text in self.elements if name == tag]


def decode(uri: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small network's report on two small videos: (folder of the page, its text, the result, the data's folder)."""
    import torch
    tmp_path = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    for video, count in (("a", 7), ("b<i>", 5)):
        folder = tmp_path / "data" / video
        folder.mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / f"{i}.png"),
                        cv2.GaussianBlur(random.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 1 + i / 3))
    torch.manual_seed(0)
    save_model(SAFA(channels=8, blocks=1), tmp_path / "w.safetensors")
    argv, sys.argv = sys.argv, [
        "vid4", "--root", str(tmp_path / "data"), "--protocol", "zsm", "--model", str(tmp_path / "w.safetensors"),
        "--device", "cpu", "--output", str(tmp_path / "out"), "--json", str(tmp_path / "r.json"),
        "--report", str(tmp_path / "page")]
    try:
        vid4.main()
    finally:
        sys.argv = argv
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    return tmp_path / "page", text, json.loads((tmp_path / "r.json").read_text()), tmp_path / "data"


def test_page_loads_nothing(made):
    folder, text, _, _ = made
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    without_images = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"https?:|@import|url\(|//\w+\.", without_images)
    for tag, attributes, _ in Page(text).elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes[name])
    assert "default-src 'none'" in Page(text).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]


def test_table_has_ours_and_the_published_figures(made):
    _, text, result, _ = made
    page = Page(text)
    cells = page.text_of("td")
    for figure in result["figures"].values():
        assert f"{figure['psnr']:.2f}" in cells and f"{figure['ssim']:.4f}" in cells
    for printed in ("26.31", "0.7976", "26.43", "0.8016"):  # Zooming Slow-Mo and TMNet
        assert printed in cells
    for other_protocol in ("25.61", "25.79", "25.85"):
        assert other_protocol not in cells
    assert len(page.all("tr", **{"class": "published"})) == 2 == text.count('"kind">from its paper')
    assert "do not compare" in text and "published figures are over 83" in text
    assert result["weights_sha256"] in text


def test_scenes_show_the_true_pixels(made):
    _, text, result, data = made
    page = Page(text)
    titles = [t for t in page.text_of("h3") if ":" in t]
    assert [t.split(":")[0] for t in titles] == ["Best", "Median", "Worst"]
    # Ranked by the very figure that is shown: the PSNR of each clip's frame between the inputs.
    shown = {f["frame"]: f["psnr"] for r in result["per_clip"] for f in r["frames"] if f["position"] == 1}
    ranked = sorted(shown, key=shown.get, reverse=True)
    assert [t.split(": ")[1] for t in titles] == [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
    captions = [text for text in page.text_of("span") if text.endswith(" dB")]
    for title in titles:
        assert f"{shown[title.split(': ')[1]]:.2f} dB" in captions
    truths = page.all("img", **{"data-name": "truth"})
    assert len(truths) == 3 == len(page.all("input", type="range"))
    for title, truth in zip(titles, truths, strict=True):
        path = data / f"{title.split(': ')[1]}.png"
        assert (decode(truth["src"]) == cv2.imread(str(path))).all()
    assert "<i>" not in text.replace("&lt;i&gt;", "")


def test_plots_carry_every_frame(made):
    _, text, result, _ = made
    plots = Page(text).all("svg", **{"class": "plot"})
    assert len(plots) == 2
    points = json.loads(plots[0]["data-points"])
    ours = [(f["index"], round(f["psnr"], 2)) for r in result["per_clip"] if r["video"] == "a" for f in r["frames"]]
    assert [(x, y) for _, _, x, y in points["s0"]] == ours
    assert [x for _, _, x, _ in points["s1"]] == list(range(7))
    heights = [at for _, at, _, _ in points["s0"]]
    assert heights.index(min(heights)) == int(np.argmax([y for _, y in ours]))  # SVG counts downwards


def test_magnified_part_is_where_the_gain_is():
    truth = np.full((200, 300, 3), 90, np.uint8)
    bicubic, ours = truth.copy(), truth.copy()
    bicubic[100:172, 180:276] += 20
    ours[0:72, 0:96] += 30  # worse here
    bicubic[0:72, 0:96] += 30
    example = examples.Example("Best", "x", {"bicubic": bicubic, "safa": ours, "truth": truth}, {})
    assert examples.detail_box(example, "safa", "bicubic") == (180, 100, 96, 72)
    assert examples.detail_box(example, "safa", None)[:2] == (0, 0)


def test_plot_leaves_gaps_and_ticks_cover_the_values():
    svg = line_plot({"s0": [(0, 20.0), (1, None), (2, 30.0), (3, 25.0)]}, "frame", "a plot")
    path = re.search(r'class="line s0" d="([^"]*)"', svg).group(1)
    assert re.sub(r"[^ML]", "", path) == "MML"
    assert line_plot({"s0": [(0, None)]}, "frame", "").startswith("<p>")
    for low, high in ((20.1, 29.7), (33, 33), (-3, 0.02)):
        ticks = nice_ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and len(ticks) <= 7


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser(made, tmp_path):
    """The slider answers, the pair changes, every picture decodes, nothing is blocked and no script fails."""
    probe = """<script>
const problems = [];
addEventListener("error", (e) => problems.push(e.message));
document.addEventListener("securitypolicyviolation", (e) => problems.push("blocked " + e.blockedURI));
addEventListener("load", () => {  // all at once: the page is read as soon as this event is over
  const scene = document.querySelector(".scene"), stage = scene.querySelector(".stage");
  const range = stage.querySelector("input"), box = stage.getBoundingClientRect();
  const tags = () => [...stage.querySelectorAll(".tag")].map((t) => t.textContent).join("/");
  const before = tags();
  range.value = 20; range.dispatchEvent(new Event("input"));
  const keyed = stage.style.getPropertyValue("--x");
  const clip = getComputedStyle(stage.querySelector("img.left")).clipPath;
  scene.querySelectorAll(".pairs button")[1].click();
  const images = [...document.images].filter((image) => image.complete && image.naturalWidth > 0);
  const result = {before, after: tags(), keyed, clip, images: images.length, problems,
    requests: performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).length,
    widest: document.documentElement.scrollWidth - innerWidth, stage: Math.round(box.width)};
  document.body.dataset.result = btoa(JSON.stringify(result));
});
</script>"""
    page = tmp_path / "page.html"
    page.write_text(made[1].replace("<header>", probe + "<header>", 1), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=240, env=os.environ | {"HOME": str(tmp_path)})
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    seen = json.loads(base64.b64decode(found.group(1)))
    assert seen["problems"] == [] and seen["requests"] == 0
    assert (seen["before"], seen["after"]) == ("Bicubic + blending/SAFA", "Bicubic + DIS flow/SAFA")
    assert seen["keyed"] == "20%" and "80%" in seen["clip"]
    assert seen["images"] == 24 and seen["stage"] > 300 and seen["widest"] <= 0
