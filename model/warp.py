"""Backward warping: every output pixel fetches its colour from where the flow points."""
import torch
import torch.nn.functional as F


def backward_warp(image: torch.Tensor, flow: torch.Tensor, owner: torch.Tensor | None = None) -> torch.Tensor:
    """Sample `image` at each pixel's own position plus its flow.

    Bilinear, border padding, pixel centres at whole numbers (`align_corners=True`), so a flow of
    (1, 0) everywhere moves the picture one pixel to the left.

    Args:
        image: (N, C, H, W), or (B, C, H, W) with N = B*T: then each picture serves T flows in a row.
        flow: (N, 2, H, W) float32, in pixels of `image`; channel 0 is x (right), channel 1 is y (down).
        owner: (N,) which of the pictures each flow is for, where not the same number of flows in a row.

    Returns:
        (N, C, H, W) in the image's type.
    """
    owner = owners(len(image), len(flow), flow.device) if owner is None else owner
    return sample(image, positions(flow), owner)


def positions(flow: torch.Tensor) -> torch.Tensor:
    """(N, 2, H, W) absolute positions, x and y in pixels, that a flow in pixels points to."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    return flow + torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def owners(pictures: int, samples: int, device: torch.device) -> torch.Tensor:
    """(samples,) which of the pictures each sample belongs to, where each picture has as many samples in a row."""
    return torch.arange(pictures, device=device).repeat_interleave(samples // pictures)


def select(x: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """Some samples of (N, C, H, W), in channels-last layout, which indexing as such would lose."""
    return x.permute(0, 2, 3, 1).index_select(0, members).permute(0, 3, 1, 2)


def sample(image: torch.Tensor, points: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Bilinear samples at any points; points outside take the border's colour.

    Args:
        image: (B, C, H, W).
        points: (N, 2, h, w) float32, x and y in pixels of `image`: coordinates stay in float32 whatever
            the image's type is, since a half float cannot hold a position beyond 2048 with any fraction.
        owner: (N,) the picture that each sample's points lie in.

    Returns:
        (N, C, h, w) in the image's type.
    """
    if image.device.type == "cpu" and image.shape[1] >= 16:
        return _sample_rows(image, points, owner)
    height, width = image.shape[-2:]
    size = torch.tensor([width - 1, height - 1], device=points.device, dtype=points.dtype)
    grid = points.permute(0, 2, 3, 1) * (2 / size) - 1
    image = image if len(image) == len(points) else image.index_select(0, owner)
    sampled = F.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled.to(image.dtype)


def _sample_rows(image: torch.Tensor, points: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """`sample` where the image lies channels-last: each pixel is a row of a table, each sample a weighted sum of
    four rows. PyTorch's embedding bag does just that, several times faster than `grid_sample` on a CPU."""
    _, channels, height, width = image.shape
    x, y = points[:, 0].clamp(0, width - 1), points[:, 1].clamp(0, height - 1)
    left, top = x.detach().floor().clamp_(max=width - 2), y.detach().floor().clamp_(max=height - 2)
    right_share, lower_share = x - left, y - top
    first = owner.view(-1, 1, 1) * (height * width) + (top * width + left).long()
    rows = torch.stack((first, first + 1, first + width, first + width + 1), -1).view(-1, 4)
    lower = torch.stack((1 - lower_share, lower_share), -1)[..., :, None]
    right = torch.stack((1 - right_share, right_share), -1)[..., None, :]
    shares = (lower * right).view(-1, 4)
    table = image.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(rows, table, per_sample_weights=shares.to(image.dtype), mode="sum")
    return sampled.view(len(points), *points.shape[2:], channels).permute(0, 3, 1, 2)
