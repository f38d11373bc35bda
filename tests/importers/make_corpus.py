"""Write the corpus: tiny model files with every kind of operator, which the hostile-input tests damage.

python tests/importers/make_corpus.py
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.lstm import float_lstm, lstm_s8
from support.tflite_file import FileSubgraph, serialise
from support.tflite_writer import write_tflite
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

CORPUS = Path(__file__).parent / "corpus"
Q = Quantization.per_tensor


def convolutions(quantized: bool) -> Graph:
    """Convolution, depthwise, transposed convolution, addition, pooling, dense layer and softmax."""
    random = np.random.default_rng(1)
    dtype, q = (DType.INT8, Q(0.1, 3)) if quantized else (DType.FLOAT32, None)
    b = GraphBuilder("convolutions")

    def weights(name: str, shape: tuple[int, ...], axis: int) -> list[str]:
        count = shape[axis]
        if not quantized:
            values = random.normal(size=shape).astype(np.float32)
            return [b.constant(name, values), b.constant(f"{name}/bias", np.ones(count, np.float32))]
        scales = random.random(count) * 0.01 + 0.001
        return [
            b.constant(name, random.integers(-127, 128, shape).astype(np.int8), Quantization.per_channel(scales, axis)),
            b.constant(
                f"{name}/bias",
                random.integers(-99, 99, count).astype(np.int32),
                Quantization.per_channel(scales * 0.1, 0),
            ),
        ]

    x = b.input("x", (1, 5, 5, 2), dtype, q)
    same = ops.Padding(1, 1, 1, 1)
    a = b.add(ops.Conv2d(padding=same, activation=ops.RELU), [x, *weights("c", (4, 3, 3, 2), 0)], quantization=q)
    d = b.add(ops.DepthwiseConv2d(padding=same), [a, *weights("d", (1, 3, 3, 4), 3)], quantization=q)
    s = b.add(ops.Binary(ops.BinaryKind.ADD), [a, d], quantization=q)
    t = b.add(ops.TransposeConv2d(stride=(2, 2)), [s, *weights("t", (2, 2, 2, 4), 0)], quantization=q)
    p = b.add(ops.AveragePool2d((2, 2), (2, 2)), [t], quantization=q)
    r = b.add(ops.Reshape((1, 50)), [p], quantization=q)
    f = b.add(ops.FullyConnected(), [r, *weights("f", (3, 50), 0)], quantization=q)
    b.output(b.add(ops.Softmax(), [f], quantization=Q(1 / 256, -128) if quantized else None))
    return b.build()


def movements() -> Graph:
    """Data movement, resizing, reductions and activations in float32."""
    b = GraphBuilder("movements")
    x = b.input("x", (1, 4, 6, 2), DType.FLOAT32)
    left, right = b.add_multi(ops.Split(3, (1, 1)), [x])
    joined = b.add(ops.Concat(3), [right, left])
    padded = b.add(ops.Pad((0, 1, 0, 0), (0, 0, 2, 0), value=0.5), [joined])
    mirrored = b.add(ops.Pad((0, 1, 1, 0), (0, 0, 2, 0), ops.PadMode.REFLECT), [padded])
    part = b.add(ops.Slice((0, 5, 0, 0), (1, 3, 8, 2), (1, -2, 1, 1)), [mirrored])
    turned = b.add(ops.Transpose((0, 2, 1, 3)), [part])
    resized = b.add(ops.Resize2d((4, 5), ops.ResizeMethod.BILINEAR, half_pixel_centers=True), [turned])
    taken = b.add(ops.Gather(1), [resized, b.constant("order", np.array([3, 0], np.int32))])
    wide = b.add(ops.BroadcastTo((2, 2, 5, 2)), [taken])
    alpha = b.constant("alpha", np.array([0.1, 0.2], np.float32))
    curve = b.add(ops.Unary(ops.UnaryKind.LEAKY_RELU, 0.3), [b.add(ops.Prelu(), [wide, alpha])])
    mean = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2), True), [curve])
    q = b.add(ops.Quantize(), [mean], dtype=DType.INT8, quantization=Q(0.1, 0))
    b.output(b.add(ops.Dequantize(), [q]))
    b.output(b.add(ops.ArgMax(3), [curve]))
    b.output(b.add(ops.MatMul(transpose_b=True), [curve, curve]))
    return b.build()


def streaming() -> Graph:
    """A state that is shifted: the pattern of the wake-word models."""
    q = Q(0.1, -128)
    b = GraphBuilder("streaming")
    x = b.input("x", (1, 1, 1, 4), DType.INT8, q)
    kept = b.state("kept", np.full((1, 2, 1, 4), -128, np.int8), q)
    joined = b.add(ops.Concat(1), [kept, x], quantization=q)
    b.assign("kept", b.add(ops.Slice((0, 1, 0, 0), (1, 2, 1, 4), (1, 1, 1, 1)), [joined], quantization=q))
    w = b.constant("w", np.arange(12, dtype=np.int8).reshape(1, 3, 1, 4), Q(0.01))
    y = b.add(ops.DepthwiseConv2d(), [joined, w], quantization=q)
    b.output(b.add(ops.Quantize(), [y], dtype=DType.UINT8, quantization=Q(0.1, 0)))
    return b.build()


def sizes() -> bytes:
    """Arithmetic on sizes, strided slices with masks, packing, float16 constants."""
    file = FileSubgraph()
    x = file.add("x", (1, 2, 3), "float32", shape_signature=(-1, 2, 3))
    shape = file.add("shape", (3,), "int32")
    file.operator("SHAPE", [x], [shape], "ShapeOptions", out_type=2)
    limits = [file.constant(n, np.array([v], np.int32)) for n, v in (("b", 0), ("e", 1), ("s", 1))]
    batch = file.add("batch", (), "int32")
    file.operator("STRIDED_SLICE", [shape, *limits], [batch], "StridedSliceOptions", shrink_axis_mask=1)
    rest = file.constant("rest", np.array(-1, np.int32))
    target = file.add("target", (2,), "int32")
    file.operator("PACK", [batch, rest], [target], "PackOptions", values_count=2, axis=0)
    flat = file.add("flat", (1, 1), "float32", shape_signature=(-1, -1))
    file.operator("RESHAPE", [x, target], [flat], "ReshapeOptions", new_shape=[-1, 6])
    half, full = file.constant("half", np.ones((1, 6), np.float16)), file.add("full", (1, 6), "float32")
    file.operator("DEQUANTIZE", [half], [full])
    y = file.add("y", (1, 6), "float32")
    file.operator("MUL", [flat, full], [y], "MulOptions", fused_activation_function=1)
    parts = [file.add(f"part{i}", (1,), "float32") for i in range(6)]
    file.operator("UNPACK", [y], parts, "UnpackOptions", num=6, axis=1)
    file.inputs, file.outputs = [x], [y, *parts]
    return serialise([file], metadata={"min_runtime_version": b"2.3.0"})


def tflite_files() -> Iterator[tuple[str, bytes]]:
    yield "convolutions_f32", write_tflite(convolutions(False))
    yield "convolutions_s8", write_tflite(convolutions(True))
    yield "movements", write_tflite(movements())
    yield "streaming", write_tflite(streaming())
    yield "sizes", sizes()
    yield "lstm_f32", write_tflite(float_lstm())
    yield "lstm_s8", write_tflite(lstm_s8(0, keep=False))


def onnx_file(name: str, nodes: list[Any], constants: dict[str, Any], shape: list[int], out: list[int]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def onnx_files() -> Iterator[tuple[str, bytes]]:
    from onnx.helper import make_node

    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    nodes = [
        make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        make_node("BatchNormalization", ["c", "gamma", "b", "b", "variance"], ["n"]),
        make_node("Relu", ["n"], ["r"]),
        make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
        make_node("Concat", ["p", "p"], ["k"], axis=1),
        make_node("Resize", ["k", "", "scales"], ["u"], mode="nearest"),
        make_node("Pad", ["u", "pads"], ["z"]),
        make_node("Slice", ["z", "begin", "end", "axes"], ["l"]),
        make_node("Flatten", ["l"], ["f"]),
        make_node("Shape", ["f"], ["shape"]),
        make_node("Reshape", ["f", "shape"], ["h"]),
        make_node("Gemm", ["h", "g"], ["e"], transB=1),
        make_node("Softmax", ["e"], ["y"]),
    ]
    constants: dict[str, Any] = {
        "w": normal(4, 2, 3, 3),
        "b": normal(4),
        "gamma": normal(4),
        "variance": normal(4) ** 2,
        "scales": np.array([1, 1, 2, 2], np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "begin": np.array([0]),
        "end": np.array([3]),
        "axes": np.array([2]),
        "g": normal(3, 8 * 3 * 7),
    }
    yield "image", onnx_file("image", nodes, constants, [1, 2, 7, 7], [1, 3])
    nodes = [
        make_node("LSTM", ["x", "W", "R", "B"], ["s", "h", "c"], hidden_size=3),
        make_node("Squeeze", ["s", "one"], ["q"]),
        make_node("GRU", ["q", "W2", "R2"], ["t"], hidden_size=2, linear_before_reset=1),
        make_node("Squeeze", ["t", "one"], ["y"]),
    ]
    constants = {"W": normal(1, 12, 2), "R": normal(1, 12, 3), "B": normal(1, 24), "one": np.array([1])}
    constants |= {"W2": normal(1, 6, 3), "R2": normal(1, 6, 2)}
    yield "recurrent", onnx_file("recurrent", nodes, constants, [4, 1, 2], [4, 1, 2])
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xf"]),
        make_node("DequantizeLinear", ["w", "scales", "zeros"], ["wf"], axis=0),
        make_node("Conv", ["xf", "wf"], ["c"]),
        make_node("QuantizeLinear", ["c", "scale", "zero"], ["cq"]),
        make_node("DequantizeLinear", ["cq", "scale", "zero"], ["y"]),
    ]
    constants = {
        "scale": np.float32(0.1),
        "zero": np.uint8(120),
        "w": random.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8),
        "scales": np.array([0.1, 0.2, 0.3], np.float32),
        "zeros": np.zeros(3, np.int8),
    }
    yield "quantized", onnx_file("quantized", nodes, constants, [1, 2, 3, 3], [1, 3, 3, 3])


def pt2_file() -> bytes:
    """A PyTorch export. Not kept among the files: its format is the installed PyTorch's own."""
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 9, 3),
    ).eval()
    target = io.BytesIO()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 2, 6, 6),)), target)
    return target.getvalue()


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for suffix, files in (("tflite", tflite_files()), ("onnx", onnx_files())):
        for name, data in files:
            (CORPUS / f"{name}.{suffix}").write_bytes(data)
            print(f"{name}.{suffix}: {len(data)} bytes")


if __name__ == "__main__":
    main()
