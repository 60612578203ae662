"""The networks as ONNX files, for ONNX Runtime, TensorRT and whatever else reads them (docs/export.md).

    python3 -m model.export --model small out.onnx
    python3 -m model.export --model full --scale 4 out.onnx     # every block at a quarter: the fastest

Inputs: `frame0` and `frame1`, (1, 3, height, width) float32 in [0, 1], BGR; `timesteps`, (T,) float32 in [0, 1].
Output: `frames`, (T, 3, 4 * height, 4 * width), as the frames that went in. Height, width and T are free; the file's
metadata says which numbers height and width must be multiples of.
"""
import argparse
import json
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common import cli
from common.files import atomic_path
from common.optional import optional
from model.checkpoint import load_model, weights_hash
from model.network import UPSCALE, Network
from model.prepare import prepare_for_inference
from model.routing import SCALES, Routing

OPSET = 20  # the first whose GridSample is defined for both kinds of names; read by ONNX Runtime 1.17 and TensorRT 10
INSTALL = "-r requirements-export.txt"
TOLERANCE = 1e-4  # of values in [0, 1]: what is left between two libraries' float32


def size_multiple(network: Network) -> int:
    """What the low-resolution height and width must be multiples of, so that nothing has to be padded."""
    return network.multiple // math.gcd(network.multiple, UPSCALE // network.factor)


class ExportedNetwork(nn.Module):
    """What the file holds: the network with every block at one scale, of sizes that need no padding."""

    def __init__(self, network: Network, scale: int):
        super().__init__()
        self.network, self.routing = network, Routing(scale=scale)

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        size = (UPSCALE * frame0.shape[2], UPSCALE * frame0.shape[3])
        working = self.network.working_frames(torch.cat((frame0, frame1)), size)
        return self.network.predict(working, timesteps[None], self.routing).frames


def export_onnx(network: Network, path: str | Path, scale: int = 2) -> float:
    """Write the network to an ONNX file, which appears when ONNX Runtime has been seen to agree with PyTorch.

    Args:
        network: as `load_model` gives it; it stays as it is.
        scale: of `SCALES`: the processing scale of every block, whatever the frames.

    Returns:
        The largest difference between ONNX Runtime's and PyTorch's frames, of values in [0, 1].

    Raises:
        UserError: a package is missing, or the file cannot be written.
        RuntimeError: the two libraries differ by more than `TOLERANCE`.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        optional(package, INSTALL)
    multiple = size_multiple(network)
    exported = ExportedNetwork(prepare_for_inference(network, torch.device("cpu"), "fp32"), scale).eval()
    model = _converted(exported, multiple)
    about = {"network": network.name, "settings": json.dumps(network.settings), "weights_sha256": weights_hash(network),
             "routing_scale": scale, "upscale": UPSCALE, "multiple": multiple, "channels": "BGR", "range": "0..1",
             "inputs": "frame0, frame1: (1, 3, height, width) float32 in 0..1, BGR, height and width multiples of "
                       f"{multiple}; timesteps: (T,) float32 in 0..1",
             "outputs": f"frames: (T, 3, {UPSCALE}*height, {UPSCALE}*width) float32 in 0..1, BGR"}
    for key, value in about.items():
        model.metadata_props.add(key=key, value=str(value))
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        optional("onnx", INSTALL).checker.check_model(str(temporary), full_check=True)
        difference = _difference(exported, temporary, multiple)
        if not difference <= TOLERANCE:
            raise RuntimeError(f"ONNX Runtime's frames differ from PyTorch's by {difference:.2g}")
    return difference


def random_inputs(height: int, width: int, timesteps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the file by name: smooth moving noise of that size, and evenly spaced timesteps."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((2, 1, 3, -(-height // 4) + 1, -(-width // 4) + 1), np.float32)
    frames = coarse.repeat(4, 3).repeat(4, 4)[..., :height, :width]
    return {"frame0": frames[0], "frame1": frames[1], "timesteps": np.linspace(0, 1, timesteps, dtype=np.float32)}


def _converted(exported: ExportedNetwork, multiple: int) -> Any:
    """The ONNX model, an `onnx.ModelProto`, of names that say what they are and without traces of this machine."""
    inputs = {name: torch.from_numpy(value) for name, value in random_inputs(6 * multiple, 8 * multiple, 3).items()}
    height, width = (multiple * torch.export.Dim(name) for name in ("height", "width"))
    sizes = {2: height, 3: width}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the names of dimensions, which are given below
        logging.getLogger("onnxscript").setLevel(logging.ERROR)  # what it could not fold
        program = torch.onnx.export(exported, tuple(inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
                                    dynamic_shapes=(sizes, sizes, {0: torch.export.Dim("timesteps")}),
                                    input_names=list(inputs), output_names=["frames"], external_data=False)
    assert program is not None  # as dynamo=True gives one
    model = program.model_proto
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    names = {"frame0": (1, 3, "height", "width"), "frame1": (1, 3, "height", "width"), "timesteps": ("timesteps",),
             "frames": ("timesteps", 3, f"{UPSCALE}*height", f"{UPSCALE}*width")}
    for value in [*model.graph.input, *model.graph.output]:
        for dimension, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if isinstance(name, str):
                dimension.dim_param = name
    return model


def _difference(exported: ExportedNetwork, path: Path, multiple: int) -> float:
    """The largest difference between both libraries' frames, of another size and number than was traced."""
    inputs = random_inputs(7 * multiple, 5 * multiple, 2, seed=1)
    session = optional("onnxruntime", INSTALL).InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = exported(*map(torch.from_numpy, inputs.values())).numpy()
    return float(np.abs(session.run(None, inputs)[0] - expected).max())


def parse_arguments() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("output", type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--model", metavar="NAME|PATH", help="weights, as for the other scripts: small, full, a "
                        ".safetensors, the official flownet.pkl or a folder holding one (default: the default weights)")
    parser.add_argument("--scale", type=int, choices=SCALES, default=2,
                        help="processing scale of every block, in place of the selector's choice: 1 = full, 2 = half, "
                        "4 = a quarter; larger is faster, docs/export.md says what it costs (default 2)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    network = load_model(args.model)
    print(f"exporting {network.name}, about a minute ...", flush=True)
    difference = export_onnx(network, args.output, args.scale)
    print(f"Wrote {args.output}: {args.output.stat().st_size / 1e6:.1f} MB, opset {OPSET}, every block at scale "
          f"1/{args.scale}, sizes in multiples of {size_multiple(network)}; ONNX Runtime agrees to {difference:.1e}")


if __name__ == "__main__":
    cli.run(main)
