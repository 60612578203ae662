"""Backward warping: every output pixel fetches its colour from where the flow points.

Positions are in pixels, pixel centres at whole numbers (`align_corners=True`), float32 whatever the image's type is: a
half float cannot hold a position beyond 2048 with any fraction. Positions outside take the border's colour.
"""
import torch
import torch.nn.functional as F

FEATURE_CHANNELS = 16  # from so many on, an image is sampled as features are


def backward_warp(image: torch.Tensor, flow: torch.Tensor, owner: torch.Tensor | None = None) -> torch.Tensor:
    """Sample `image`, bilinearly, at each pixel's own position plus its flow.

    A flow of (1, 0) everywhere moves the image one pixel to the left.

    Args:
        image: (N, C, H, W), or (B, C, H, W) with N = B*T: then each image serves T flows in a row.
        flow: (N, 2, H, W) float32, in pixels of `image`; channel 0 is x (right), channel 1 is y (down).
        owner: (N,) which of the images each flow is for, where not the same number of flows in a row.

    Returns:
        (N, C, H, W) in the image's type.
    """
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = flow[:, 1] + torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    owner = owners(image.shape[0], flow.shape[0], flow.device) if owner is None else owner
    if _in_rows(image):
        return sample_means(image, x[..., None, None], y[..., None, None], owner)
    return _grid_sample(image, x, y, owner)


def owners(images: int, samples: int, device: torch.device) -> torch.Tensor:
    """(samples,) which of the images each sample belongs to, where each image has as many samples in a row."""
    return torch.arange(samples, device=device).div(samples // images, rounding_mode="floor")


def select(x: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """Some samples of (N, C, H, W), in channels-last layout, which indexing as such would lose."""
    return x.permute(0, 2, 3, 1).index_select(0, members).permute(0, 3, 1, 2)


def sample_means(images: torch.Tensor, x: torch.Tensor, y: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Means of bilinear samples: each output pixel averages P samples of each of K images.

    Args:
        images: (B, K*C, H, W), channels-last: K images of C channels each, joined along the channels.
        x, y: (N, h, w, K, P) float32, the positions in pixels.
        owner: (N,) which of the B each of the N looks at.

    Returns:
        (N, K*C, h, w) in the images' type, channels-last.
    """
    together, points = x.shape[3:]
    height, width = images.shape[-2:]
    if not _in_rows(images):
        samples = [_grid_sample(image, x[..., k, p], y[..., k, p], owner)
                   for k, image in enumerate(images.chunk(together, 1)) for p in range(points)]
        return torch.cat([
            sum(samples[k * points:(k + 1) * points]) / points for k in range(together)], 1)  # type: ignore[misc]
    # Channels-last, each pixel of each image is a row of a table, and each mean a weighted sum of 4 * P rows: just
    # what PyTorch's embedding bag computes. On a CPU that is several times faster than `grid_sample`; on a GPU it
    # keeps type and layout, which `grid_sample` does not, and its gradients are the same in each run.
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    # Whole numbers from here on: float32 counts to 2^24 rows only. A position that is not a number, which turns into
    # any whole one, stays one in the shares, and they make the mean no number either.
    left = x.detach().int().clamp_(0, max(width - 2, 0))
    top = y.detach().int().clamp_(0, max(height - 2, 0))
    number = torch.arange(together, device=x.device, dtype=torch.int32)
    first_row = owner.int().view(-1, 1, 1, 1, 1) * (height * width * together) + number[:, None]
    first_row = first_row.add(torch.add(left, top, alpha=width), alpha=together)
    corner = torch.arange(2, device=x.device, dtype=torch.int32)
    corners = corner[:, None] * (together * width if height > 1 else 0) + corner * (together if width > 1 else 0)
    rows = first_row[..., None, None] + corners
    lower, right = (y - top)[..., None], (x - left)[..., None]
    columns = torch.cat((1 - right, right), -1)
    if points > 1:
        columns = columns / points
    lower = lower[..., None] * columns[..., None, :]
    shares = torch.cat((columns[..., None, :] - lower, lower), -2)
    table = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1] // together)
    sampled = F.embedding_bag(rows.reshape(-1, 4 * points), table, mode="sum",
                              per_sample_weights=shares.reshape(-1, 4 * points).to(images.dtype))
    return sampled.view(*x.shape[:3], images.shape[1]).permute(0, 3, 1, 2)


def _in_rows(image: torch.Tensor) -> bool:
    """Whether it is sampled as rows of a table: features are, and all where gradients must be the same in each run."""
    if image.device.type == "mps" or torch.onnx.is_in_onnx_export():  # neither has an embedding bag
        return False
    return image.shape[1] >= FEATURE_CHANNELS or torch.are_deterministic_algorithms_enabled()


def _grid_sample(image: torch.Tensor, x: torch.Tensor, y: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Bilinear samples of (B, C, H, W) at x and y, (N, h, w) each."""
    height, width = image.shape[-2:]
    grid = torch.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), -1)
    if image.shape[0] == 1:
        image = image.expand(x.shape[0], -1, -1, -1)
    elif image.shape[0] != x.shape[0]:
        image = image.index_select(0, owner)
    outside, lost = "border", None
    if grid.device.type == "mps":
        grid, outside = clamped(grid), "zeros"
    if grid.requires_grad:  # on a CPU the gradient at a position that is not a number would be written anywhere
        lost = grid.detach().isnan().any(-1)[:, None]
        grid = grid.nan_to_num()
    sampled = F.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode=outside, align_corners=True)
    return (sampled if lost is None else sampled.masked_fill(lost, torch.nan)).to(image.dtype)


def clamped(grid: torch.Tensor) -> torch.Tensor:
    """What border padding does to a sampling grid, for devices that only know zeros: no gradient where it binds."""
    return torch.where(grid.detach().abs() < 1, grid, grid.detach().clamp(-1, 1))
