"""Where training starts from: ImageNet features, and weights by which a fresh network blends its inputs."""
from typing import Any

import torch

from common.errors import UserError
from model.checkpoint import UNREADABLE, refuse_if_stored
from model.safa import SAFA

RESNET18_FILE = "resnet18-f37072fd.pth"  # torchvision's name of its ImageNet weights


def load_imagenet_encoder(model: SAFA, required: bool) -> str:
    """Start the encoder from torchvision's ImageNet ResNet-18, as published. Returns a word on what was done.

    Raises:
        UserError: they are neither stored nor to be had, and `required`; or the stored file is damaged.
    """
    from torchvision.models import ResNet18_Weights
    encoder = model.encoder
    try:
        state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        for name, module in (("conv1", encoder.stem[0]), ("bn1", encoder.stem[1]), ("layer1", encoder.layer1),
                             ("layer2", encoder.layer2)):
            module.load_state_dict({key.removeprefix(name + "."): tensor for key, tensor in state.items()
                                    if key.startswith(name + ".")})
    except UNREADABLE as error:
        refuse_if_stored(RESNET18_FILE, error)
        if required:
            raise UserError(f"cannot fetch torchvision's ImageNet ResNet-18 ({error}); put {RESNET18_FILE} into "
                            "~/.cache/torch/hub/checkpoints or give --pretrained_encoder no") from error
        return "random (torchvision's ImageNet weights could not be fetched)"
    return "ImageNet"


@torch.no_grad()
def start_from_blending(model: SAFA, end_logit: float = 4.0) -> None:
    """Make a fresh network blend its inputs by the timestep: no residual, and a mask that knows the time.

    A random network spends its first hundreds of steps learning that timestep 0 is frame 0. Here two
    channels of every block carry t - 1/2 and its negative, and the mask's logit is their difference,
    scaled to reach `end_logit` at timestep 0 and minus that at 1.
    """
    to_picture: Any = model.decoder.to_picture  # Any: torch's containers do not know what they hold
    to_picture.weight.zero_()
    to_picture.bias.zero_()
    up, down = 0, 1
    for block in model.flow.blocks:
        stem: Any = block.stem[0]
        for channel, sign in ((up, 1.0), (down, -1.0)):
            stem.weight[channel].zero_()
            stem.weight[channel, -1, 1, 1] = sign  # the last input channel is the timestep plane
            stem.bias[channel] = -0.5 * sign
    mask = slice(4 * 4, 5 * 4)  # the flow state's fifth channel, before its pixel shuffle
    to_flow: Any = model.flow.to_flow
    to_flow.weight[mask].zero_()
    to_flow.bias[mask].zero_()
    slope = 2 * end_logit / len(model.flow.blocks)
    to_flow.weight[mask, up, 1, 1] = -slope
    to_flow.weight[mask, down, 1, 1] = slope
