"""How alike two feature maps are, point by point, within a window of displacements."""
import torch
import torch.nn.functional as F

_BLOCK = 16  # pixels of a row whose matches are computed together: small, as most of the products are of no use


def correlation(features0: torch.Tensor, features1: torch.Tensor, radius: int) -> torch.Tensor:
    """Cosine of the angle between each feature of one map and those of the other within `radius`.

    Channel (dy + radius) * (2 * radius + 1) + dx + radius compares the point (x, y) of the first map with
    (x + dx, y + dy) of the second; outside of it are zeros.

    Args:
        features0, features1: (N, C, h, w).

    Returns:
        (N, (2 * radius + 1)^2, h, w) in the features' type, values in [-1, 1].
    """
    number, channels, height, width = features0.shape
    side, missing = 2 * radius + 1, -width % _BLOCK
    blocks0 = F.pad(_unit(features0), (0, 0, 0, missing)).reshape(-1, _BLOCK, channels)
    padded = F.pad(_unit(features1), (0, 0, radius, radius + missing, radius, radius))
    reach = torch.arange(_BLOCK + 2 * radius, device=padded.device)
    columns = torch.arange(0, width + missing, _BLOCK, device=padded.device)[:, None] + reach
    around = padded.index_select(2, columns.flatten())
    matches = []
    for dy in range(side):
        # All products of a block with what is around it in another row as one matrix: a band along its diagonal is
        # wanted. Laid out with rows longer by one, element (i, i + dx) comes to stand in column dx.
        row = around[:, dy:dy + height].reshape(-1, len(reach), channels)
        products = torch.bmm(blocks0, row.transpose(1, 2)).flatten(1)
        matches.append(F.pad(products, (0, _BLOCK)).view(-1, _BLOCK, len(reach) + 1)[..., :side])
    stacked = torch.cat(matches, 2).view(number, height, width + missing, side * side)
    return stacked[:, :, :width].permute(0, 3, 1, 2)


def _unit(features: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, h, w, C) of length 1, or less where a feature nearly vanishes."""
    rows = features.permute(0, 2, 3, 1)
    return (rows * torch.rsqrt(rows.float().square().sum(-1, keepdim=True) + 1e-6).to(rows.dtype)).contiguous()
