"""The small network's flow estimation: correlation blocks from coarse to fine, the fine ones only where needed."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from model.aggregation import CorrelationBlock, ScaleSelector
from model.block_input import FLOW0, FLOW1
from model.layout import first_convolution, joined
from model.routing import BY_SELECTOR, SCALES, Routing, chosen_scales, straight_through_bits, upload
from model.warp import backward_warp, owners, select

LONGEST_FLOW = 24.0  # low-resolution pixels; flows beyond it find nothing to match
STRONGEST_LOGIT = 8.0
BLOCKS = ((4, 4), (4, 4), (2, 3), (2, 3), (1, 0))  # (scale, radius of the correlation) of each block


class CoarseToFineFlow(nn.Module):
    """From both frames' features and a timestep to flows, mask and running feature, all at low resolution.

    The state has 5 channels, float32: two flows in low-resolution pixels and the mask's logit. Once the blocks at 1/4
    are through, the selector decides per sample how fine it has to go: 4 leaves it there, 2 adds the blocks at 1/2,
    1 all.
    """

    blocks: Sequence[CorrelationBlock]  # an nn.ModuleList, which does not know what it holds

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.PReLU(channels))
        # The finest block costs as much as all others together, so it is one residual block shorter.
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            CorrelationBlock(channels, scale, radius, depth if scale > 1 else max(depth - 1, 1))
            for scale, radius in BLOCKS)
        self.selector = ScaleSelector(3 * channels + 6, channels)

    def forward(self, features0: torch.Tensor, features1: torch.Tensor, timesteps: torch.Tensor,
                routing: Routing = BY_SELECTOR) -> tuple:
        """
        Args:
            features0, features1: (B, C, h, w), h and w multiples of 4.
            timesteps: (B, T) in [0, 1].

        Returns:
            The state (N, 5, h, w) float32, the running feature (N, C, h, w), the scales of the blocks as
            `Prediction.scales` has them, the flows (N, 4, h, w) after each block, and, where routing gives draws, the
            selector's bits (fine, half), (N,) each; N = B*T.
        """
        pyramids = [(downsample(features0, scale), downsample(features1, scale)) for scale in SCALES]
        owner = owners(timesteps.shape[0], timesteps.numel(), timesteps.device)
        feature = select(self.fuse(torch.cat((features0, features1), 1)), owner)
        times = timesteps.reshape(-1, 1, 1, 1).float()
        state = feature.new_zeros(owner.shape[0], 5, *feature.shape[2:], dtype=torch.float32)
        state[:, 4:] = STRONGEST_LOGIT * (0.5 - times)
        chosen, bits, used, flows = None, None, [], []
        for block in self.blocks:
            x = _BlockInput(feature, state, times, owner, pyramids)
            if block.scale < 4 and chosen is None:
                chosen, bits = self._choose(x, routing)
            takes = True if chosen is None else chosen <= block.scale  # one for all samples, or (N,)
            used.append(block.scale * (takes if isinstance(takes, torch.Tensor) else torch.full(owner.shape, takes)))
            # In the selector's training all is computed, and what is not chosen counts for nothing.
            if isinstance(takes, torch.Tensor) and (bits or takes.all()):
                takes = True
            if takes is True:
                changes = block(*x.at_scale(block.scale))
                if bits and block.scale < 4:
                    gate = bits[1] if block.scale == 2 else bits[0] * bits[1]
                    changes = [change * gate.view(-1, 1, 1, 1).to(change.dtype) for change in changes]
                feature, state = feature + changes[0], bounded(state + changes[1])
            elif takes is not False and takes.any():
                members = upload(takes.nonzero()[:, 0], owner.device)
                changes = block(*x.of(members).at_scale(block.scale))
                feature = feature.index_add(0, members, changes[0].to(feature.dtype))
                state = bounded(state.index_add(0, members, changes[1]))
            flows.append(state[:, :4])
        return state, feature, used, flows, bits

    def _choose(self, x: "_BlockInput", routing: Routing) -> tuple:
        """The scale each sample goes down to, (N,) on the CPU, or one for all; in the selector's training its bits."""
        given = routing.given(0)
        if given is not None:
            return given, None
        probabilities = self.selector(joined(x.at_scale(4), first_convolution(self.selector.squeeze).in_channels))
        if routing.draws is None:
            return chosen_scales(probabilities.cpu(), routing.cap), None
        bits = straight_through_bits(probabilities, routing.draws[0])
        return chosen_scales(bits), bits.unbind(1)


class _BlockInput:
    """What a block looks at, made at the scale it asks for."""

    def __init__(self, feature, state, times, owner, pyramids):
        self.feature, self.state, self.times, self.owner, self.pyramids = feature, state, times, owner, pyramids

    def of(self, members: torch.Tensor) -> "_BlockInput":
        """Some of the samples."""
        return _BlockInput(select(self.feature, members), self.state[members], self.times[members],
                           self.owner[members], self.pyramids)

    def at_scale(self, scale: int) -> tuple[torch.Tensor, ...]:
        """Feature, state, timestep plane and both frames' features warped, at 1/scale of the low resolution."""
        features0, features1 = self.pyramids[SCALES.index(scale)]
        state = downsample(self.state, scale)
        warped = [backward_warp(features, state[:, part] / scale, self.owner)
                  for features, part in ((features0, FLOW0), (features1, FLOW1))]
        feature = downsample(self.feature, scale)
        plane = self.times.expand(-1, 1, *feature.shape[2:])
        return feature, state, plane, *warped


def bounded(state: torch.Tensor) -> torch.Tensor:
    """The flow state, no flow longer than `LONGEST_FLOW` and no logit stronger than `STRONGEST_LOGIT`."""
    return torch.cat((state[:, :4].clamp(-LONGEST_FLOW, LONGEST_FLOW),
                      state[:, 4:].clamp(-STRONGEST_LOGIT, STRONGEST_LOGIT)), 1)


def downsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Averages of factor x factor points."""
    return x if factor == 1 else F.avg_pool2d(x, factor)
