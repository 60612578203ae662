"""Validation: PSNR and SSIM on Y, by the benchmarks' own code, beside what bicubic enlargement and blending reach."""
import contextlib
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.baseline import bicubic_blend
from benchmark.metrics import luma, psnr_of_luma, ssim_of_luma
from common.processes import Processes
from data.base import Dataset
from data.sample import Degrade, Sample
from model.loss import end_point_error
from model.network import UPSCALE, Network, Prediction
from model.routing import BY_SELECTOR, Routing
from training.distributed import total

PLACES = {"ends": (0, 2), "between": (1,)}  # timesteps 0 and 1; the timestep between
SMALLEST = 11  # the window of SSIM


class Shown(NamedTuple):
    """The first held-out sample and what the network made of it."""

    sample: Sample
    prediction: Prediction


@torch.no_grad()
def validate(model: Network, datasets: list[Dataset], samples: int, processes: Processes, device: torch.device,
             autocast: contextlib.AbstractContextManager, degrade: Degrade | None = None,
             routing: Routing = BY_SELECTOR, flow: bool = False) -> tuple[dict[str, float], Shown | None]:
    """Means over `samples` held-out samples, taken from the datasets in turn, evenly spread over each.

    The samples are the same in every call, and every one counts once, however many processes share them. `degrade`,
    where it is given, makes their inputs and targets as it makes those of the training. `flow`: judge that as well.

    Returns:
        The figures, and the first sample (where this is the first process). Figures for each of `PLACES`: "psnr_...",
        "ssim_..." (at the scales of `routing`, for three frames), and "gain_...", dB over bicubic + blending. Frames
        that match exactly count for nothing. With `flow`, pixels of the output: "epe", the end-point error of the flow
        at all three timesteps against the supervising one, weighted by its confidence.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros((len(PLACES), 4))  # PSNR, SSIM, PSNR of the baseline, how many
    errors = np.zeros(2)               # end-point error, how many
    shown = None
    for number, dataset, index in chosen(datasets, samples)[processes.rank::processes.count]:
        # The spawn key keeps these draws apart from those of the training, (seed, position), at any seed.
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0, number)))
        sample = dataset.sample(index, rng, False, degrade, flow)
        inputs = torch.from_numpy(sample.inputs)[None].to(device)
        truth = torch.from_numpy(sample.targets).reshape(3, 3, *sample.targets.shape[1:])
        timesteps = torch.tensor([[sample.timestep]], device=device)
        with autocast:
            prediction = model(*inputs.split(3, 1), timesteps, routing, ends=True)
        ours = _scores(prediction.frames, truth.to(device))
        height, width = truth.shape[2:]
        baseline = _scores(_baseline(sample, (height, width)), truth)
        for row, places in enumerate(PLACES.values()):
            for place in places:
                if np.isfinite(ours[0][place]) and np.isfinite(baseline[0][place]):
                    sums[row] += ours[0][place], ours[1][place], baseline[0][place], 1
        if flow:
            small = F.avg_pool2d(prediction.flow.float().cpu(), UPSCALE)  # as far as the supervising flow resolves
            true, confidence = torch.from_numpy(sample.flow), torch.from_numpy(sample.confidence)
            errors += float(end_point_error(small, UPSCALE * true, confidence)), 1
        if number == 0:
            shown = Shown(sample, prediction)
    model.train(was_training)
    *table, error, count = total([*sums.ravel().tolist(), *errors.tolist()], device)
    figures: dict[str, float] = {}
    for name, (psnr, ssim, blending, scored) in zip(PLACES, np.array(table).reshape(len(PLACES), 4).tolist()):
        scored = max(scored, 1)
        figures |= {f"psnr_{name}": psnr / scored, f"ssim_{name}": ssim / scored,
                    f"gain_{name}": (psnr - blending) / scored}
    return figures | ({"epe": error / max(count, 1)} if flow else {}), shown


def chosen(datasets: list[Dataset], samples: int) -> list[tuple[int, Dataset, int]]:
    """(number, dataset, index in it) of the samples that are validated on."""
    result = []
    for place, dataset in enumerate(datasets):
        count = min(len(range(place, samples, len(datasets))), len(dataset))
        # Evenly spread: neighbours are nearly the same, being windows of one video.
        result += [(place + number * len(datasets), dataset, number * len(dataset) // count) for number in range(count)]
    return sorted(result, key=lambda entry: entry[0])


def _scores(frames: torch.Tensor, truth: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    x, y = luma(frames.float() * 255), luma(truth)
    return psnr_of_luma(x, y).cpu().numpy(), ssim_of_luma(x, y).cpu().numpy()


def _baseline(sample: Sample, size: tuple[int, int]) -> torch.Tensor:
    """The three frames (3, 3, H, W) by bicubic enlargement and blending, in [0, 1]."""
    first, second = sample.inputs.reshape(2, 3, *sample.inputs.shape[1:]).transpose(0, 2, 3, 1)
    timesteps: tuple[Any, ...] = 0.0, sample.timestep, 1.0
    frames = np.stack([bicubic_blend(first, second, timestep, *size) for timestep in timesteps])
    return torch.from_numpy(frames.clip(0, 1)).permute(0, 3, 1, 2)
