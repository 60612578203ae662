"""From the network as it is trained to the network as it is run: device, precision, memory layout, folding."""
import copy
import os

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.errors import UserError
from model.aggregation import ResidualBlock
from model.compiled import compile_parts, compile_whole
from model.network import Network

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | None) -> torch.device:
    """The device of that name; None: a GPU if there is one, CUDA's before Apple's.

    Raises:
        UserError: there is no such device, or this PyTorch has no code for it.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has tensors, but no numbers in them
    except (RuntimeError, AssertionError, ImportError):
        raise UserError(f"no device {name!r} here: use --device cpu, or install a PyTorch that supports it") from None
    if device.type == "cuda":
        _check_architecture(device)
    return device


def _check_architecture(device: torch.device) -> None:
    """UserError if this PyTorch was built without code that the GPU can run."""
    if torch.version.hip is not None:
        return
    major, minor = torch.cuda.get_device_capability(device)
    built_for = torch.cuda.get_arch_list()
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        # Code for a GPU runs on later ones of its generation; the intermediate code (compute) on all later ones.
        found = divmod(int(digits), 10)
        if found[0] == major and found[1] <= minor or kind == "compute" and found <= (major, minor):
            return
    raise UserError(f"{torch.cuda.get_device_name(device)} needs code for compute capability {major}.{minor}, and this "
                    f"PyTorch has {', '.join(built_for)} only: install another PyTorch, or give --device cpu")


def resolve_precision(name: str, device: torch.device) -> str:
    """"fp32", "bf16" or "fp16"; "auto" is bf16 on a CUDA device that has it, else fp16, and fp32 elsewhere."""
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        has_it = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        return "bf16" if has_it else "fp16"
    if name not in DTYPES:
        raise UserError(f"precision {name!r} is not auto, fp32, bf16 or fp16")
    return name


def prepare_for_inference(model: Network, device: torch.device, precision: str, compile: bool = False) -> Network:
    """A copy of the network for inference: all that can be folded is, channels last, in `precision` on `device`."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batchnorm(model)
    fold_residual_scales(model)
    if device.type == "cuda":
        widen(model)
        if precision == "fp32":  # cuDNN's default is TensorFloat-32, which has half precision's 10 bits
            torch.backends.cudnn.allow_tf32 = False
    model = model.to(device, DTYPES[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
    if precision == "bf16" and device.type == "cpu" and not compile:
        replace_prelu(model)
    if compile:
        compile_parts(model)
        if device.type == "cuda":
            compile_whole(model)
    return model


def widen(model: Network, multiple: int = 8) -> None:
    """Fill up every convolution's channels to a multiple with weights of zero: matrix units want that.

    What feeds those convolutions fills up with zeros too (`model.layout.joined`), and what comes of them is cut.
    """
    if model.settings["channels"] % multiple:
        return  # the layers between would have to be filled up as well
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            assert conv.bias is not None  # folding has given it one
            inputs, outputs = -conv.in_channels % multiple, -conv.out_channels % multiple
            conv.weight = nn.Parameter(F.pad(conv.weight, (0, 0, 0, 0, 0, inputs, 0, outputs)), requires_grad=False)
            conv.bias = nn.Parameter(F.pad(conv.bias, (0, outputs)), requires_grad=False)
            conv.in_channels, conv.out_channels = conv.in_channels + inputs, conv.out_channels + outputs


def make_deterministic() -> None:
    """The same gradients in each run on the same GPU: for this process, before anything is computed on it.

    It costs speed. On a CPU they are the same anyway.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)  # warping looks at this: `grid_sample` has no such gradient
    torch.backends.cudnn.benchmark = False


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
            last, beta = block.conv[-1], block.beta
            assert isinstance(last, nn.Conv2d) and last.bias is not None and beta is not None
            last.weight.mul_(beta.view(-1, 1, 1, 1))
            last.bias.mul_(beta.flatten())
            block.beta = None


class MaximumPReLU(nn.Module):
    """PReLU as max(x, slope * x): the same where no slope is above 1, and twice as fast on a CPU in bf16."""

    slopes: torch.Tensor

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
