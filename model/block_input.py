"""What a block looks at, computed only at the points it looks at, and joined only inside its first convolution."""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from model.warp import positions, sample, select

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


class Parts(NamedTuple):
    """A block's input, 3c + 7 channels, in parts that are never joined: of N samples each, or of the B pairs."""

    feature: torch.Tensor
    flow_and_plane: torch.Tensor  # float32; 6 channels of flow, 1 of timestep
    warped0: torch.Tensor
    warped1: torch.Tensor
    owner: torch.Tensor  # (N,) which of the B pairs each sample belongs to

    def convolved(self, conv: nn.Conv2d) -> torch.Tensor:
        """`conv` of the joined tensor (feature, flow, warped0, warped1, plane), as the sum over the parts.

        Joining would cost about as much as the convolution, where that runs on matrix units; and what
        is the same for all samples of a pair is convolved once.
        """
        c = self.feature.shape[1]
        feature, flow, warped0, warped1, plane = conv.weight.split([c, 6, c, c, 1], 1)
        small = self.flow_and_plane.to(self.feature.dtype)
        total = F.conv2d(small, torch.cat((flow, plane), 1), conv.bias, conv.stride, conv.padding)
        shared = None
        for part, weight in ((self.feature, feature), (self.warped0, warped0), (self.warped1, warped1)):
            out = F.conv2d(part, weight, None, conv.stride, conv.padding)
            if len(part) == len(total):
                total = total.add_(out)
            else:
                shared = out if shared is None else shared.add_(out)
        return total if shared is None else total.add_(select(shared, self.owner))


class BlockInput(NamedTuple):
    """N samples' running feature, flow, both frames' warped features and timestep plane: 3c + 7 channels.

    The features are warped only at the points and the scale that are asked for. Before the first block
    there is no flow: both warps are the identity, and all but the timestep is the same for a pair's samples.
    """

    feature: torch.Tensor  # (N, c, h, w); before the first block (B, c, h, w)
    flow: torch.Tensor | None  # (N, 6, h, w) float32, values in full-resolution pixels; None: no flow yet
    features0: torch.Tensor  # (B, c, h, w)
    features1: torch.Tensor
    owner: torch.Tensor  # (N,) which of the B pairs each sample belongs to
    timesteps: torch.Tensor  # (N,)

    def of(self, members: torch.Tensor) -> "BlockInput":
        """Some of the samples."""
        some = self._replace(owner=self.owner[members], timesteps=self.timesteps[members])
        if self.flow is None:
            return some
        return some._replace(feature=select(self.feature, members), flow=select(self.flow, members))

    def at_scale(self, scale: int) -> Parts:
        """(h/scale, w/scale): reduced by 1, 2 or 4, bilinear, `align_corners=False`, not antialiased.

        Every sampling point falls between four: a whole 2x2 cell at 1/2, the middle of a 4x4 cell at 1/4.
        """
        parts = self._parts(middle_of_cells if scale == 4 else every_point)
        return parts if scale == 1 else Parts(*(F.avg_pool2d(part, 2) for part in parts[:4]), self.owner)

    def at_every_other(self) -> Parts:
        """(h/2, w/2): every other point of every other row."""
        return self._parts(every_other)

    def _parts(self, pick: Callable[[torch.Tensor], torch.Tensor]) -> Parts:
        feature = pick(self.feature)
        plane = self.timesteps.view(-1, 1, 1, 1).expand(-1, 1, *feature.shape[2:])
        if self.flow is None:
            flow = plane.new_zeros(len(plane), 6, *feature.shape[2:])
            warped = [pick(features) for features in (self.features0, self.features1)]
        else:
            flow = pick(self.flow)
            warped = [sample(features, pick(positions(0.5 * self.flow[:, part])), self.owner)
                      for features, part in ((self.features0, FLOW0), (self.features1, FLOW1))]
        flow_and_plane = torch.cat((flow, plane), 1).contiguous(memory_format=torch.channels_last)
        return Parts(feature, flow_and_plane, *warped, self.owner)
