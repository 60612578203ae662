"""Per-clip records in .jsonl files that interrupted runs go on from, what is averaged over them, and tables of it."""
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.measures import MEASURES, measured
from common.errors import UserError
from common.files import atomic_path


class Records:
    """The records of one run in one folder; each process appends to a file of its own.

    A line is written whole and flushed as soon as its clip is done. A line cut short by a crash is
    ignored when read, so its clip is done again, and so is one whose stamp says that the clip was another then.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}") from error

    def read(self, stamps: Mapping[str, str]) -> dict[str, dict]:
        """The records so far, of all processes, by clip. `stamps`: of the clips as they are now."""
        records = {}
        for path in sorted(self.folder.glob("results*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    if record.pop("stamp") == stamps[record["clip"]]:
                        records[record["clip"]] = record
                except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
                    continue
        return records

    def clear(self) -> None:
        for path in self.folder.glob("results*.jsonl"):
            path.unlink()

    def append(self, record: dict, rank: int = 0) -> None:
        """Add a record, its clip's stamp in it, to this process's file."""
        path = self.folder / ("results.jsonl" if rank == 0 else f"results.{rank}.jsonl")
        try:
            with open(path, "ab+") as file:
                if file.seek(0, 2):
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":  # what a crash left of a line
                        file.write(b"\n")
                file.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error


def average(records: Sequence[dict], positions: Sequence[int] | None = None, over: str = "clips") -> dict:
    """Average over the frames of each clip (or video), then over clips (or videos).

    Frames equal to the ground truth (infinite PSNR: black frames in practice) are left out of every mean.

    Args:
        records: one per clip.
        positions: the places in the clip that count; None for all scored ones.
        over: "clips" or "videos".

    Returns:
        Each metric that was measured, if only elsewhere (null if nothing is left to average); clips and frames counted;
        `infinite_clips` and `infinite_frames` of these, left out of the means.
    """
    groups: dict[str, list[dict]] = {}
    clips = frames = infinite_clips = infinite_frames = 0
    names: dict[str, None] = {}
    for record in records:
        chosen = [frame for frame in record["frames"] if positions is None or frame["position"] in positions]
        finite = [frame for frame in chosen if frame["psnr"] is not None]
        names |= dict.fromkeys(name for frame in record["frames"] for name in measured(frame))
        clips += bool(chosen)
        frames += len(chosen)
        infinite_frames += len(chosen) - len(finite)
        infinite_clips += bool(chosen) and not finite
        groups.setdefault(record["clip" if over == "clips" else "video"], []).extend(finite)
    means = {name: _mean([_mean([frame.get(name) for frame in group]) for group in groups.values()]) for name in names}
    return means | {"clips": clips, "frames": frames, "infinite_clips": infinite_clips,
                    "infinite_frames": infinite_frames}


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def clip_mean(record: dict, name: str = "psnr") -> float | None:
    """A metric's mean over one clip's scored frames, averaged as in `average`; None if nothing is left to average."""
    return average([record]).get(name)


def format_figure(name: str, value: float | None, digits: int | None = None) -> str:
    """A metric's value as tables show it; `digits`: other than its usual ones."""
    return "-" if value is None else f"{value:.{MEASURES[name].digits if digits is None else digits}f}"


def figures_table(figures: dict[str, dict], published: dict[str, dict[str, dict[str, float]]], method: str) -> str:
    """The figures as text: ours, and below each the published ones, marked as such."""
    names = measured(next(iter(figures.values())))
    lines = [f"{'':38}" + "".join(f"{MEASURES[name].title:>12}" for name in names) + f"{'clips':>8}{'frames':>8}"]
    for label, figure in figures.items():
        lines.append(f"{method + ', ' + label:38}" + "".join(f"{format_figure(name, figure[name]):>12}"
                                                             for name in names)
                     + f"{figure['clips']:>8}{figure['frames']:>8}")
        for other, printed in published.get(label, {}).items():
            cells = (format_figure(name, printed[name], 2 if name == "psnr" else None) if name in printed else ""
                     for name in names)
            lines.append(f"{'  ' + other + ' (its paper)':38}" + "".join(f"{cell:>12}" for cell in cells))
    main = next(iter(figures.values()))
    if main["infinite_frames"]:
        lines.append(f"left out of the means: {main['infinite_frames']} frames equal to the ground truth (infinite "
                     f"PSNR), {main['infinite_clips']} clips with no others")
    return "\n".join(lines)


def write_json(path: Path, result: dict) -> None:
    """Write a result, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def write_csv(path: Path, results: Sequence[dict]) -> None:
    """Write one row per scored frame of each result: where it is from, and every metric; empty where there is none."""
    frames = [frame for result in results for record in result["per_clip"] for frame in record["frames"]]
    names = measured({name: None for frame in frames for name in frame})
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "video", "clip", "frame", "index", "timestep", *names])
        for result in results:
            for record in result["per_clip"]:
                for frame in record["frames"]:
                    writer.writerow([result["method"], record["video"], record["clip"], frame["frame"], frame["index"],
                                     frame.get("timestep"), *(frame.get(name) for name in names)])
