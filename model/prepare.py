"""From the network as it is trained to the network as it is run: device, precision, memory layout, folding."""
import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.errors import UserError
from model.aggregation import AggregationBlock, ResidualBlock
from model.network import Network

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | None) -> torch.device:
    """The device of that name, None meaning a GPU if there is one. UserError: there is no such device."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"no device {name!r} here: use --device cpu, or install a PyTorch that supports it") from None
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """"fp32", "bf16" or "fp16"; "auto" is fp32 on a CPU, and on a GPU bf16 where it has it, else fp16."""
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name not in DTYPES:
        raise UserError(f"precision {name!r} is not auto, fp32, bf16 or fp16")
    return name


def prepare_for_inference(model: Network, device: torch.device, precision: str, compile: bool = False) -> Network:
    """A copy of the network for inference: all that can be folded is, channels last, in `precision` on `device`."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batchnorm(model)
    fold_residual_scales(model)
    model = model.to(device, DTYPES[precision], memory_format=torch.channels_last)
    if precision == "bf16" and device.type == "cpu" and not compile:
        replace_prelu(model)
    if compile:
        model.encode = torch.compile(model.encode, dynamic=False)
        model.interpolate = torch.compile(model.interpolate, dynamic=False)
    return model


def fold_batchnorm(model: nn.Module) -> None:
    """Put every BatchNorm into the convolution before it: their statistics are frozen, so the sums are the same."""
    for parent in model.modules():
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in zip(children, children[1:]):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def fold_residual_scales(model: nn.Module) -> None:
    """Put every residual block's beta into its second convolution."""
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            last = block.conv[-1]
            last.weight.mul_(block.beta.view(-1, 1, 1, 1))
            last.bias.mul_(block.beta.flatten())
            block.beta = None


class MaximumPReLU(nn.Module):
    """PReLU as max(x, slope * x): the same where no slope is above 1, and twice as fast on a CPU in bf16."""

    def __init__(self, slopes: torch.Tensor):
        super().__init__()
        self.register_buffer("slopes", slopes.view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.maximum(x, x * self.slopes)


def replace_prelu(model: nn.Module) -> None:
    """Use `MaximumPReLU` wherever it is the same."""
    for parent in model.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.PReLU) and child.weight.max() <= 1:
                setattr(parent, name, MaximumPReLU(child.weight.detach()))


def compile_parts(model: Network) -> None:
    """Compile, in place, the parts that do nearly all the work: each block at each scale, encoder and decoder."""
    for block in model.flow.blocks:
        if isinstance(block, AggregationBlock):  # which scales it works at is decided outside of what is compiled
            block.at_scale = torch.compile(block.at_scale, dynamic=False)
        else:
            block.compile(dynamic=False)
    model.encoder.compile(dynamic=False)
    model.decoder.compile(dynamic=False)
