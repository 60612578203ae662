"""Backward warping: every output pixel fetches its colour from where the flow points."""
import torch
import torch.nn.functional as F


def backward_warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample `image` at each pixel's own position plus its flow.

    Bilinear, border padding, pixel centres at whole numbers (`align_corners=True`), so a flow of
    (1, 0) everywhere moves the picture one pixel to the left.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W) float32, in pixels of `image`; channel 0 is x (right), channel 1 is y (down).

    Returns:
        (N, C, H, W) in the image's type. Coordinates are computed in float32 whatever that type is:
        a half float cannot hold a position beyond 2048 with any fraction at all.
    """
    grid = sampling_grid(flow)
    sampled = F.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled.to(image.dtype)


def sampling_grid(flow: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 2) positions for `grid_sample`, in [-1, 1] across the picture, of a (N, 2, H, W) flow in pixels."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return torch.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), dim=-1)
