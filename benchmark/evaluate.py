"""The loop of every benchmark: read ahead, predict, score, record; shared out over processes."""
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmark.clips import Clip, LoadedClip, load_clip, stamp_of
from benchmark.measures import DEFAULT, MEASURES, Frames
from benchmark.methods import Method
from benchmark.results import Records, clip_mean
from common.processes import Processes
from media.image import write_image

SCORED_AT_ONCE = 4  # frames: float64 maps of a 720p frame take about 100 MB


class Scorer:
    """Measures predicted frames by the metrics of `benchmark.measures` that are named."""

    def __init__(self, device: str = "cpu", names: Sequence[str] = DEFAULT):
        self.device = device
        self._compute = {name: MEASURES[name].load(device) for name in names}

    @torch.inference_mode()
    def __call__(self, predicted: Sequence[np.ndarray], ground_truth: Sequence[np.ndarray],
                 previous: tuple[np.ndarray, np.ndarray] | None = None) -> list[dict[str, float | None]]:
        """Each metric of each of some consecutive frames, HxWx3 BGR in 0..255, all of one size.

        Args:
            previous: the predicted and the true frame before the first.

        Returns:
            For each frame, name -> value; None where it is infinite (JSON has no infinity) or there is none.
        """
        figures = []
        for start in range(0, len(ground_truth), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            frames = Frames(list(predicted[part]), list(ground_truth[part]), self.device, previous)
            columns = {name: compute(frames) for name, compute in self._compute.items()}
            figures += [dict(zip(columns, map(_finite, row))) for row in zip(*columns.values(), strict=True)]
            previous = frames.predicted[-1], frames.ground_truth[-1]
        return figures


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def round_to_8_bits(frame: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def read_ahead(clips: list[Clip], lr: Path | None, workers: int) -> Iterator[LoadedClip]:
    """Load clips in threads (decoding and resizing release Python's lock), in order, a few ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = []
        try:
            for clip in clips:
                waiting.append(pool.submit(load_clip, clip, lr))
                if len(waiting) > workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def evaluate(clips: list[Clip], method: Method, scorer: Scorer, records: Records, processes: Processes, *,
             rounded: bool, lr: Path | None = None, workers: int = 4, images: Path | None = None,
             fresh: bool = False) -> dict[str, dict]:
    """Predict and score the clips that have no record yet, or changed since then, each on one process.

    Args:
        rounded: round predictions to 8 bits before scoring.
        lr: folder of low-resolution inputs; None makes them.
        images: folder to save predictions in (as 8-bit PNG, by `Target.name`); clips whose images are
            missing there are done again.
        fresh: forget the records of an earlier run.

    Returns:
        On the first process, the records of all the clips by name, in the clips' order; elsewhere {}.
    """
    def done() -> set[str]:
        if fresh:
            records.clear()
        return {clip.name for clip in clips if clip.name in before and _has_images(clip, images)}

    # Taken before the clips are read, by one process: what changes from here on is noticed the next time.
    stamps = processes.from_first(lambda: {clip.name: stamp_of(clip, lr) for clip in clips})
    before = records.read(stamps) if processes.first and not fresh else {}
    finished = processes.from_first(done)
    if finished and processes.first:
        print(f"{len(finished)} of {len(clips)} clips were done before: going on from {records.folder}")
    mine = processes.share([clip for clip in clips if clip.name not in finished])
    total, count = 0.0, 0
    with tqdm(total=len(mine), unit="clip", desc=method.name, disable=not processes.first or not mine) as bar:
        for loaded in read_ahead(mine, lr, workers):
            record = _evaluate_clip(loaded, method, scorer, rounded, images)
            records.append(record | {"stamp": stamps[record["clip"]]}, processes.rank)
            psnr = clip_mean(record)
            if psnr is not None:
                total, count = total + psnr, count + 1
                bar.set_postfix_str(f"mean PSNR {total / count:.3f} dB")
            bar.update()
    processes.wait_for_all()
    if not processes.first:
        return {}
    after = records.read(stamps)
    return {clip.name: after[clip.name] for clip in clips}


def _evaluate_clip(loaded: LoadedClip, method: Method, scorer: Scorer, rounded: bool, images: Path | None) -> dict:
    """The record of a clip."""
    clip = loaded.clip
    predicted = method.predict(loaded)
    if rounded:
        predicted = [round_to_8_bits(frame) for frame in predicted]
    figures = scorer(predicted, loaded.ground_truth)
    if images:
        for target, frame in zip(clip.targets, predicted, strict=True):
            write_image(images / f"{target.name}.png", round_to_8_bits(frame))
    frames = [{"frame": target.name, "position": target.position, "index": target.index, "timestep": target.timestep,
               **figure} for target, figure in zip(clip.targets, figures, strict=True)]
    gmac = method.gmac(loaded)
    return {"clip": clip.name, "video": clip.video, "frames": frames} | ({} if gmac is None else {"gmac": gmac})


def _has_images(clip: Clip, images: Path | None) -> bool:
    return images is None or all((images / f"{target.name}.png").is_file() for target in clip.targets)
