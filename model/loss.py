"""Training losses on the outputs at timesteps [0, t, 1]; the paper uses plain L1."""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import UserError
from model.checkpoint import UNREADABLE, refuse_if_stored

VGG19_FILE = "vgg19-dcbb9e9d.pth"  # torchvision's name of its ImageNet weights


def l1(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return F.l1_loss(predicted, target)


def charbonnier(predicted: torch.Tensor, target: torch.Tensor, epsilon: float = 1e-3) -> torch.Tensor:
    """Mean of sqrt(difference^2 + epsilon^2): L1 with a rounded tip."""
    return torch.sqrt((predicted - target) ** 2 + epsilon**2).mean()


LOSSES: dict[str, Callable] = {"l1": l1, "charbonnier": charbonnier}


def three_frame_loss(frames: torch.Tensor, targets: torch.Tensor, measure: Callable = l1) -> torch.Tensor:
    """The sum over the three timesteps of the mean over each timestep's frames.

    Args:
        frames: (B*3, 3, H, W) in [0, 1], a sample's timesteps 0, t, 1 in a row.
        targets: (B, 9, H, W) in [0, 1], the same timesteps' ground truth stacked.
    """
    return 3 * measure(frames, targets.reshape(frames.shape))  # equal numbers of pixels: the mean of the means


def flow_loss(flows: list[torch.Tensor], target: torch.Tensor, confidence: torch.Tensor,
              factor: float = 0.8) -> torch.Tensor:
    """Distance of every block's flow to a supervising flow, |dx| + |dy| in pixels; later blocks weigh more.

    The sum over blocks i of factor^(blocks - 1 - i) * mean(confidence * distance), the weights of sequence losses in
    the field (RAFT's, Teed and Deng 2020).

    Args:
        flows: after each block, (N, 4, h, w) in its own pixels: x, y into frame 0; x, y into frame 1.
        target: (N, 4, h, w), the same.
        confidence: (N, 2, h, w) in [0, 1], for each of the two flows.

    Raises:
        UserError: the network has no flows to supervise.
    """
    if not flows:
        raise UserError("--flow_loss: this network gives no flow at low resolution after each of its blocks that could "
                        "be supervised; leave it away, or use --network safa_small")
    return sum(  # type: ignore[return-value]
        factor ** (len(flows) - 1 - index) * (confidence * _by_frame(flow - target).abs().sum(2)).mean()
        for index, flow in enumerate(flows))


def end_point_error(flow: torch.Tensor, target: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """Euclidean distance of flow (N, 4, h, w) to target, in pixels: the mean weighted by confidence (N, 2, h, w)."""
    return (confidence * _by_frame(flow - target).norm(dim=2)).sum() / confidence.sum().clamp(min=1e-6)


def _by_frame(flow: torch.Tensor) -> torch.Tensor:
    """(N, 4, h, w) -> (N, 2, 2, h, w): into which frame, x and y."""
    return flow.unflatten(1, (2, 2))


class Perceptual(nn.Module):
    """L1 between VGG-19 features (relu5_4's convolution) of two images (N, 3, H, W), BGR in [0, 1].

    Raises:
        UserError: torchvision's ImageNet weights are neither stored nor to be had, or the stored file is damaged.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self):
        super().__init__()
        from torchvision.models import VGG19_Weights, vgg19
        try:
            network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1)
        except UNREADABLE as error:  # urllib's errors are OSErrors
            refuse_if_stored(VGG19_FILE, error)
            raise UserError(f"--perceptual needs torchvision's VGG-19 weights, which could not be fetched ({error}); "
                            f"put {VGG19_FILE} into ~/.cache/torch/hub/checkpoints") from error
        self.features = network.features[:35].eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        predicted, target = ((image.flip(1) - self.mean) / self.std for image in (predicted, target))
        return F.l1_loss(self.features(predicted), self.features(target))
