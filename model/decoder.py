"""The upsampling decoder: warped features to the residual image (paper, Fig. 2)."""
import torch
from torch import nn

from model.aggregation import ResidualBlock, SkipBlock, conv3x3, leaky_relu, small_start
from model.layout import first_convolution, joined, pixel_shuffle

PLANES = 48  # of an image with three channels, four times as large: one for each of 4x4 pixels


class Decoder(nn.Module):
    """Both frames' warped features and the timestep -> what blending the warped frames leaves out.

    (N, 2*channels + 1, h, w) at half resolution -> (N, 3, 2h, 2w).
    """

    def __init__(self, channels: int, depth: int = 12):
        super().__init__()
        self.reduce = conv3x3(2 * channels + 1, channels, stride=2)
        self.residual = nn.Sequential(*(ResidualBlock(channels) for _ in range(depth)))
        self.expand = conv3x3(channels, 2 * channels)
        self.to_picture = nn.Conv2d(channels // 2, 12, 3, 1, 1)

    def forward(self, timestep_plane: torch.Tensor, warped: torch.Tensor) -> torch.Tensor:
        x = self.reduce(joined((timestep_plane, warped), first_convolution(self.reduce).in_channels))
        x = pixel_shuffle(self.expand(self.residual(x)), 2)
        return pixel_shuffle(self.to_picture(joined([x], self.to_picture.in_channels))[:, :12], 2)


class PlainDecoder(nn.Sequential):
    """The small network's decoder: (N, inputs, h, w) at low resolution -> a residual image as (N, 48, h, w).

    `F.pixel_shuffle(..., 4)` makes it (N, 3, 4h, 4w).
    """

    def __init__(self, inputs: int, channels: int, depth: int):
        super().__init__(*conv3x3(inputs, channels, activation=leaky_relu),
                         *(SkipBlock(channels) for _ in range(depth)),
                         small_start(nn.Conv2d(channels, PLANES, 3, 1, 1)))
