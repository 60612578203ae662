"""One description of an inference: its options on the command line, their checks, and what identifies its results."""
import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from common.errors import UserError
from model.routing import SCALES

if TYPE_CHECKING:
    from model.predictor import Predictor

SMALLEST_TILE = 256  # output pixels


@dataclasses.dataclass(frozen=True)
class InferenceSettings:
    """How frames are computed, whatever frames they are: for a pair, a video, a benchmark.

    Attributes:
        model: weights: a path, or the name of weights that come with the project ("small", "full"); None: the default.
        device: "cpu", "cuda:1", ...; None: a GPU if there is one.
        precision: "fp32", "bf16", "fp16"; "auto": fp32 on a CPU, half precision on a GPU.
        tile: side in output pixels of the tiles that large frames are worked on in; 0 or None: no tiles; "auto": by
            the size of the frames.
        scale_cap: 2 or 4 forbid the processing scales finer than a half or a quarter: faster, less exact.
        compile: compile the network with torch.compile: faster, but slow to start.

    Raises:
        UserError: a value that cannot be.
    """

    model: str | Path | None = None
    device: str | None = None
    precision: str = "auto"
    tile: int | str | None = "auto"
    scale_cap: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        if self.scale_cap not in SCALES:
            raise UserError(f"scale_cap {self.scale_cap} is not 1, 2 or 4")
        if not (self.tile in (None, "auto", 0) or isinstance(self.tile, int) and self.tile >= SMALLEST_TILE):
            raise UserError(f"tile {self.tile!r} is not 'auto', 0 or a whole number of at least {SMALLEST_TILE} pixels")

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, local_rank: int | None = None) -> "InferenceSettings":
        """What the options of `add_inference_arguments` say.

        `local_rank`: this process's number on its machine, where several share the work: each takes a GPU of its own.
        """
        device = args.device
        if device is None and local_rank is not None and torch.cuda.is_available():
            device = f"cuda:{local_rank % torch.cuda.device_count()}"
        return cls(args.model, device, args.precision, args.tile, args.scale_cap, args.compile)

    def predictor(self) -> "Predictor":
        """The predictor these settings describe. Raises UserError if the weights or the device cannot be used."""
        from model.checkpoint import load_model
        from model.predictor import Predictor
        return Predictor(load_model(self.model), settings=self)


def tile_size(text: str) -> int | str:
    """argparse type of `--tile`, whose values `InferenceSettings` checks."""
    return text if text == "auto" else int(text)


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `InferenceSettings.from_arguments` reads."""
    group = parser.add_argument_group("network")
    group.add_argument("--model", metavar="NAME|PATH", help="weights: small or full, which come with the project; or a "
                       ".safetensors, the official flownet.pkl, or a folder holding one (default: the default weights)")
    group.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto",
                       help="arithmetic (default auto: fp32 on a CPU, half precision on a GPU)")
    group.add_argument("--fp16", dest="precision", action="store_const", const="fp16",
                       help="short for --precision fp16")
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: a GPU if there is one)")
    group.add_argument("--tile", type=tile_size, default="auto", metavar="N",
                       help="side of the tiles large frames are cut into, in output pixels; 0 = never "
                       "(default auto: by the frame's size)")
    group.add_argument("--scale_cap", type=int, choices=SCALES, default=1,
                       help="finest processing scale the network may choose: 1 = any, 2 = at most half, "
                       "4 = a quarter only; larger is faster (default 1)")
    group.add_argument("--compile", action="store_true",
                       help="compile the network first: faster for long jobs, slower to start")
