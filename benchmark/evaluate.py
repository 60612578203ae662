"""The loop of every benchmark: read ahead, predict, score, record; shared out over processes."""
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmark import metrics
from benchmark.clips import Clip, LoadedClip, load_clip
from benchmark.methods import Bicubic, Network
from benchmark.results import Records, clip_psnr, frame_record
from common.errors import UserError
from common.files import atomic_path
from common.processes import Processes

SCORED_AT_ONCE = 4  # frames: float64 maps of a 720p frame take about 100 MB


class Scorer:
    """PSNR and SSIM on Y, and LPIPS if asked for, of predicted frames."""

    def __init__(self, device: str, lpips: bool = False):
        self.device = device
        self.lpips = _load_lpips(device) if lpips else None

    @torch.inference_mode()
    def __call__(self, clip: Clip, predicted: list[np.ndarray], truth: list[np.ndarray]) -> list[dict]:
        """One record per target; pictures are HxWx3 BGR in 0..255, all of one size."""
        records = []
        for start in range(0, len(truth), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            x, y = self._tensor(predicted[part]), self._tensor(truth[part])
            columns = [figure.tolist() for figure in metrics.psnr_ssim_y(x, y)]
            if self.lpips:
                unit = [frames.float().flip(1) / 127.5 - 1 for frames in (x, y)]
                columns.append(self.lpips(*unit).flatten().tolist())
            records += [frame_record(target, *row) for target, *row in
                        zip(clip.targets[part], *columns, strict=True)]
        return records

    def _tensor(self, frames: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(frames)).to(self.device).permute(0, 3, 1, 2)


def _load_lpips(device: str) -> torch.nn.Module:
    try:
        import lpips
    except ImportError as error:
        raise UserError("--lpips needs the lpips package: pip install lpips") from error
    return lpips.LPIPS(net="alex", verbose=False).to(device).eval()


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


def evaluate(clips: list[Clip], method: Bicubic | Network, scorer: Scorer, records: Records, processes: Processes, *,
             rounded: bool, lr: Path | None = None, workers: int = 4, images: Path | None = None,
             fresh: bool = False) -> dict[str, dict]:
    """Predict and score the clips that have no record yet, each on one process.

    Args:
        rounded: round predictions to 8 bits before scoring.
        lr: folder of low-resolution inputs; None makes them.
        images: folder to save predictions in (as 8-bit PNG, by `Target.name`); clips whose pictures are
            missing there are done again.
        fresh: forget the records of an earlier run.

    Returns:
        On the first process, the records of all the clips by name, in the clips' order; elsewhere {}.
    """
    def done() -> set[str]:
        if fresh:
            records.clear()
        return {clip.name for clip in clips if clip.name in before and _has_pictures(clip, images)}

    before = records.read() if processes.rank == 0 and not fresh else {}
    finished = processes.from_first(done)
    if finished and processes.rank == 0:
        print(f"{len(finished)} of {len(clips)} clips were done before: going on from {records.folder}")
    mine = processes.share([clip for clip in clips if clip.name not in finished])
    total, count = 0.0, 0
    with tqdm(total=len(mine), unit="clip", desc=method.name, disable=processes.rank > 0 or not mine) as bar:
        for loaded in read_ahead(mine, lr, workers):
            predicted = method.predict(loaded)
            if rounded:
                predicted = [round_to_8_bits(frame) for frame in predicted]
            frames = scorer(loaded.clip, predicted, loaded.truth)
            if images:
                for target, frame in zip(loaded.clip.targets, predicted, strict=True):
                    save_picture(images / f"{target.name}.png", round_to_8_bits(frame))
            record = {"clip": loaded.clip.name, "video": loaded.clip.video, "frames": frames}
            records.append(record, processes.rank)
            psnr = clip_psnr(record)
            if psnr is not None:
                total, count = total + psnr, count + 1
                bar.set_postfix_str(f"mean PSNR {total / count:.3f} dB")
            bar.update()
    processes.wait_for_all()
    if processes.rank > 0:
        return {}
    after = records.read()
    return {clip.name: after[clip.name] for clip in clips}


def _has_pictures(clip: Clip, images: Path | None) -> bool:
    return images is None or all((images / f"{target.name}.png").is_file() for target in clip.targets)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write an 8-bit picture, whole or not at all."""
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):
            raise UserError(f"cannot write {path}")
