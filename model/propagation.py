"""Flow taken over from neighbours where it explains a pixel better: PatchMatch's propagation (Barnes et al., 2009).

Coarse blocks draw the border between two motions as a slope, on which no pixel has the flow of either side. A few
pixels further it is right.
"""
import torch
import torch.nn.functional as F

from model.block_input import FLOW0, FLOW1
from model.warp import backward_warp

STEP = 3       # low-resolution pixels to the neighbour asked
WINDOW = 5     # side of the square that a misfit is averaged over
CLEARLY = 0.9  # a neighbour's misfit must be below this share of a pixel's own
NOISE = 0.002  # and below it by this: where all fit, nothing is to be gained


def propagate(frames: tuple[torch.Tensor, torch.Tensor], state: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """The flow state with the flows, at each pixel, of itself or one of four neighbours: whichever makes both frames,
    warped, agree best there. The mask's logit stays.

    Args:
        frames: both, (B, C, h, w), at low resolution.
        state: (N, 5, h, w); owner: (N,) which pair each belongs to.
    """
    flows, logit = state.split((4, 1), 1)
    height, width = state.shape[2:]
    around = F.pad(flows, (STEP,) * 4, mode="replicate")
    best, least = flows, CLEARLY * _misfit(frames, flows, owner) - NOISE
    for down, right in ((0, STEP), (STEP, 0), (STEP, 2 * STEP), (2 * STEP, STEP)):
        neighbour = around[:, :, down:down + height, right:right + width]
        misfit = _misfit(frames, neighbour, owner)
        best = torch.where(misfit < least, neighbour, best)
        least = torch.minimum(misfit, least)
    return torch.cat((best, logit), 1)


def _misfit(frames: tuple[torch.Tensor, torch.Tensor], flows: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """How much the two warped frames differ around each pixel, (N, 1, h, w)."""
    with torch.no_grad():  # a choice, which has no gradient
        warped0, warped1 = (backward_warp(frame, flows[:, part], owner) for frame, part in zip(frames, (FLOW0, FLOW1)))
        difference = (warped0 - warped1).abs().mean(1, keepdim=True)
        return F.avg_pool2d(F.pad(difference, (WINDOW // 2,) * 4, mode="replicate"), WINDOW, 1)
