"""How the blocks' processing scales are chosen in one call of a network: one value, handed through as such."""
from typing import NamedTuple

import torch

SCALES = (1, 2, 4)  # processing scales: full, half and a quarter of the size a network's features have


class Routing(NamedTuple):
    """How each block of each sample comes by its processing scale; N samples, those of the first pair first.

    Scales live on the CPU, where it is decided what is computed: a GPU waits for the host only where the selector
    chooses, once a block. At most one of `scale`, `scales` and `draws` is given; with none the selector decides by
    thresholds at 0.5.
    """

    scales: torch.Tensor | None = None  # (blocks, N) of SCALES, on the CPU: process at these
    draws: torch.Tensor | None = None   # (blocks, N, 2) uniform in [0, 1): decide by chance, as in training (Sec. 3.2)
    cap: int = 1                        # of SCALES: by threshold, nothing finer than 1/cap is chosen
    scale: int | None = None            # of SCALES: every block of every sample at this one

    def given(self, block: int) -> torch.Tensor | int | None:
        """A block's scales where its input need not be looked at to know them: (N,), or one for all."""
        if self.scales is not None:
            return self.scales[block]
        return max(SCALES) if self.cap == max(SCALES) else self.scale

    def shared(self) -> "Routing":
        """What holds for all samples: nothing that is said of each."""
        return self._replace(scales=None, draws=None)

    def split(self, pairs: int) -> tuple["Routing", "Routing"]:
        """That of all pairs' first and then second frames, and that of what lies between, where the samples of a pair
        stand in a row."""
        def parted(of_each: torch.Tensor | None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
            if of_each is None:
                return None, None
            of_each = of_each.unflatten(1, (pairs, -1))
            return torch.cat((of_each[:, :, 0], of_each[:, :, -1]), 1), of_each[:, :, 1:-1].flatten(1, 2)

        given, between = (self._replace(scales=scales, draws=draws)
                          for scales, draws in zip(parted(self.scales), parted(self.draws)))
        return given, between

    def part(self, index: int, size: int, device: torch.device) -> "Routing":
        """That of the `index`-th group of `size` samples; draws go to `device`, scales stay on the CPU."""
        group = slice(index * size, (index + 1) * size)
        return Routing(None if self.scales is None else self.scales[:, group],
                       None if self.draws is None else self.draws[:, group].to(device), self.cap, self.scale)


BY_SELECTOR = Routing()


def routing_of_step(routing: str, blocks: int, samples: int, seed: int, step: int) -> Routing:
    """How the network chooses its scales in this step, for `samples` frames of all processes.

    "learned": random numbers for the selector's own draws, as published. "full": the finest scale everywhere.
    "coarse": half of the blocks, drawn anew each step, at a quarter, the others at a half. "random": each block
    at a scale drawn from all three. All but "learned" compute one scale a block, and train everything but the
    selector. All come from (seed, step) alone.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    if routing == "learned":
        return Routing(draws=torch.rand(blocks, samples, 2, generator=generator))
    if routing == "full":
        return Routing(scale=1)
    if routing == "coarse":
        order = torch.randperm(blocks, generator=generator)
        if blocks % 2:  # the odd one out is drawn: a network that decides once would else know one scale only
            order += torch.randint(2, (1,), generator=generator)
        scales = torch.where(order % 2 == 0, 4, 2)
    else:
        scales = torch.tensor(SCALES)[torch.randint(3, (blocks,), generator=generator)]
    return Routing(scales=scales[:, None].expand(blocks, samples))


def chosen_scales(probabilities: torch.Tensor, cap: int = 1) -> torch.Tensor:
    """(N,) scales of SCALES from (N, 2) probabilities (or bits) by thresholds at 0.5, none finer than 1/`cap`."""
    fine, half = (probabilities.detach() >= 0.5).unbind(1)
    scales = torch.where(half, torch.where(fine, 1, 2), 4)
    return scales.clamp(min=cap)


def upload(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small CPU tensor on `device`, without the host waiting for what a GPU is still at."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)


def straight_through_bits(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Bernoulli bits whose gradient is that of their probabilities (paper, Sec. 3.2). `draws`: uniform in [0, 1)."""
    bits = (draws < probabilities.detach()).float()
    return bits + probabilities - probabilities.detach()
