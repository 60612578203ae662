"""ONNX files: ONNX Runtime alone gives the network's frames, at sizes and numbers of timesteps never traced."""
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TINY

from common.errors import UserError
from model import create_network, export, load_model
from model.checkpoint import save_model
from model.network import upsample_by_convolution
from model.routing import Routing

NETWORKS = {"safa": {"channels": 16, "blocks": 1}, "safa_small": TINY}
# What the file may use: in TensorRT's list of supported operators (docs/export.md), whose Resize is not bicubic.
IN_TENSORRT = {"Add", "And", "AveragePool", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
               "DepthToSpace", "Div", "Equal", "Expand", "Floor", "Gather", "GlobalAveragePool", "GridSample",
               "Identity", "LeakyRelu", "Less", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "PRelu", "Pad",
               "Pow", "Range", "Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "ScatterND",
               "Shape", "Sigmoid", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"}


def random_network(name):
    """Small, and with flow, mask and residual large enough to be seen."""
    torch.manual_seed(0)
    network = create_network(name, **NETWORKS[name]).eval()
    for parameter_name, parameter in network.named_parameters():
        if "beta" in parameter_name or "to_flow" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    """A network and its file, written by the command."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("onnx")
    save_model(random_network(request.param), folder / "random.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["model.export", "--model", str(folder / "random.safetensors"), "--scale", "4",
                                    str(folder / "out.onnx")])
        export.main()
    return load_model(folder / "random.safetensors"), folder / "out.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("height,width,number", [(16, 40, 1), (36, 20, 2), (28, 52, 5)])
def test_onnx_runtime_gives_the_networks_frames(exported, height, width, number):
    import onnxruntime
    network, path = exported
    rng = np.random.default_rng(height)
    frames = np.float32(rng.random((2, 1, 3, height, width)))
    timesteps = np.float32(rng.random(number))
    found, = onnxruntime.InferenceSession(path).run(
        ["frames"], {"frame0": frames[0], "frame1": frames[1], "timesteps": timesteps})
    with torch.no_grad():
        prediction = network(*map(torch.from_numpy, frames), torch.from_numpy(timesteps)[None], Routing(scale=4))
    assert found.shape == (number, 3, 4 * height, 4 * width) and prediction.flow.abs().max() > 1
    np.testing.assert_allclose(found, prediction.frames, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_file_says_what_it_takes_and_holds_what_tensorrt_reads(exported):
    import onnx
    import onnxruntime
    network, path = exported
    session = onnxruntime.InferenceSession(path)
    about = session.get_modelmeta().custom_metadata_map
    assert about["network"] == network.name and about["routing_scale"] == "4" and about["upscale"] == "4"
    assert about["range"] == "0..1" and about["channels"] == "BGR"
    assert {value.name: value.shape for value in session.get_inputs()} == {
        "frame0": [1, 3, "height", "width"], "frame1": [1, 3, "height", "width"], "timesteps": ["timesteps"]}
    assert [(value.name, value.shape) for value in session.get_outputs()] == [
        ("frames", ["timesteps", 3, "4*height", "4*width"])]
    multiple = int(about["multiple"])  # large enough: the network pads nothing at these sizes
    frame = torch.zeros(1, 3, 3 * multiple, 5 * multiple)
    working = network.working_frames(frame, (12 * multiple, 20 * multiple))
    assert network.padded(working).shape == working.shape
    nodes = onnx.load(path).graph.node
    assert {node.op_type for node in nodes} <= IN_TENSORRT
    modes = {attribute.s for node in nodes if node.op_type == "Resize" for attribute in node.attribute
             if attribute.name == "mode"}
    assert modes <= {b"linear", b"nearest"}
    assert b"/" + b"model/" not in path.read_bytes(), "the file speaks of the folders it was made in"


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_upsampling_by_convolution_is_bicubic_interpolation(factor):
    frames = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(frames, scale_factor=factor, mode="bicubic", align_corners=False)
    torch.testing.assert_close(upsample_by_convolution(frames, factor), expected, rtol=0, atol=2e-6)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="onnx.*requirements-export.txt"):
        export.export_onnx(random_network("safa"), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())
