"""What a block looks at, computed only at the points it looks at."""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from model.warp import positions, sample

FLOW0, FLOW1, MASK = slice(0, 2), slice(2, 4), slice(4, 5)  # the flow state's channels; the sixth is spare


def every_point(x: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) as it is."""
    return x


def every_other(x: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, C, h/2, w/2): the points a convolution of stride 2 looks at."""
    return x[..., ::2, ::2]


def middle_of_cells(x: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, C, h/2, w/2): the middle 2x2 points of every 4x4 cell."""
    cells = x.unflatten(3, (-1, 4)).unflatten(2, (-1, 4))
    return cells[:, :, :, 1:3, :, 1:3].flatten(4, 5).flatten(2, 3)


class BlockInput(NamedTuple):
    """N samples' running feature, flow, both frames' warped features and timestep plane: 3c + 7 channels.

    They are joined, and the features warped, only at the points and the scale that are asked for: at
    full size the joined input is the largest tensor of the network, and it is seldom needed.
    """

    feature: torch.Tensor  # (N, c, h, w)
    flow: torch.Tensor | None  # (N, 6, h, w) float32, values in full-resolution pixels; None: no flow yet
    features0: torch.Tensor  # (B, c, h, w)
    features1: torch.Tensor
    owner: torch.Tensor  # (N,) which of the B pairs each sample belongs to
    timesteps: torch.Tensor  # (N,)

    def of(self, members: torch.Tensor) -> "BlockInput":
        """Some of the samples."""
        flow = None if self.flow is None else self.flow.index_select(0, members)
        return self._replace(feature=self.feature.index_select(0, members), flow=flow,
                             owner=self.owner[members], timesteps=self.timesteps[members])

    def at_scale(self, scale: int) -> torch.Tensor:
        """(N, 3c + 7, h/scale, w/scale): reduced by 1, 2 or 4, bilinear, `align_corners=False`, not antialiased.

        Every sampling point falls between four: a whole 2x2 cell at 1/2, the middle of a 4x4 cell at 1/4.
        """
        parts = self._parts(middle_of_cells if scale == 4 else every_point)
        return torch.cat(parts if scale == 1 else [F.avg_pool2d(part, 2) for part in parts], 1)

    def at_every_other(self) -> torch.Tensor:
        """(N, 3c + 7, h/2, w/2): every other point of every other row."""
        return torch.cat(self._parts(every_other), 1)

    def _parts(self, pick: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        feature = pick(self.feature)
        if self.flow is None:  # both warps are the identity
            flow = feature.new_zeros(len(feature), 6, *feature.shape[2:])
            warped = [pick(features).index_select(0, self.owner) for features in (self.features0, self.features1)]
        else:
            flow = pick(self.flow).to(feature.dtype)
            warped = [sample(features, pick(positions(0.5 * self.flow[:, part])), self.owner)
                      for features, part in ((self.features0, FLOW0), (self.features1, FLOW1))]
        plane = self.timesteps.to(feature.dtype).view(-1, 1, 1, 1).expand(-1, 1, *feature.shape[2:])
        return [feature, flow, *warped, plane]
