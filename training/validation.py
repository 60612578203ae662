"""Validation: PSNR on Y, by the benchmarks' own code, beside what bicubic enlargement and blending reach."""
import numpy as np
import torch
import torch.nn.functional as F

from benchmark.baseline import bicubic_blend
from benchmark.metrics import psnr_y
from common.processes import Processes
from data.base import Dataset, Mixture
from data.sample import Degrade
from model.loss import end_point_error
from model.network import UPSCALE, Network
from model.routing import BY_SELECTOR, Routing
from training.distributed import total

MOMENTS = ("ends", "between")  # timesteps 0 and 1; the timestep between


@torch.no_grad()
def validate(model: Network, dataset: Dataset | Mixture, samples: int, processes: Processes, device: torch.device,
             autocast: torch.autocast, degrade: Degrade | None = None, routing: Routing = BY_SELECTOR,
             flow: bool = False) -> dict[str, float]:
    """Mean PSNR over `samples` of a held-out dataset, evenly spread over it, every sample counted once.

    The samples are the same in every call, however many processes share them. `degrade`, where it is
    given, makes their inputs and targets as it makes those of the training. `flow`: judge the flow as well.

    Returns:
        dB, for both `MOMENTS`: "psnr_ends", "psnr_between" (at the scales of `routing`, for three frames),
        "gain_ends", "gain_between" (over bicubic + blending). Frames that match exactly count for nothing.
        With `flow`, pixels of the output: "epe", the end-point error of the flow at all three timesteps against the
        supervising one, weighted by its confidence.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros((2, 3))  # by moment: ours, bicubic's, how many
    errors = np.zeros(2)     # end-point error, how many
    extras = {"flow": True} if flow else {}
    count = min(samples, len(dataset))
    for number in range(processes.rank, count, processes.count):
        index = number * len(dataset) // count  # neighbours are nearly the same: windows of one video
        sample = dataset.sample(index, np.random.default_rng((0, number)), False, degrade, **extras)
        inputs = torch.from_numpy(sample.inputs)[None].to(device)
        truth = torch.from_numpy(sample.targets).reshape(3, 3, *sample.targets.shape[1:]).double()
        timesteps = torch.tensor([[0.0, sample.timestep, 1.0]], device=device)
        with autocast:
            prediction = model(*inputs.split(3, 1), timesteps, routing)
        frames = prediction.frames
        first, second = sample.inputs.reshape(2, 3, *sample.inputs.shape[1:]).transpose(0, 2, 3, 1)
        blended = np.stack([bicubic_blend(first, second, timestep, *truth.shape[2:])
                            for timestep in (0.0, sample.timestep, 1.0)]).clip(0, 1)
        blended = torch.from_numpy(blended).permute(0, 3, 1, 2)
        ours, floor = (psnr_y(picture.cpu().double() * 255, truth).numpy() for picture in (frames, blended))
        for moment, place in ((0, 0), (1, 1), (0, 2)):
            if np.isfinite(ours[place]) and np.isfinite(floor[place]):
                sums[moment] += ours[place], floor[place], 1
        if flow:
            small = F.avg_pool2d(prediction.flow.float().cpu(), UPSCALE)  # as far as the supervising flow resolves
            true, confidence = torch.from_numpy(sample.flow), torch.from_numpy(sample.confidence)
            errors += float(end_point_error(small, UPSCALE * true, confidence)), 1
    *sums, error, count = total([*sums.ravel().tolist(), *errors.tolist()], device)
    sums = np.array(sums).reshape(2, 3)
    model.train(was_training)
    means = sums[:, :2] / np.maximum(sums[:, 2:], 1)
    return {**{f"psnr_{name}": float(mean[0]) for name, mean in zip(MOMENTS, means)},
            **{f"gain_{name}": float(mean[0] - mean[1]) for name, mean in zip(MOMENTS, means)},
            **({"epe": error / max(count, 1)} if flow else {})}
