"""What a block of SAFA looks at, computed only at the points it looks at (paper, Sec. 3.2)."""
from typing import NamedTuple

import torch
import torch.nn.functional as F

from model.layout import joined
from model.warp import sample_means, select

FLOW0, FLOW1, MASK = slice(0, 2), slice(2, 4), slice(4, 5)  # the flow state's channels; the sixth is spare


class BlockInput(NamedTuple):
    """N samples' running feature, flow, both frames' warped features and timestep plane: 3c + 7 channels.

    The warped features are by far the most of it, and a coarse block needs them at a quarter of the points only: they
    are computed for the points and the scale that are asked for.
    """

    feature: torch.Tensor  # (N, c, h, w)
    flow: torch.Tensor  # (N, 6, h, w) float32, values in full-resolution pixels
    features: torch.Tensor  # (B, 2c, h, w): both frames', joined
    owner: torch.Tensor  # (N,) which of the B pairs each sample belongs to
    timesteps: torch.Tensor  # (N,)

    def of(self, members: torch.Tensor) -> "BlockInput":
        """Some of the samples."""
        return BlockInput(select(self.feature, members), select(self.flow, members), self.features,
                          self.owner[members], self.timesteps[members])

    def at_scale(self, scale: int, channels: int) -> torch.Tensor:
        """(N, channels, h/scale, w/scale), downsampled by 1, 2 or 4: bilinear, `align_corners=False`, not antialiased.

        Every sampling point falls between four: a whole 2x2 cell at 1/2, the middle of a 4x4 cell at 1/4. Zeros fill
        the channels up.
        """
        picked = slice(1, 3) if scale == 4 else slice(0, scale)
        return self._joined(downsample(self.feature, scale), downsample(self.flow, scale), scale, picked, channels)

    def at_every_other(self, channels: int) -> torch.Tensor:
        """(N, channels, h/2, w/2): every other point of every other row, as a convolution of stride 2 sees it."""
        return self._joined(every_other(self.feature), every_other(self.flow), 2, slice(0, 1), channels)

    def _joined(self, feature: torch.Tensor, flow: torch.Tensor, cell: int, picked: slice, channels: int):
        warped = warp_both(self.features, self.flow, self.owner, cell, picked)
        plane = self.timesteps.view(-1, 1, 1, 1).expand(-1, 1, *feature.shape[2:])
        return joined((feature, flow, warped, plane), channels)


def warp_both(features: torch.Tensor, flow: torch.Tensor, owner: torch.Tensor, cell: int = 1,
              picked: slice = slice(0, 1)) -> torch.Tensor:
    """Both frames' features, warped at the points that are asked for and averaged over cells of them.

    Args:
        features: (B, 2c, h, w): frame 0's, then frame 1's, at half of the frames' resolution.
        flow: (N, 4 or more, h, w) float32, values in full-resolution pixels, so twice the features' own.
        owner: (N,) which of the B pairs each sample belongs to.
        cell, picked: of each cell x cell points the mean over the `picked` rows and columns is taken.

    Returns:
        (N, 2c, h/cell, w/cell).
    """
    number, _, height, width = flow.shape
    cells = flow[:, :4].view(number, 2, 2, height // cell, cell, width // cell, cell)
    cells = cells[:, :, :, :, picked, :, picked].permute(2, 0, 3, 5, 1, 4, 6)  # x and y, then N, h', w', frame, point
    x = torch.arange(width, device=flow.device, dtype=flow.dtype).view(-1, 1, 1, cell)[..., picked]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype).view(-1, 1, 1, cell, 1)[..., picked, :]
    return sample_means(features, torch.add(x, cells[0], alpha=0.5).flatten(4),
                        torch.add(y, cells[1], alpha=0.5).flatten(4), owner)


def downsample(x: torch.Tensor, scale: int) -> torch.Tensor:
    """Bilinear, `align_corners=False`, not antialiased, of (N, C, H, W)."""
    return x if scale == 1 else F.interpolate(x, scale_factor=1 / scale, mode="bilinear", align_corners=False)


def every_other(x: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, C, h/2, w/2): the points a convolution of stride 2 looks at."""
    return x[..., ::2, ::2]
