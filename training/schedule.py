"""What changes from step to step: the learning rate and the enlargement; and the scales to validate at."""
import math

import torch

from model.routing import BY_SELECTOR, Routing

PUBLISHED_BATCH = 24  # 6 on each of 4 GPUs: the batch the published learning rate is meant for


def learning_rate(step: int, steps: int, peak: float, warmup: int, floor: float = 0.01) -> float:
    """Linear warm-up to `peak`, then a cosine down to `floor * peak` at the last step (paper: 2e-4 to 2e-6)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * cosine(step - warmup, steps - warmup, floor)


def cosine(step: int, steps: int, floor: float) -> float:
    """Half a cosine from 1 at step 0 down to `floor` at the last of `steps`."""
    done = step / max(steps - 1, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))


def upscale_of_step(bounds: list[float] | None, seed: int, step: int) -> float | None:
    """The enlargement of all samples of this step, drawn evenly between the bounds; None without them."""
    if not bounds:
        return None
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step + 500_009)  # not the draws of the routing
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=generator))


def validation_routing(routing: str) -> Routing:
    """The scales to validate three frames at: the selector's choice, or the finest where only that was trained."""
    return Routing(scale=1) if routing == "full" else BY_SELECTOR
