"""Per-clip records in .jsonl files that interrupted runs go on from, and what is averaged over them."""
import json
import math
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError

MEASURES = ("psnr", "ssim", "lpips")


class Records:
    """The records of one run in one folder; each process appends to a file of its own.

    A line is written whole and flushed as soon as its clip is done. A line cut short by a crash is
    ignored when read, so its clip is done again.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}") from error

    def read(self) -> dict[str, dict]:
        """The records so far, of all processes, by clip."""
        records = {}
        for path in sorted(self.folder.glob("results*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    records[record["clip"]] = record
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue
        return records

    def clear(self) -> None:
        for path in self.folder.glob("results*.jsonl"):
            path.unlink()

    def append(self, record: dict, rank: int = 0) -> None:
        """Add a record to this process's file."""
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


def frame_record(target, psnr: float, ssim: float, lpips: float | None = None) -> dict:
    """The record of one frame. JSON has no infinity: `psnr` is null where the frame equals the truth."""
    record = {"frame": target.name, "position": target.position, "index": target.index,
              "psnr": psnr if math.isfinite(psnr) else None, "ssim": ssim}
    return record if lpips is None else record | {"lpips": lpips}


def average(records: Sequence[dict], positions: Sequence[int] | None = None, over: str = "clips") -> dict:
    """Average over the frames of each clip (or video), then over clips (or videos).

    Frames equal to the truth (infinite PSNR: black frames in practice) are left out of every mean.

    Args:
        records: one per clip.
        positions: the places in the clip that count; None for all scored ones.
        over: "clips" or "videos".

    Returns:
        psnr, ssim and, where measured, lpips (null if nothing is left to average); clips and frames counted;
        `infinite_clips` and `infinite_frames` of these, left out of the means.
    """
    groups: dict[str, list[dict]] = {}
    clips = frames = infinite_clips = infinite_frames = 0
    for record in records:
        chosen = [frame for frame in record["frames"] if positions is None or frame["position"] in positions]
        finite = [frame for frame in chosen if frame["psnr"] is not None]
        clips += bool(chosen)
        frames += len(chosen)
        infinite_frames += len(chosen) - len(finite)
        infinite_clips += bool(chosen) and not finite
        groups.setdefault(record["clip" if over == "clips" else "video"], []).extend(finite)
    result = {}
    for measure in MEASURES:
        means = [math.fsum(f[measure] for f in group) / len(group)
                 for group in groups.values() if group and measure in group[0]]
        if means or measure != "lpips":
            result[measure] = math.fsum(means) / len(means) if means else None
    return result | {"clips": clips, "frames": frames, "infinite_clips": infinite_clips,
                     "infinite_frames": infinite_frames}


def clip_psnr(record: dict) -> float | None:
    """Mean PSNR of one clip's scored frames, averaged as in `average`; None if nothing is left to average."""
    return average([record])["psnr"]


def figures_table(figures: dict[str, dict], published: dict[str, dict[str, tuple[float, float]]], method: str) -> str:
    """The figures as text: ours, and below each the published ones, marked as such."""
    lpips = any("lpips" in figure for figure in figures.values())
    lines = [f"{'':34}{'PSNR-Y':>9}{'SSIM-Y':>9}" + (f"{'LPIPS':>9}" if lpips else "") + f"{'clips':>8}{'frames':>8}"]
    for name, figure in figures.items():
        cells = [_number(figure["psnr"], 3), _number(figure["ssim"], 4)]
        cells += [_number(figure.get("lpips"), 4)] if lpips else []
        lines.append(f"{method + ', ' + name:34}" + "".join(f"{cell:>9}" for cell in cells)
                     + f"{figure['clips']:>8}{figure['frames']:>8}")
        for other, (psnr, ssim) in published.get(name, {}).items():
            lines.append(f"{'  ' + other + ' (its paper)':34}{psnr:9.2f}{ssim:9.4f}")
    main = next(iter(figures.values()))
    if main["infinite_frames"]:
        lines.append(f"left out of the means: {main['infinite_frames']} frames equal to the truth (infinite PSNR), "
                     f"{main['infinite_clips']} clips with no others")
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
