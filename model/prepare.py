"""From the network as it is trained to the network as it is run: device, precision, memory layout, folding."""
import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.errors import UserError
from model.safa import SAFA

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


def prepare_for_inference(model: SAFA, device: torch.device, precision: str, compile: bool = False) -> SAFA:
    """A copy of the network for inference: frozen BatchNorm folded, channels last, in `precision` on `device`."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batchnorm(model)
    model = model.to(device, DTYPES[precision], memory_format=torch.channels_last)
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


def compile_parts(model: SAFA) -> None:
    """Compile, in place, the parts that do nearly all the work: each block at each scale, encoder and decoder."""
    for block in model.flow.blocks:
        block.at_scale = torch.compile(block.at_scale, dynamic=False)
    model.encoder.compile(dynamic=False)
    model.decoder.compile(dynamic=False)
