"""The encoder: one frame to half-resolution features (paper, Fig. 2, "feature extraction")."""
import torch
from torch import nn
from torchvision.models import resnet18

from model.aggregation import SkipBlock, conv3x3, enlarge, leaky_relu

# The order is ImageNet's own, RGB; the published network applies it to BGR frames as they come.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """The first stages of ResNet-18, brought together at half resolution.

    Frame (N, 3, H, W) in [0, 1], BGR, H and W multiples of 8 -> features (N, channels, H/2, W/2).
    BatchNorm always uses its stored statistics, in training too: batches are small.
    """

    def __init__(self, channels: int):
        super().__init__()
        backbone = resnet18(weights=None)
        self.normalize = nn.Conv2d(3, 3, 1)
        self.stem = nn.Sequential(backbone.conv1, backbone.bn1, nn.ReLU(inplace=True))
        self.pool = backbone.maxpool
        self.layer1 = backbone.layer1
        self.layer2 = backbone.layer2
        self.project_half = nn.Conv2d(64, channels, 1)
        self.project_quarter = nn.Conv2d(64, channels, 1)
        self.project_eighth = nn.Conv2d(128, channels, 1)
        with torch.no_grad():
            self.normalize.weight.copy_(torch.diag(1 / torch.tensor(IMAGENET_STD))[:, :, None, None])
            assert self.normalize.bias is not None
            self.normalize.bias.copy_(-torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD))

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        half = self.stem(self.normalize(frame))
        quarter = self.layer1(self.pool(half))
        eighth = self.layer2(quarter)
        return (self.project_half(half) + enlarge(self.project_quarter(quarter), 2)
                + enlarge(self.project_eighth(eighth), 4))


class PlainEncoder(nn.Sequential):
    """The small network's encoder: (N, 3, h, w) in [0, 1], BGR -> (N, channels, h, w), all at low resolution."""

    def __init__(self, channels: int, depth: int):
        super().__init__(*conv3x3(3, channels, activation=leaky_relu), *(SkipBlock(channels) for _ in range(depth)))
