"""Frames to look at: of the clips where a result is best, in the middle and worst."""
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from benchmark.clips import Clip, Target, load_clip
from benchmark.evaluate import round_to_8_bits
from benchmark.methods import Method

GROUND_TRUTH = "truth"  # its key among the images of an example
DETAIL = (96, 72)  # width, height of the magnified part


@dataclass
class Example:
    """A frame to look at: by each method, and as it is.

    Attributes:
        rank: Best, Median or Worst.
        name: the frame's.
        images: method's name, or `GROUND_TRUTH` -> HxWx3 uint8.
        psnr: of this very frame, by method; the first method's is what `rank` is by.
    """
    rank: str
    name: str
    images: dict[str, np.ndarray]
    psnr: dict[str, float | None]


def choose_examples(results: list[dict], methods: list[Method], clips: list[Clip], lr: Path | None) -> list[Example]:
    """Of each clip, the scored frame farthest from its inputs; of these, the ones of highest, middle and lowest PSNR.

    Args:
        results: of `methods`, on `clips`; the first one's PSNR decides.
        lr: folder of low-resolution inputs, as the results were made with; None makes them.
    """
    figures = {frame["frame"]: frame["psnr"] for record in results[0]["per_clip"] for frame in record["frames"]}
    shown = [(clip, middle_target(clip)) for clip in clips]
    ranked = sorted(((clip, target) for clip, target in shown if figures[target.name] is not None),
                    key=lambda pair: figures[pair[1].name], reverse=True)
    if not ranked:
        return []
    chosen: dict[int, str] = {}
    for rank, at in (("Best", 0), ("Median", len(ranked) // 2), ("Worst", len(ranked) - 1)):
        chosen.setdefault(at, rank)
    examples = []
    for at, rank in chosen.items():
        clip, target = ranked[at]
        loaded = load_clip(replace(clip, targets=(target,)), lr)
        images = {method.name: round_to_8_bits(method.predict(loaded)[0]) for method in methods}
        psnr = {method.name: _psnr_of(result, target.name) for method, result in zip(methods, results, strict=True)}
        examples.append(Example(rank, target.name, images | {GROUND_TRUTH: loaded.ground_truth[0]}, psnr))
    return examples


def middle_target(clip: Clip) -> Target:
    """The scored frame farthest in time from the clip's inputs."""
    middle = len(clip.inputs) / 2 - 0.5
    return min(clip.targets, key=lambda t: (abs(t.timestep - 0.5), abs(t.pair + t.timestep - middle)))


def _psnr_of(result: dict, name: str) -> float | None:
    return next(frame["psnr"] for record in result["per_clip"] for frame in record["frames"] if frame["frame"] == name)


def detail_box(example: Example, main: str, other: str | None) -> tuple[int, int, int, int]:
    """x, y, width, height of the part where `main` gains most over `other` (None: where `main` is worst)."""
    true = example.images[GROUND_TRUTH].astype(np.float32)
    height, width = true.shape[:2]
    size = min(DETAIL[0], width), min(DETAIL[1], height)
    error = np.square(example.images[main] - true).mean(2)
    gain = error if other is None else np.square(example.images[other] - true).mean(2) - error
    # The mean over each box is at its top left corner; only boxes that lie inside count.
    means = cv2.boxFilter(gain, -1, size, anchor=(0, 0))[:height - size[1] + 1, :width - size[0] + 1]
    y, x = np.unravel_index(int(means.argmax()), means.shape)
    return int(x), int(y), *size
