"""The small network's flow estimation: blocks from coarse to fine, the fine ones only where needed."""
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from model.aggregation import FlowBlock, ScaleSelector, enlarge
from model.block_input import FLOW0, FLOW1, MASK
from model.correlation import correlation
from model.frames import compare, compared_channels, warp_frames
from model.layout import first_convolution, joined
from model.network import UPSCALE
from model.propagation import propagate
from model.routing import BY_SELECTOR, SCALES, Routing, chosen_scales, straight_through_bits, upload
from model.warp import backward_warp, owners, select

LONGEST_FLOW = 24.0  # low-resolution pixels; flows beyond it find nothing to match
STRONGEST_LOGIT = 8.0
FULL_LOGIT = 200.0  # a sigmoid of exactly 1; of its negative, 0
# Scale of each block, and the radius of the window in which it correlates the warped features. The last one compares
# the frames at output resolution instead: a misfit of less than a low-resolution pixel does not show in features.
BLOCKS = ((4, 4), (4, 4), (2, 3), (2, 3), (1, 0))

Pair = tuple[torch.Tensor, torch.Tensor]
Pyramid = dict[int, Pair]  # for each scale both frames' features, (B, C, h/s, w/s)


def matches(radius: int) -> int:
    """Channels by which a block sees how well the warped frames match."""
    return (2 * radius + 1) ** 2 if radius else compared_channels(1, UPSCALE)


class CoarseToFineFlow(nn.Module):
    """From both frames' features and a timestep to flows, mask and running feature, all at low resolution.

    The state has 5 channels, float32: two flows in low-resolution pixels and the mask's logit. Once the blocks at 1/4
    are through, the selector decides per sample how fine it has to go: 4 leaves it there, 2 adds the blocks at 1/2,
    1 all.
    """

    blocks: Sequence[FlowBlock]  # an nn.ModuleList, which does not know what it holds

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.LeakyReLU(0.1, inplace=True))
        # The finest block costs as much as all others together, so it is one residual block shorter.
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            FlowBlock(channels, matches(radius), depth if scale > 1 else max(depth - 1, 1))
            for scale, radius in BLOCKS)
        self.selector = ScaleSelector(3 * channels + 6, channels)

    def forward(self, frames: Pair, features0: torch.Tensor, features1: torch.Tensor, timesteps: torch.Tensor,
                routing: Routing = BY_SELECTOR) -> tuple:
        """
        Args:
            frames: both, (B, 3, H, W), at output resolution.
            features0, features1: (B, C, h, w), h and w multiples of 4.
            timesteps: (B, T) in [0, 1].

        Returns:
            The state (N, 5, h, w) float32, the running feature (N, C, h, w), the scales of the blocks as
            `Prediction.scales` has them, the flows (N, 4, h, w) after each block, and, where routing gives draws, the
            selector's bits (fine, half), (N,) each; N = B*T.
        """
        pyramid = {scale: (downsample(features0, scale), downsample(features1, scale)) for scale in SCALES}
        owner = owners(timesteps.shape[0], timesteps.numel(), timesteps.device)
        feature = select(self.fuse(torch.cat((features0, features1), 1)), owner)
        times = timesteps.reshape(-1, 1, 1, 1).float()
        state = feature.new_zeros(owner.shape[0], 5, *feature.shape[2:], dtype=torch.float32)
        state[:, 4:] = STRONGEST_LOGIT * (0.5 - times)
        samples = _Samples(feature, state, times, owner)
        chosen, bits, used, flows = None, None, [], []
        for scale in reversed(SCALES):
            blocks = [(block, radius) for block, (own, radius) in zip(self.blocks, BLOCKS) if own == scale]
            if scale < 4 and chosen is None:
                chosen, bits = self._choose(samples, pyramid, routing)
            takes = True if chosen is None else chosen <= scale  # one for all samples, or (N,)
            each = takes if isinstance(takes, torch.Tensor) else torch.full(owner.shape, takes)
            used += [scale * each] * len(blocks)
            # In the selector's training all is computed, and what is not chosen counts for nothing.
            if isinstance(takes, torch.Tensor) and (bits or takes.all()):
                takes = True
            states = [samples.state] * len(blocks)
            if takes is True:
                feature_change, state_changes = refine(blocks, scale, samples, pyramid, frames)
                if bits and scale < 4:
                    gate = (bits[1] if scale == 2 else bits[0] * bits[1]).view(-1, 1, 1, 1)
                    feature_change = feature_change * gate.to(feature_change.dtype)
                    state_changes = [change * gate for change in state_changes]
                states = [bounded(samples.state + change) for change in state_changes]
                samples = samples._replace(feature=samples.feature + feature_change, state=states[-1])
            elif takes is not False and takes.any():
                members = upload(takes.nonzero()[:, 0], owner.device)
                feature_change, state_changes = refine(blocks, scale, samples.of(members), pyramid, frames)
                feature = samples.feature.index_add(0, members, feature_change.to(samples.feature.dtype))
                states = [bounded(samples.state.index_add(0, members, change)) for change in state_changes]
                samples = samples._replace(feature=feature, state=states[-1])
            flows += [state[:, :4] for state in states]
        return samples.state, samples.feature, used, flows, bits

    def _choose(self, samples: "_Samples", pyramid: Pyramid, routing: Routing) -> tuple:
        """The scale each sample goes down to, (N,) on the CPU, or one for all; in the selector's training its bits."""
        given = routing.given(0)
        if given is not None:
            return given, None
        seen = samples.at_scale(4, pyramid)
        probabilities = self.selector(joined(seen, first_convolution(self.selector.squeeze).in_channels))
        if routing.draws is None:
            return chosen_scales(probabilities.cpu(), routing.cap), None
        bits = straight_through_bits(probabilities, routing.draws[0])
        return chosen_scales(bits), bits.unbind(1)


