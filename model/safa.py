"""SAFA, the paper's network: encoder, flow estimation, decoder (WACV 2024). Assembly only."""
from collections.abc import Sequence

import torch

from model.block_input import MASK, warp_both
from model.decoder import Decoder
from model.encoder import Encoder
from model.flow import FlowEstimation, full_resolution, half_resolution
from model.frames import warp_frames
from model.layout import joined
from model.network import Cost, Network, Prediction, upsample
from model.routing import BY_SELECTOR, Routing
from model.warp import owners


class SAFA(Network):
    """The network. `channels` is the width of its features, `blocks` the number of refinements.

    Working frames are the bicubically enlarged input frames: it refines at output resolution, with features at half
    of it, so any enlargement works; four times is the trained one.
    """

    name = "safa"
    factor = 1
    multiple = 8  # features at half size, processed at a quarter of that
    overlap = 64
    # 3840x2160 stays within 4 GiB in float32, blocks at full size.
    tile = 640
    whole_pixels = 2 * 1024 * 1024
    batch_pixels = 1024 * 1024
    bytes_per_pixel = 560

    def __init__(self, channels: int = 80, blocks: int = 6):
        super().__init__()
        self.settings = {"channels": channels, "blocks": blocks}
        self.channels, self.blocks = channels, blocks
        self.encoder = Encoder(channels)
        self.flow = FlowEstimation(channels, blocks)
        self.decoder = Decoder(channels)

    def working_frames(self, frames: torch.Tensor, size: tuple[int, int], peak: int | None = None) -> torch.Tensor:
        return upsample(frames, size, peak)

    def encode(self, working: torch.Tensor) -> torch.Tensor:
        """Frames (N, 3, H, W) to features (N, channels, H/2, W/2) in the network's own precision."""
        first = self.encoder.normalize
        return self.encoder(joined([working.to(first.weight.dtype)], first.in_channels))

    def interpolate(self, working0: torch.Tensor, working1: torch.Tensor, features0: torch.Tensor,
                    features1: torch.Tensor, timesteps: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        owner = owners(timesteps.shape[0], timesteps.numel(), timesteps.device)
        timesteps = timesteps.flatten()
        features = joined((features0, features1), 2 * self.channels)
        state, used = self.flow(features, timesteps, owner, routing)
        warped = warp_both(features, half_resolution(state), owner)
        plane = timesteps.view(-1, 1, 1, 1).to(warped.dtype).expand(-1, 1, *warped.shape[-2:])
        residual = self.decoder(plane, warped)
        flow = full_resolution(state)
        warped0, warped1 = warp_frames(working0, working1, flow)
        mask = torch.sigmoid(flow[:, MASK])
        frames = torch.lerp(warped1, warped0, mask).add_(residual).clamp_(0, 1)
        return Prediction(frames, flow[:, :4], mask, used)

    def scales_at(self, scale: int) -> list[int]:
        return [scale] * self.blocks

    def multiply_adds(self, height: int, width: int, scales: list[list[int]], restoring: Sequence[int] = ()) -> Cost:
        """By the published arrangement of the work: what this project saves without changing the result is counted
        all the same, so that times can be compared."""
        c, inputs, half = self.channels, 3 * self.channels + 7, height / 2 * width / 2
        encoder = (7 * 7 * 3 * 64 + 4 * 9 + 4 * 9 * 64 * 64 // 4 + (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128) // 16
                   + 64 * c + 64 * c // 4 + 128 * c // 16)
        selector_and_flow = inputs * c + c * c // 4 + c * 24 * 9
        block_at_full = inputs * c * 9 + 4 * c * c * 9
        decoder = ((2 * c + 1) * c * 9 + 24 * c * c * 9 + c * 2 * c * 9) // 4 + (c // 2) * 12 * 9
        return Cost(half * encoder, half * 2 * c * c * 9,
                    [half * (decoder + sum(selector_and_flow + block_at_full / scale**2 for scale in blocks))
                     for blocks in scales])
