"""Float models of all three formats go the whole way through our own quantizer to an emulated board."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tinyopt.board import load_board
from tinyopt.data import Samples, load_samples
from tinyopt.graph import Graph
from tinyopt.importers import load
from tinyopt.pipeline import reference_outputs, run_on_board
from tinyopt.quantize import quantize
from tinyopt.report import predictions

pytestmark = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="needs qemu-system-arm and arm-none-eabi-gcc",
)

OFFICIAL = {
    "kws": "kws_ref_model_float32.tflite",
    "vww": "vww_96_float.tflite",
    "ic": "pretrainedResnet.tflite",
    "ad": "ad01_fp32.tflite",
}


class Block(nn.Module):
    """Two convolutions with batch norm, and a residual link."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.body(x)).relu()


def network() -> nn.Sequential:
    """Fourteen layers with weights, four residual links, batch norms with statistics as after training."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        Block(8),
        Block(8),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        Block(16),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        Block(24),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 10),
    )
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.2, 0.2)
                layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


def as_onnx(module: nn.Sequential) -> bytes:
    """The same network as an ONNX file, node by node."""
    nodes, weights = [], []

    def add(kind: str, inputs: list[str], tensors: dict[str, torch.Tensor], **attributes: object) -> str:
        output = f"n{len(nodes)}"
        names = []
        for key, tensor in tensors.items():
            names.append(f"{output}_{key}")
            weights.append(numpy_helper.from_array(tensor.detach().numpy(), names[-1]))
        nodes.append(helper.make_node(kind, [*inputs, *names], [output], **attributes))
        return output

    def convert(layer: nn.Module, x: str) -> str:
        if isinstance(layer, nn.Conv2d):
            tensors = {"w": layer.weight} | ({} if layer.bias is None else {"b": layer.bias})
            return add("Conv", [x], tensors, pads=[layer.padding[0]] * 4, strides=list(layer.stride))
        if isinstance(layer, nn.BatchNorm2d):
            tensors = {"g": layer.weight, "b": layer.bias, "m": layer.running_mean, "v": layer.running_var}
            return add("BatchNormalization", [x], tensors, epsilon=layer.eps)
        if isinstance(layer, nn.ReLU):
            return add("Relu", [x], {})
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            return add("GlobalAveragePool", [x], {})
        if isinstance(layer, nn.Flatten):
            return add("Flatten", [x], {}, axis=1)
        if isinstance(layer, nn.Linear):
            return add("Gemm", [x], {"w": layer.weight, "b": layer.bias}, transB=1)
        y = x
        for inner in layer.body if isinstance(layer, Block) else layer:
            y = convert(inner, y)
        return add("Relu", [add("Add", [x, y], {})], {}) if isinstance(layer, Block) else y

    output = convert(module, "image")
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 10])],
        weights,
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def whole_way(graph: Graph, calibration: Samples, test: Samples) -> tuple[float, float]:
    """Quantize, run on the emulated M4; (agreement of predictions with the float model, signal to noise in dB)."""
    quantized = quantize(graph, calibration)
    assert quantized.is_quantized
    samples = Samples.from_array(test.inputs[graph.inputs[0]], quantized)
    result = run_on_board(quantized, load_board("mps2_an386"), samples)
    assert (result.report.mismatches, result.report.exact) == (0, True)
    floats = [sample[0] for sample in reference_outputs(graph, test)]
    tensor = quantized.tensors[quantized.outputs[0]]
    assert tensor.quantization is not None
    got = tensor.quantization.dequantize(np.stack([sample[0] for sample in result.outputs]))
    wanted = np.stack(floats).reshape(got.shape)
    noise = float(np.square(got - wanted).sum())
    same = predictions(floats, graph.tensors[graph.outputs[0]]) == predictions(
        [sample[0] for sample in result.outputs], tensor
    )
    return float(same.mean()), 10 * float(np.log10(np.square(wanted).sum() / noise))


def images(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 3, 4, 4)).astype(np.float32)
    return coarse.repeat(4, axis=2).repeat(4, axis=3) + 0.2 * rng.normal(size=(count, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("form", ["pytorch", "onnx"])
def test_a_residual_network_of_fourteen_layers(form: str) -> None:
    module = network()
    if form == "onnx":
        graph = load(as_onnx(module), name="residual")
    else:
        graph = load(module, example_inputs=torch.zeros(1, 3, 16, 16), name="residual")
    agreement, ratio = whole_way(
        graph, Samples.from_array(images(64, 1), graph), Samples.from_array(images(24, 2), graph)
    )
    assert agreement >= 0.9
    assert ratio > 25


@pytest.mark.data
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_float_version_of_an_official_model(mlperf: Path, name: str) -> None:
    graph = load(mlperf / OFFICIAL[name])
    agreement, ratio = whole_way(graph, load_samples("random:1:16", graph), load_samples("random:2:4", graph))
    assert ratio > 12
    assert name == "ad" or agreement >= 0.75  # an autoencoder predicts no class
