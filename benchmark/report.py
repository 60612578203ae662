"""The web page of one benchmark run: the method, the baselines, and images of them to compare."""
from html import escape
from pathlib import Path

from benchmark import html
from benchmark.clips import Clip
from benchmark.compare import align, differences
from benchmark.examples import Example, choose_examples
from benchmark.methods import Method, title_of
from benchmark.published import published_figures
from benchmark.results import format_figure
from common.files import atomic_path


def write_report(folder: Path, result: dict, baselines: list[dict], clips: list[Clip], methods: list[Method],
                 lr: Path | None = None) -> Path:
    """Write `folder`/index.html for a result as `protocol.make_result` gives it.

    Args:
        result: what is reported; `baselines`: the same of the baselines on the same clips.
        clips: those of the results; the best, the median and the worst are predicted again to be shown.
        methods: what made `result` and each of `baselines`.
        lr: folder of the low-resolution inputs; None: they are made.
    """
    results = [result, *baselines]
    page = folder / "index.html"
    text = render(results, choose_examples(results, methods, clips, lr))
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def render(results: list[dict], examples: list[Example]) -> str:
    """The page as HTML; the first result is the one that is reported."""
    main, protocol = results[0], results[0]["protocol"]
    names = {result["method"]: title_of(result["method"]) for result in results}
    labels = list(names.values())
    title = f"{labels[0]} on {html.TITLES.get(protocol['dataset'], protocol['dataset'])}"
    introduction = f"""<p>Frames in: {escape(protocol['frames_in'])}. Scored: {escape(protocol['frames_scored'])}.
This is the <strong>{escape(protocol['name'])}</strong> protocol; figures of other protocols do not compare.</p>
{html.numbers(_numbers(main, results[1:]))}"""
    compared = {title_of(other["method"]): differences(*align([main, other])) for other in results[1:]}
    return html.document(title, "Space-time video super-resolution, four times the size", introduction,
                         [html.scenes(examples, names), html.table(results, labels, published_figures(protocol)),
                          html.differences(compared, labels[0]), html.plots(results, labels),
                          html.facts(results, labels)], "PSNR and SSIM on Y.")


def _numbers(result: dict, baselines: list[dict]) -> list[tuple[str, str]]:
    cells = [("PSNR", f"{format_figure('psnr', result['psnr'], 2)} <small>dB</small>"),
             ("SSIM", format_figure("ssim", result["ssim"]))]
    for baseline in baselines:
        if None not in (result["psnr"], baseline["psnr"]):
            gain = f'<span class="gain">{result["psnr"] - baseline["psnr"]:+.2f}</span> <small>dB</small>'
            cells.append((f"over {title_of(baseline['method'])}", gain))
    return [*cells, (f"clips, {result['frames']} frames", str(result["clips"]))]
