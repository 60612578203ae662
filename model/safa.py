"""SAFA: encoder, flow estimation, decoder (Scale-Adaptive Feature Aggregation, WACV 2024). Assembly only."""
from typing import NamedTuple

import torch
from torch import nn

from model.block_input import FLOW0, FLOW1, MASK
from model.decoder import Decoder
from model.encoder import Encoder
from model.flow import FlowEstimation, full_resolution, half_resolution
from model.warp import backward_warp

MULTIPLE = 8  # frame sides must be multiples of this: features at half size, processed at a quarter of that


class Prediction(NamedTuple):
    """What the network says of N = B*T moments."""

    frames: torch.Tensor  # (N, 3, H, W) float32 in [0, 1]
    flow: torch.Tensor  # (N, 4, H, W) float32, pixels: x, y into frame 0; x, y into frame 1
    mask: torch.Tensor  # (N, 1, H, W) float32 in [0, 1]: the share of frame 0
    scales: list  # for each block the (N,) processing scales, 1, 2 or 4


class SAFA(nn.Module):
    """The network. `channels` is the width of its features, `blocks` the number of refinements."""

    def __init__(self, channels: int = 80, blocks: int = 6):
        super().__init__()
        self.channels, self.blocks = channels, blocks
        self.encoder = Encoder(channels)
        self.flow = FlowEstimation(channels, blocks)
        self.decoder = Decoder(channels)

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, timesteps: torch.Tensor,
                scales: torch.Tensor | None = None, scale_cap: int = 1,
                draws: torch.Tensor | None = None) -> Prediction:
        """Frames at any number of timesteps between two frames that are already enlarged.

        Args:
            frame0, frame1: (B, 3, H, W) float in [0, 1], BGR; H and W multiples of 8.
            timesteps: (B, T) in [0, 1]; 0 is frame 0, 1 is frame 1.
            scales, scale_cap, draws: see `FlowEstimation.forward`.

        Returns:
            Prediction for B*T moments, those of the first sample first.
        """
        features0, features1 = self.encode(torch.cat((frame0, frame1))).chunk(2)
        return self.interpolate(frame0, frame1, features0, features1, timesteps, scales, scale_cap, draws)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (N, 3, H, W) to features (N, channels, H/2, W/2) in the network's own precision."""
        dtype = self.encoder.normalize.weight.dtype
        return self.encoder(frames.to(dtype, memory_format=torch.channels_last))

    def interpolate(self, frame0: torch.Tensor, frame1: torch.Tensor, features0: torch.Tensor,
                    features1: torch.Tensor, timesteps: torch.Tensor, scales: torch.Tensor | None = None,
                    scale_cap: int = 1, draws: torch.Tensor | None = None) -> Prediction:
        """As `forward`, for frames whose features (B, channels, H/2, W/2) are at hand: each frame is encoded once."""
        state, used = self.flow(features0, features1, timesteps, scales, scale_cap, draws)
        flow = half_resolution(state)
        warped0 = backward_warp(features0, 0.5 * flow[:, FLOW0])
        warped1 = backward_warp(features1, 0.5 * flow[:, FLOW1])
        plane = timesteps.reshape(-1, 1, 1, 1).to(warped0.dtype).expand(-1, 1, *warped0.shape[-2:])
        residual = self.decoder(plane, warped0, warped1)
        return blend(frame0, frame1, full_resolution(state), residual, used)


def blend(frame0: torch.Tensor, frame1: torch.Tensor, flow: torch.Tensor, residual: torch.Tensor,
          used: list) -> Prediction:
    """Warp both frames by the full-resolution flow state, mix them by its mask, add the residual; in float32."""
    mask = torch.sigmoid(flow[:, MASK])
    warped0 = backward_warp(frame0.float(), flow[:, FLOW0])
    warped1 = backward_warp(frame1.float(), flow[:, FLOW1])
    frames = torch.lerp(warped1, warped0, mask) + residual.float()
    return Prediction(frames.clamp(0, 1), flow[:, :4], mask, used)
