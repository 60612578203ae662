"""Flow estimation: the iterated blocks that refine both flows and the blending mask (paper, Sec. 3.1)."""
import torch
import torch.nn.functional as F
from torch import nn

from model.aggregation import AggregationBlock, ScaleSelector, conv3x3
from model.block_input import BlockInput
from model.routing import BY_SELECTOR, Routing, chosen_scales, straight_through_bits
from model.warp import owners


class FlowEstimation(nn.Module):
    """From both frames' features and a timestep to the flow state.

    The state is kept as the sum of the blocks' outputs at half resolution, 6x4 channels: a pixel
    shuffle makes the 6 channels at full resolution of it. Averaging each group of four is the
    bilinear reduction of that to half resolution.
    """

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        inputs = 3 * channels + 7
        self.fuse = conv3x3(2 * channels, channels)
        self.blocks = nn.ModuleList(AggregationBlock(inputs, channels) for _ in range(blocks))
        self.selector = ScaleSelector(inputs, channels)
        self.to_flow = nn.Conv2d(channels, 6 * 4, 3, 1, 1)

    def forward(self, features0: torch.Tensor, features1: torch.Tensor, timesteps: torch.Tensor,
                routing: Routing = BY_SELECTOR) -> tuple[torch.Tensor, list]:
        """
        Args:
            features0, features1: (B, C, h, w), the two frames' features.
            timesteps: (B, T) in [0, 1].

        Returns:
            The flow state before its pixel shuffle, (B*T, 24, h, w) float32, and for each block the
            scales its samples were processed at, (B*T,).
        """
        owner = owners(timesteps.shape[0], timesteps.numel(), timesteps.device)
        feature = self.fuse(torch.cat((features0, features1), 1))
        x = BlockInput(feature, None, features0, features1, owner, timesteps.flatten())
        state = None
        used = []
        for index, block in enumerate(self.blocks):
            if routing.draws is not None:
                bits = straight_through_bits(self.selector(x), routing.draws[index])
                feature = block.mix(x, bits[:, 0], bits[:, 1])
                chosen = chosen_scales(bits)
            else:
                chosen = routing.given(index)
                if chosen is None:
                    chosen = chosen_scales(self.selector(x), routing.cap)
                feature = block(x, chosen)
            used.append(torch.full(owner.shape, chosen) if isinstance(chosen, int) else chosen)
            update = self.to_flow(feature).float()
            state = update if state is None else state + update
            x = x._replace(feature=feature, flow=half_resolution(state))
        return state, used


def half_resolution(state: torch.Tensor) -> torch.Tensor:
    """The flow state at half resolution, (N, 6, h, w), its values still in full-resolution pixels."""
    return (state[:, 0::4] + state[:, 1::4] + state[:, 2::4] + state[:, 3::4]) / 4  # faster than a mean over fours


def full_resolution(state: torch.Tensor) -> torch.Tensor:
    """The flow state at full resolution, (N, 6, 2h, 2w)."""
    return F.pixel_shuffle(state, 2)
