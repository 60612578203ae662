"""Training losses: what the outputs at timesteps [0, t, 1] are held to; the paper uses plain L1."""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import UserError


def l1(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return F.l1_loss(predicted, target)


def charbonnier(predicted: torch.Tensor, target: torch.Tensor, epsilon: float = 1e-3) -> torch.Tensor:
    """Mean of sqrt(difference^2 + epsilon^2): L1 with a rounded tip."""
    return torch.sqrt((predicted - target) ** 2 + epsilon**2).mean()


LOSSES: dict[str, Callable] = {"l1": l1, "charbonnier": charbonnier}


def three_frame_loss(frames: torch.Tensor, targets: torch.Tensor, measure: Callable = l1) -> torch.Tensor:
    """The sum over the three moments of the mean over each moment's frames.

    Args:
        frames: (B*3, 3, H, W) in [0, 1], a sample's moments 0, t, 1 in a row.
        targets: (B, 9, H, W) in [0, 1], the same moments' true frames stacked.
    """
    return 3 * measure(frames, targets.reshape(frames.shape))  # equal numbers of pixels: the mean of the means


class Perceptual(nn.Module):
    """L1 between VGG-19 features (relu5_4's convolution) of two pictures (N, 3, H, W), BGR in [0, 1].

    Raises:
        UserError: torchvision's ImageNet weights are neither stored nor to be had.
    """

    def __init__(self):
        super().__init__()
        from torchvision.models import VGG19_Weights, vgg19
        try:
            network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1)
        except OSError as error:  # urllib's errors are OSErrors
            raise UserError(f"--perceptual needs torchvision's VGG-19 weights, which could not be fetched ({error}); "
                            "put vgg19-dcbb9e9d.pth into ~/.cache/torch/hub/checkpoints") from error
        self.features = network.features[:35].eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        predicted, target = ((picture.flip(1) - self.mean) / self.std for picture in (predicted, target))
        return F.l1_loss(self.features(predicted), self.features(target))
