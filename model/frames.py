"""Both frames at output resolution: warped, and compared for layers that work at low resolution."""
import torch

from model.block_input import FLOW0, FLOW1
from model.layout import pixel_unshuffle
from model.warp import backward_warp

GAIN = 16.0  # brings what two warped frames differ by, and their detail, to about the size of features


def warp_frames(frame0: torch.Tensor, frame1: torch.Tensor, flow: torch.Tensor, owner: torch.Tensor | None = None
                ) -> tuple[torch.Tensor, torch.Tensor]:
    """Both frames, warped by the flow state at their resolution; in float32.

    Half precision has no room for the fractions of a long flow.

    Args:
        frame0, frame1: (B, C, H, W); flow: (N, 4 or more, H, W): two flows in pixels.
        owner: (N,) which of the B pairs each flow belongs to, where not the same number in a row.
    """
    return (backward_warp(frame0.float(), flow[:, FLOW0], owner), backward_warp(frame1.float(), flow[:, FLOW1], owner))


def compared_channels(colours: int, factor: int) -> int:
    """How many `compare` gives of frames with so many."""
    return (colours + 1) * factor**2


def compare(warped0: torch.Tensor, warped1: torch.Tensor, mixed: torch.Tensor, factor: int,
            dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """How two warped frames differ, and the detail of their mixture, for layers at 1/`factor` of the resolution.

    Features warped at low resolution are means of neighbours, which hide a misfit of less than a pixel, and what two
    frames know of each other's detail.

    Args:
        warped0, warped1, mixed: (N, C, h * factor, w * factor) in [0, 1].

    Returns:
        (N, C * factor^2, h, w) the difference, and (N, factor^2, h, w) how the mixture's brightness deviates from its
        mean over each low-resolution pixel; both times `GAIN`, in `dtype`.
    """
    grey = pixel_unshuffle(mixed.mean(1, keepdim=True), factor)
    detail = grey - grey.mean(1, keepdim=True)
    return GAIN * pixel_unshuffle((warped0 - warped1).to(dtype), factor), GAIN * detail.to(dtype)
