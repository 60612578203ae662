"""torch.compile for the networks: few graphs, none of which breaks, and a word where anything is left out."""
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

from common.errors import UserError
from model.aggregation import AggregationBlock
from model.network import Network, Prediction
from model.routing import Routing

MOST_SIZES = 16  # that a part is compiled for: each takes from seconds to a minute


def compile_parts(model: Network) -> None:
    """Compile, in place, the parts that do nearly all the work: each block at each scale, and `Network.parts`.

    Scales are chosen between the parts, so none of them breaks in two. Blocks of one shape share what was compiled.
    """
    # PyTorch counts the graphs of all modules of a class together and would give up at 8; `Compiled` limits them.
    config: Any = torch._dynamo.config
    config.cache_size_limit = config.accumulated_cache_size_limit = 4096
    flow: Any = model.flow
    for block in flow.blocks:
        for name in ("at_scale", "mix") if isinstance(block, AggregationBlock) else ("forward",):
            setattr(block, name, Compiled(getattr(block, name)))
    for part in (model.get_submodule(name) for name in model.parts):
        part.forward = Compiled(part.forward)


def compile_whole(model: Network) -> None:
    """Let `interpolate`, and `restore` where it computes anything, run as one CUDA graph each, in place, where no
    selector decides: `WholeCall`."""
    model.interpolate = WholeCall(model.interpolate, model.scales_at)  # type: ignore[method-assign,assignment]
    if model.restores:
        model.restore = WholeCall(model.restore, model.scales_at)  # type: ignore[method-assign,assignment]


class Compiled:
    """A function of tensors whose first dimension is a number of samples, compiled for each size that it meets.

    Height, width and whatever is no tensor are fixed in a graph. The number of samples is not: one graph serves a
    single sample, another any other number, so it does not matter how many timesteps a pair has, or how many samples a
    selector sends to a scale.

    Args:
        options: of `torch.compile`.

    Raises:
        UserError: when it is called and PyTorch's compiler fails.
    """

    def __init__(self, function: Callable, **options):
        self.function = function
        # fullgraph: an error where a graph would break. dynamic=False: after a first change of height or width PyTorch
        # would take both for unknown numbers, which its compiler fails at.
        self._compiled = torch.compile(function, fullgraph=True, dynamic=False, **options)
        self._sizes: set[tuple] = set()

    def __call__(self, *arguments: Any) -> Any:
        if torch.compiler.is_compiling():  # as a part of something larger
            return self.function(*arguments)
        leaves = tree_leaves(arguments)
        size = tuple(leaf.shape[2:] if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)
        if size not in self._sizes:
            if len(self._sizes) == MOST_SIZES:
                return self.function(*arguments)
            self._sizes.add(size)
            if len(self._sizes) == MOST_SIZES:
                tqdm.write(f"--compile: this is the {MOST_SIZES}th size of frames; further ones are not compiled",
                           file=sys.stderr)
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                torch._dynamo.maybe_mark_dynamic(leaf, 0)
        try:
            return self._compiled(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
            raise UserError(f"torch.compile failed, so do without --compile: {reason}") from error


class WholeCall:
    """`interpolate` or `restore` of a network as one graph where all scales are known beforehand, else as it was.

    With nothing to decide on the way, a GPU can be given the whole call at once, as a CUDA graph, in place of hundreds
    of kernels; for the small ones of a network that only works at 1/4, starting them is most of the time.
    """

    def __init__(self, by_parts: Callable[..., Prediction], scales_at: Callable[[int], list[int]]):
        self._by_parts, self._scales_at = by_parts, scales_at
        self._whole = Compiled(self._frames_flow_mask, mode="reduce-overhead")

    def _frames_flow_mask(self, *inputs: Any) -> tuple:
        *tensors, scale = inputs
        return self._by_parts(*tensors, Routing(scale=scale))[:3]

    def __call__(self, *inputs: Any) -> Prediction:
        """As the network's own: tensors and, last, a `Routing`."""
        *tensors, routing = inputs
        scale = routing.given(0)
        if not isinstance(scale, int):
            return self._by_parts(*tensors, routing)
        for tensor in tensors:
            if tensor.dim() == 2:  # timesteps, as many as there are
                torch._dynamo.maybe_mark_dynamic(tensor, 1)
        # Copies: the next run of a CUDA graph overwrites what this one gave.
        frames, flow, mask = (part.clone() for part in self._whole(*tensors, scale))
        # Not from the graph: these live on the CPU, and a CUDA graph is all on the GPU.
        scales = [torch.full((len(frames),), scale_of_block) for scale_of_block in self._scales_at(scale)]
        return Prediction(frames, flow, mask, scales)
