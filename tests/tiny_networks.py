"""Small networks with random weights, and frames for them."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import SAFA, SAFASmall
from model.network import Network

TINY = {"channels": 16, "encoder_depth": 1, "detail_depth": 1, "flow_depth": 1, "decoder_depth": 1}  # safa_small
SMALL = {SAFA: {"channels": 16, "blocks": 3}, SAFASmall: TINY}
needs_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
NETWORKS = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)


def network(kind, seed=0, **settings) -> Network:
    torch.manual_seed(seed)
    model = kind(**(settings or SMALL[kind])).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("beta"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def small_model(seed=0):
    """A small network that moves things by some pixels and whose layers are all far from zero."""
    torch.manual_seed(seed)
    model = SAFASmall(**TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.mul_(1.5)
        for block in model.flow.blocks:
            block.to_flow.weight.mul_(20)
    return model


def smooth_frames(height, width, count=2, seed=0):
    """(count, 3, height, width) in [0, 1]: smooth noise that moves by two pixels a frame."""
    torch.manual_seed(seed)
    noise = F.interpolate(torch.rand(1, 3, height // 4 + 2, width // 4 + 2), (height, width + 8), mode="bicubic")
    return torch.cat([noise[..., 2 * i:2 * i + width] for i in range(count)]).clamp(0, 1)


def drawn(seed=0):
    """Answers that make the selector choose all scales in turn."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape, dtype: (torch.rand(shape, generator=generator)
                                 * (1 if dtype.is_floating_point else 255)).to(dtype)


def black(height, width, count=2):
    return np.zeros((count, height, width, 3), np.uint8)
