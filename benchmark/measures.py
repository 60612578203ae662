"""What is measured of a frame. A further metric is one entry in `MEASURES`: records, tables, reports, CSV files and
comparisons know it then.
"""
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmark import metrics
from common.errors import UserError

Figures = list[float | None]


@dataclass
class Frames:
    """Consecutive frames of one clip, predicted and true: HxWx3 BGR in 0..255, whole numbers or float32.

    Attributes:
        device: where tensors are computed on.
        previous: the predicted and the true frame just before these; None at a clip's start.
    """
    predicted: list[np.ndarray]
    ground_truth: list[np.ndarray]
    device: str = "cpu"
    previous: tuple[np.ndarray, np.ndarray] | None = None

    @functools.cached_property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted and true frames, (N, 3, H, W) of the frames' own types."""
        predicted, true = (torch.from_numpy(np.stack(frames)).to(self.device).permute(0, 3, 1, 2)
                           for frames in (self.predicted, self.ground_truth))
        return predicted, true

    @functools.cached_property
    def luma(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Their Y, (N, H, W) float64, 16..235: computed once for PSNR and SSIM."""
        predicted, true = self.tensors
        return metrics.luma(predicted), metrics.luma(true)

    def unit_rgb(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) float32 RGB in [0, 1], clipped."""
        predicted, true = (frames.float().flip(1).div(255).clamp(0, 1) for frames in self.tensors)
        return predicted, true


class Measure(NamedTuple):
    """One metric.

    Attributes:
        title: what heads its column.
        digits: decimals in tables.
        unit: "dB", "px" or nothing.
        higher: whether more is better.
        note: how it is computed; printed with the protocol.
        load: the device -> a function that gives one figure for each of some `Frames`, None where there is none.
            Raises UserError in one line if a library or weights it needs are missing.
    """
    title: str
    digits: int
    unit: str
    higher: bool
    note: str
    load: Callable[[str], Callable[[Frames], Figures]]


def _per_frame(compute: Callable[[Frames], torch.Tensor]) -> Callable[[str], Callable[[Frames], Figures]]:
    """A metric that needs no loading, from a function that gives an (N,) tensor."""
    return lambda device: lambda frames: compute(frames).tolist()


def _load_lpips(device: str) -> Callable[[Frames], Figures]:
    metric = _learned("lpips", "torchmetrics.image", "LearnedPerceptualImagePatchSimilarity",
                      "alexnet-owt-7be5be79.pth", net_type="alex", normalize=True).to(device)

    def compute(frames: Frames) -> Figures:
        figures = []
        for predicted, true in zip(*frames.unit_rgb(), strict=True):  # it averages what it is given
            figures.append(metric(predicted[None], true[None]).item())
            metric.reset()
        return figures
    return compute


def _load_dists(device: str) -> Callable[[Frames], Figures]:
    # Its network itself: the metric made of it would load 500 MB of weights anew for every frame.
    network = _learned("dists", "torchmetrics.functional.image.dists", "DISTSNetwork", "vgg16-397923af.pth").to(device)
    return lambda frames: network(*frames.unit_rgb()).reshape(-1).tolist()


def _learned(name: str, module: str, class_name: str, weights: str, **options) -> Any:
    """A metric of torchmetrics; `weights`: torchvision's file that it looks for, and downloads if it can."""
    try:
        made_of = getattr(importlib.import_module(module), class_name)
    except ImportError as error:
        raise UserError(f"--metrics {name} needs torchmetrics: pip install -r requirements-metrics.txt") from error
    try:
        return made_of(**options).eval()
    except OSError as error:  # urllib's errors are OSErrors
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise UserError(f"--metrics {name} needs torchvision's {weights}, which could not be downloaded ({error}): "
                        f"put https://download.pytorch.org/models/{weights} into {folder}") from error


def _temporal_flow(frames: Frames) -> Figures:
    """`metrics.flow_difference` of each frame and the one before it."""
    pairs = list(zip(frames.predicted, frames.ground_truth, strict=True))
    befores = [frames.previous, *pairs[:-1]]
    return [None if before is None else metrics.flow_difference(before, pair)
            for before, pair in zip(befores, pairs, strict=True)]


MEASURES: dict[str, Measure] = {
    "psnr": Measure("PSNR-Y", 3, "dB", True, "on Y, peak 255; frames equal to the ground truth (infinite PSNR) are "
                    "counted and left out of the means",
                    _per_frame(lambda frames: metrics.psnr_of_luma(*frames.luma))),
    "ssim": Measure("SSIM-Y", 4, "", True, "on Y, 11x11 Gaussian window, sigma 1.5, valid region",
                    _per_frame(lambda frames: metrics.ssim_of_luma(*frames.luma))),
    "psnr_rgb": Measure("PSNR-RGB", 3, "dB", True, "on the mean squared error over the three channels, peak 255",
                        _per_frame(lambda frames: metrics.psnr_rgb(*frames.tensors))),
    "lpips": Measure("LPIPS", 4, "", False, "AlexNet, version 0.1 (Zhang et al., CVPR 2018), of torchmetrics",
                     _load_lpips),
    "dists": Measure("DISTS", 4, "", False, "VGG-16 (Ding et al., TPAMI 2020), of torchmetrics", _load_dists),
    "tof": Measure("tOF", 3, "px", False, "flicker: mean distance between the optical flow (Farneback) from the frame "
                   "before to this one, predicted and true, in pixels (TecoGAN, Chu et al., 2020); none for a clip's "
                   "first frame", lambda device: _temporal_flow),
}
DEFAULT = ("psnr", "ssim")  # what every benchmark measures


def measured(figures: dict) -> list[str]:
    """The names of the metrics that a record of a frame, or a mean, has."""
    return [name for name in MEASURES if name in figures]
