"""How alike two feature maps are, point by point, within a window of displacements."""
import torch
import torch.nn.functional as F


def correlation(features0: torch.Tensor, features1: torch.Tensor, radius: int) -> torch.Tensor:
    """Cosine of the angle between each feature of one map and those of the other within `radius`.

    Channel (dy + radius) * (2 * radius + 1) + dx + radius compares the point (x, y) of the first map with
    (x + dx, y + dy) of the second; outside of it are zeros.

    Args:
        features0, features1: (N, C, h, w).

    Returns:
        (N, (2 * radius + 1)^2, h, w) in the features' type, values in [-1, 1].
    """
    number, _, height, width = features0.shape
    side = 2 * radius + 1
    rows0 = _unit(features0).flatten(0, 1)
    padded = F.pad(_unit(features1), (0, 0, radius, radius, radius, radius))
    matches = []
    for dy in range(side):
        # All products of a row with the other map's row as one matrix (w, w + 2 * radius): a band along its diagonal
        # is wanted. Laid out with rows longer by one, element (i, i + dx) comes to stand in column dx.
        rows1 = padded[:, dy:dy + height].flatten(0, 1)
        products = torch.bmm(rows0, rows1.transpose(1, 2)).flatten(1)
        matches.append(F.pad(products, (0, width)).view(-1, width, width + side)[..., :side])
    stacked = torch.cat(matches, 2).view(number, height, width, side * side)
    return stacked.permute(0, 3, 1, 2)


def _unit(features: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, h, w, C) of length 1, or less where a feature nearly vanishes."""
    rows = features.permute(0, 2, 3, 1)
    return (rows * torch.rsqrt(rows.float().square().sum(-1, keepdim=True) + 1e-6).to(rows.dtype)).contiguous()
