"""Stored results side by side: one table, and one page.

    python3 -m benchmark.vid4 --root Vid4 --json safa.json
    python3 -m benchmark.vid4 --root Vid4 --method flow --json flow.json
    python3 -m benchmark.compare safa.json flow.json --report comparison

Results are what --json of any benchmark and of `benchmark.score` writes. Frames are matched by name, and only those
that all results hold are counted, in the clips of the first result; the others are compared with that one: the mean
difference over the clips with its 95 % bootstrap interval, in how many clips it is better, and p of a permutation test.
"""
import json
from html import escape
from pathlib import Path

from benchmark import html
from benchmark.measures import MEASURES, measured
from benchmark.methods import title_of
from benchmark.published import comparison_note, published_figures
from benchmark.results import average, figures_table, format_figure, write_csv, write_json
from benchmark.statistics import Paired, paired
from common import cli
from common.errors import UserError
from common.files import atomic_path

SAME = ("dataset", "name", "rounding", "lr")  # of protocols whose figures compare


def read_result(path: Path) -> dict:
    """A result from a file. Raises UserError if it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        for record in result["per_clip"]:
            record["clip"], record["video"], [frame["frame"] for frame in record["frames"]]
        result["protocol"]["figures"], result["protocol"]["metrics"], result["method"], result["hardware"]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a result that --json of a benchmark or of benchmark.score wrote; "
                        "if an earlier version wrote it, make it again") from error
    return result


def align(results: list[dict]) -> list[dict]:
    """The results on the frames that all of them hold, in the clips of the first, with means over these.

    Raises:
        UserError: there is no such frame.
    """
    by_name = [{frame["frame"]: frame for record in result["per_clip"] for frame in record["frames"]}
               for result in results]
    shared = set(by_name[0]).intersection(*by_name[1:])
    if not shared:
        raise UserError(f"the results have no frame in common: {next(iter(by_name[0]), 'none')} in the first and "
                        f"{next(iter(by_name[-1]), 'none')} in the last, for example")
    # A frame that equals the ground truth in one result has no PSNR there: it counts in none.
    left_out = {name for name in shared for frames in by_name if frames[name]["psnr"] is None}
    protocol = results[0]["protocol"]
    aligned = []
    for result, frames in zip(results, by_name, strict=True):
        records = []
        for record in results[0]["per_clip"]:
            kept = [{**own, **{name: value for name, value in frames[own["frame"]].items() if name in MEASURES}}
                    for own in ({key: value for key, value in frame.items() if key not in MEASURES}
                                for frame in record["frames"] if frame["frame"] in shared)]
            kept = [frame | {"psnr": None} if frame["frame"] in left_out else frame for frame in kept]
            if kept:
                records.append({**record, "frames": kept})
        figures = {name: average(records, positions, protocol["over"])
                   for name, positions in protocol["figures"].items()}
        main = next(iter(figures.values()))
        aligned.append({**{key: value for key, value in result.items() if key not in MEASURES}, **main,
                        "protocol": protocol, "figures": figures, "per_clip": records})
    return aligned


def differences(first: dict, second: dict) -> list[Paired]:
    """The paired differences of two aligned results, for each metric that both have."""
    names = [name for name in measured(first) if name in second]
    return [pair for name in names if (pair := paired(first["per_clip"], second["per_clip"], name))]


def labels_of(results: list[dict], paths: list[Path]) -> list[str]:
    """What to call each result: its method; where other files have the same, the file's name too, and as many of its
    folders as it takes. A file that is given twice gets a number.
    """
    titles = [title_of(result["method"]) for result in results]
    files = [path.absolute().with_suffix("").parts for path in paths]
    labels = titles
    for depth in range(1, max(map(len, files)) + 1):
        called = {label: {file for other, file in zip(labels, files) if other == label} for label in labels}
        labels = [label if len(called[label]) == 1 else f"{title} ({'/'.join(file[-depth:])})"
                  for label, title, file in zip(labels, titles, files, strict=True)]
    return [f"{label} {labels[:place + 1].count(label)}" if label in labels[:place] else label
            for place, label in enumerate(labels)]


def notes_of(results: list[dict], aligned: list[dict], labels: list[str]) -> list[str]:
    """What a reader has to know: differing protocols, frames that only some results hold."""
    notes = []
    for result, label in zip(results[1:], labels[1:], strict=True):
        scored = "score" in (results[0]["protocol"].get("name"), result["protocol"].get("name"))
        for key in ("rounding",) if scored else SAME:
            values = [one["protocol"].get(key) for one in (results[0], result)]
            if values[0] != values[1] and None not in values:
                notes.append(f"{key.replace('name', 'protocol')} differs: {labels[0]}: {values[0]}; {label}: "
                             f"{values[1]}")
    counts = [sum(len(record["frames"]) for record in result["per_clip"]) for result in results]
    frames = sum(len(record["frames"]) for record in aligned[0]["per_clip"])
    notes += [f"{label} has {count} frames, of which the {frames} that all results hold are counted"
              for label, count in zip(labels, counts, strict=True) if count != frames]
    return notes


def text_table(aligned: list[dict], labels: list[str]) -> str:
    """The figures, and what the first result has over each other one."""
    published = published_figures(aligned[0]["protocol"])
    tables = [figures_table(result["figures"], published if index == 0 else {}, label).splitlines()
              for index, (result, label) in enumerate(zip(aligned, labels, strict=True))]
    lines = [*tables[0]]
    for result, rows in zip(aligned[1:], tables[1:], strict=True):
        lines += rows if measured(result) != measured(aligned[0]) else rows[1:len(result["figures"]) + 1]
    if note := comparison_note(aligned[0]["protocol"].get("expected_clips"), aligned[0]["clips"]):
        lines.append(f"note: {note}")
    for result, label in zip(aligned[1:], labels[1:], strict=True):
        lines.append(f"{labels[0]} minus {label}:")
        for pair in differences(aligned[0], result):
            measure = MEASURES[pair.metric]
            low, mean, high = (f"{value:+.{measure.digits}f}" for value in (pair.low, pair.mean, pair.high))
            chance = "p < 0.001" if pair.p < 0.001 else f"p = {pair.p:.3f}"
            lines.append(f"  {measure.title:10}{mean:>9} [{low}, {high}]  better in {pair.better} of {pair.clips} "
                         f"clips, worse in {pair.worse}, {chance}")
    return "\n".join(lines)


def clip_table(aligned: list[dict], labels: list[str]) -> list[list[str]]:
    """PSNR of each clip by each result: rows of text, the heading first."""
    rows = [["clip", *labels]]
    for records in zip(*(result["per_clip"] for result in aligned), strict=True):
        rows.append([records[0]["clip"], *(format_figure("psnr", average([r])["psnr"], 2) for r in records)])
    return rows


def render(aligned: list[dict], labels: list[str], notes: list[str]) -> str:
    """The page as HTML."""
    protocol = aligned[0]["protocol"]
    dataset = html.TITLES.get(protocol["dataset"], protocol["dataset"])
    introduction = "".join(f"<p>{escape(note)}</p>" for note in [
        f"The {protocol['name']} protocol. {aligned[0]['frames']} frames of {aligned[0]['clips']} clips.", *notes])
    introduction += html.numbers([(escape(label), f"{format_figure('psnr', result['psnr'], 2)} <small>dB</small>")
                                  for result, label in zip(aligned, labels, strict=True)])
    compared = {label: differences(aligned[0], result) for result, label in zip(aligned[1:], labels[1:], strict=True)}
    head, *rows = clip_table(aligned, labels)
    clips = ('<details><summary>PSNR of every clip</summary><div class="scroll"><table><thead><tr>'
             + "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head) + "</tr></thead><tbody>"
             + "".join(f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:])
                       + "</tr>" for row in rows) + "</tbody></table></div></details>")
    title = " and ".join(labels) if len(labels) == 2 else f"{labels[0]} beside {len(labels) - 1} other methods"
    return html.document(f"{title} on {dataset}",
                         "Stored results, compared on the same frames", introduction,
                         [html.table(aligned, labels, published_figures(protocol)),
                          html.differences(compared, labels[0]), html.plots(aligned, labels),
                          html.section("clips", "Clip by clip", clips), html.facts(aligned, labels)],
                         "PSNR and SSIM on Y.")


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, metavar="FILE", help="results, two or more, as --json writes")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a web page, index.html, here")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every frame's metrics here, a row per frame")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the differences here")
    args = parser.parse_args()
    if len(args.results) < 2:
        raise UserError("one result alone cannot be compared: give two or more")
    results = [read_result(path) for path in args.results]
    aligned, labels = align(results), labels_of(results, args.results)
    notes = notes_of(results, aligned, labels)
    print("\n".join([*(f"note: {note}" for note in notes), text_table(aligned, labels)]))
    if args.json:
        write_json(args.json, {"first": labels[0], "notes": notes, "figures": {
            label: result["figures"] for result, label in zip(aligned, labels, strict=True)}, "differences": {
            label: [pair._asdict() for pair in differences(aligned[0], result)]
            for result, label in zip(aligned[1:], labels[1:], strict=True)}})
    if args.csv:
        write_csv(args.csv, [{**result, "method": label} for result, label in zip(aligned, labels, strict=True)])
    if args.report:
        page = args.report / "index.html"
        with atomic_path(page) as temporary:
            temporary.write_text(render(aligned, labels, notes), encoding="utf-8")
        print(f"report: {page}")


if __name__ == "__main__":
    cli.run(main)
