"""Flow estimation: the iterated blocks that refine both flows and the blending mask (paper, Sec. 3.1)."""
from collections.abc import Sequence

import torch
from torch import nn

from model.aggregation import AggregationBlock, ScaleSelector, conv3x3
from model.block_input import BlockInput, every_other
from model.layout import first_convolution, pixel_shuffle
from model.routing import BY_SELECTOR, Routing, chosen_scales, straight_through_bits
from model.warp import select


class FlowEstimation(nn.Module):
    """From both frames' features and a timestep to the flow state.

    The state is kept as the sum of the blocks' outputs at half resolution, 6x4 channels: a pixel
    shuffle makes the 6 channels at full resolution of it. Averaging each group of four is the
    bilinear reduction of that to half resolution.
    """

    blocks: Sequence[AggregationBlock]  # an nn.ModuleList, which does not know what it holds

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        inputs = 3 * channels + 7
        self.fuse = conv3x3(2 * channels, channels)
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            AggregationBlock(inputs, channels) for _ in range(blocks))
        self.selector = ScaleSelector(inputs, channels)
        self.to_flow = nn.Conv2d(channels, 6 * 4, 3, 1, 1)

    def forward(self, features: torch.Tensor, timesteps: torch.Tensor, owner: torch.Tensor,
                routing: Routing = BY_SELECTOR) -> tuple[torch.Tensor, list]:
        """
        Args:
            features: (B, 2c, h, w), the two frames' features, joined.
            timesteps: (N,) in [0, 1], N = B*T.
            owner: (N,) which of the B pairs each timestep belongs to.

        Returns:
            The flow state before its pixel shuffle, (N, 24, h, w) float32, and for each block the scales
            its samples were processed at, (N,).
        """
        feature = select(self.fuse(features), owner)
        state = feature.new_zeros(owner.shape[0], *feature.shape[2:], 24, dtype=torch.float32).permute(0, 3, 1, 2)
        used = []
        for index, block in enumerate(self.blocks):
            x = BlockInput(feature, half_resolution(state), features, owner, timesteps)
            if routing.draws is not None:
                whole = x.at_scale(1, first_convolution(block.stem).in_channels)
                bits = straight_through_bits(self.selector(every_other(whole)), routing.draws[index])
                feature = block.mix(whole, bits[:, 0], bits[:, 1])
                used.append(chosen_scales(bits))
            else:
                chosen = self._choose(x, routing, index)
                feature = block(x, chosen)
                used.append(torch.full(owner.shape, chosen) if isinstance(chosen, int) else chosen)
            state = state + self.to_flow(feature).float()
        return state, used

    def _choose(self, x: BlockInput, routing: Routing, index: int) -> torch.Tensor | int:
        """The scales in a block, (N,) on the CPU, where it is decided what is computed; or one for all samples."""
        given = routing.given(index)
        if given is not None:
            return given
        points = x.at_every_other(first_convolution(self.selector.squeeze).in_channels)
        return chosen_scales(self.selector(points).cpu(), routing.cap)


def half_resolution(state: torch.Tensor) -> torch.Tensor:
    """The flow state at half resolution, (N, 6, h, w), its values still in full-resolution pixels."""
    return (state[:, 0::4] + state[:, 1::4] + state[:, 2::4] + state[:, 3::4]) / 4  # faster than a mean over fours


def full_resolution(state: torch.Tensor) -> torch.Tensor:
    """The flow state at full resolution, (N, 6, 2h, 2w)."""
    return pixel_shuffle(state, 2)