class _Samples(NamedTuple):
    """Where N samples stand."""

    feature: torch.Tensor  # (N, C, h, w)
    state: torch.Tensor    # (N, 5, h, w)
    times: torch.Tensor    # (N, 1, 1, 1)
    owner: torch.Tensor    # (N,) which pair each belongs to

    def of(self, members: torch.Tensor) -> "_Samples":
        """Some of the samples."""
        return _Samples(select(self.feature, members), self.state[members], self.times[members], self.owner[members])

    def at_scale(self, scale: int, pyramid: Pyramid) -> tuple[torch.Tensor, ...]:
        """What a block there looks at: feature, state in pixels of that scale, timestep plane, warped features."""
        state = in_pixels_of(downsample(self.state, scale), 1 / scale)
        return self.seen_with(downsample(self.feature, scale), state, pyramid[scale])

    def seen_with(self, feature: torch.Tensor, state: torch.Tensor,
                  features: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The same from feature and state of a scale, and both frames' features there."""
        return feature, state, self.times.expand(-1, 1, *feature.shape[2:]), *(
            backward_warp(frame, state[:, part], self.owner) for frame, part in zip(features, (FLOW0, FLOW1)))


def refine(blocks: Sequence[tuple[FlowBlock, int]], scale: int, samples: _Samples, pyramid: Pyramid, frames: Pair
           ) -> tuple:
    """The blocks of one scale, with their radii, one after the other, there; what comes of them is enlarged once.

    At full low resolution flows spread from pixel to pixel before them (`propagate`).

    Returns:
        What to add to the running feature (N, C, h, w), and for each block what has to be added to the state
        (N, 5, h, w) once it is through.
    """
    spread = samples
    if scale == 1:
        low = downsample(frames[0].float(), UPSCALE), downsample(frames[1].float(), UPSCALE)
        spread = samples._replace(state=propagate(low, samples.state, samples.owner))
    feature, state, plane, warped0, warped1 = spread.at_scale(scale, pyramid)
    before = samples.state if scale == 1 else state
    feature_changes: list[torch.Tensor] = []
    state_changes = []
    for block, radius in blocks:
        if feature_changes:
            feature, state, plane, warped0, warped1 = samples.seen_with(feature + feature_changes[-1], state,
                                                                        pyramid[scale])
        match = [correlation(warped0, warped1, radius)] if radius else _compared(frames, state, samples)
        feature_change, state_change = block(feature, state, plane, warped0, warped1, match)
        state = bounded(state + state_change, LONGEST_FLOW / scale)
        feature_changes.append(feature_change)
        state_changes.append(in_pixels_of(enlarge(state - before, scale), scale))
    return enlarge(functools.reduce(torch.add, feature_changes), scale), state_changes


def _compared(frames: Pair, state: torch.Tensor, samples: _Samples) -> Pair:
    """What `compare` says of both frames' brightness, warped by the state (N, 5, h, w) at full low resolution."""
    grey0, grey1 = (frame.mean(1, keepdim=True) for frame in frames)
    large = at_output_resolution(state)
    warped0, warped1 = warp_frames(grey0, grey1, large, samples.owner)
    mixed = torch.lerp(warped1, warped0, torch.sigmoid(large[:, MASK]))
    return compare(warped0, warped1, mixed, UPSCALE, samples.feature.dtype)


def at_output_resolution(state: torch.Tensor) -> torch.Tensor:
    """The state (N, 5, h, w), enlarged to (N, 5, 4h, 4w), its flows in pixels there."""
    return enlarge(in_pixels_of(state, UPSCALE), UPSCALE)


def exact_at_ends(state: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The state (N, 5, h, w), by which a pair's own frames come out as they are at timesteps of 0 and 1."""
    times = timesteps.reshape(-1, 1, 1, 1)
    flow0, flow1, logit = state.split((2, 2, 1), 1)
    first, second = times == 0, times == 1
    logit = torch.where(first, FULL_LOGIT, torch.where(second, -FULL_LOGIT, logit))
    return torch.cat((torch.where(first, 0.0, flow0), torch.where(second, 0.0, flow1), logit), 1)


def in_pixels_of(state: torch.Tensor, factor: float) -> torch.Tensor:
    """The state with its flows times `factor`."""
    return state if factor == 1 else torch.cat((factor * state[:, :4], state[:, 4:]), 1)


def bounded(state: torch.Tensor, longest: float = LONGEST_FLOW) -> torch.Tensor:
    """The flow state, no flow component beyond `longest` and no logit beyond `STRONGEST_LOGIT`."""
    return torch.cat((state[:, :4].clamp(-longest, longest),
                      state[:, 4:].clamp(-STRONGEST_LOGIT, STRONGEST_LOGIT)), 1)


def downsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Averages of factor x factor points."""
    return x if factor == 1 else F.avg_pool2d(x, factor)
