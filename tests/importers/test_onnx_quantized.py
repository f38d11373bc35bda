"""Quantized ONNX models (QDQ and QLinear) become int8 graphs that agree with onnxruntime within a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyopt.errors import UnsupportedOperatorsError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph
from tinyopt.importers.onnx import import_onnx

runtime = pytest.importorskip("onnxruntime")
N = helper.make_node
FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def model(
    nodes: list[Any], constants: dict[str, Any], x: tuple[int, list[int]], y: int = FLOAT, *, opset: int = 17
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", y, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def session(data: bytes) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


def float_network() -> bytes:
    nodes = [
        N("Conv", ["x", "w0", "b0"], ["a"], pads=[1, 1, 1, 1]),
        N("Relu", ["a"], ["b"]),
        N("Conv", ["b", "w1", "b1"], ["c"], pads=[1, 1, 1, 1], group=4),
        N("Clip", ["c", "zero", "six"], ["d"]),
        N("Add", ["d", "b"], ["e"]),
        N("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        N("AveragePool", ["f"], ["g"], kernel_shape=[2, 2]),
        N("Sigmoid", ["g"], ["h"]),
        N("Mul", ["g", "h"], ["i"]),
        N("Concat", ["i", "g"], ["j"], axis=1),
        N("Flatten", ["j"], ["k"]),
        N("Gemm", ["k", "w2", "b2"], ["y"], transB=1),
    ]
    constants = {
        "w0": floats(4, 3, 3, 3) * 0.3, "b0": floats(4), "w1": floats(4, 1, 3, 3) * 0.5, "b1": floats(4, seed=1),
        "zero": np.float32(0), "six": np.float32(6), "w2": floats(5, 72) * 0.3, "b2": floats(5),
    }  # fmt: skip
    return model(nodes, constants, (FLOAT, [1, 3, 8, 8]))


def quantized_network(folder: Path, *, qdq: bool, unsigned: bool, per_channel: bool) -> bytes:
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.seeds = iter(range(16))

        def get_next(self) -> dict[str, Any] | None:
            seed = next(self.seeds, None)
            return None if seed is None else {"x": floats(1, 3, 8, 8, seed=seed)}

    source, target = folder / "float.onnx", folder / "quantized.onnx"
    source.write_bytes(float_network())
    quantization.quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ if qdq else quantization.QuantFormat.QOperator,
        activation_type=quantization.QuantType.QUInt8 if unsigned else quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=per_channel,
    )
    return target.read_bytes()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("qdq", [False, True])
def test_a_quantized_network_is_int8_throughout_and_agrees(
    tmp_path: Path, qdq: bool, unsigned: bool, per_channel: bool
) -> None:
    data = quantized_network(tmp_path, qdq=qdq, unsigned=unsigned, per_channel=per_channel)
    graph = import_onnx(data)
    inner = [t for o in graph.operators[1:-1] for t in graph.outs(o)]
    assert kinds(graph)[0] in ("Transpose", "Quantize") and kinds(graph)[-1] == "Dequantize"
    assert all(t.dtype is DType.INT8 for t in inner), graph
    reference, executor = session(data), Executor(graph)
    scale = graph.ins(graph.operators[-1])[0].scale
    steps = []
    for seed in range(20, 60):
        x = floats(1, 3, 8, 8, seed=seed)
        (expected,) = reference.run(None, {"x": x})
        (result,) = executor({graph.inputs[0]: x}).values()
        steps.append(np.abs(result - expected) / scale)
    assert np.max(steps) <= 2.1 and np.mean(steps) < 0.4, (np.max(steps), np.mean(steps))


def qdq(name: str, scale: float, zero: Any, constants: dict[str, Any]) -> list[Any]:
    """A QuantizeLinear and DequantizeLinear pair after ``name``: the result is ``name_dq``."""
    constants[f"{name}_s"], constants[f"{name}_z"] = np.float32(scale), zero
    parameters = [f"{name}_s", f"{name}_z"]
    return [
        N("QuantizeLinear", [name, *parameters], [f"{name}_q"], name=f"{name}_q"),
        N("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_dq"], name=f"{name}_dq"),
    ]


def test_unsigned_activations_are_shifted_by_128() -> None:
    constants: dict[str, Any] = {}
    nodes = [
        *qdq("x", 0.02, np.uint8(100), constants),
        N("Relu", ["x_dq"], ["r"]),
        *qdq("r", 0.01, np.uint8(0), constants),
    ]
    nodes.append(N("Identity", ["r_dq"], ["y"]))
    data = model(nodes, constants, (FLOAT, [1, 12]))
    graph = import_onnx(data)
    made = [t.quantization for o in graph.operators for t in graph.outs(o) if t.quantization is not None]
    assert [q.zero_point for q in made] == [-28, -128]
    x = np.linspace(-3, 3, 12, dtype=np.float32)[None]
    (result,) = Executor(graph)({"x": x}).values()
    assert np.allclose(result, session(data).run(None, {"x": x})[0], atol=0.0101)


def test_unsigned_inputs_and_outputs_of_the_model_stay_unsigned() -> None:
    w = np.random.default_rng(0).integers(-127, 128, (3, 2, 1, 1)).astype(np.int8)
    constants = {
        "xs": np.float32(0.5), "xz": np.uint8(7), "w": w, "ws": np.array([0.1, 0.2, 0.3], np.float32),
        "wz": np.zeros(3, np.int8), "ys": np.float32(2.5), "yz": np.uint8(128), "b": np.array([5, -900, 77], np.int32),
    }  # fmt: skip
    node = N("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"])
    data = model([node], constants, (UINT8, [1, 2, 4, 4]), UINT8)
    graph = import_onnx(data, input_layout="nhwc", output_layout="nhwc")
    assert kinds(graph) == ["Quantize", "Conv2d", "Quantize"]
    assert graph.tensors["x"].dtype is DType.UINT8 and graph.tensors["y"].dtype is DType.UINT8
    x = np.random.default_rng(1).integers(0, 256, (1, 2, 4, 4)).astype(np.uint8)
    (result,) = Executor(graph)({"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}).values()
    expected = session(data).run(None, {"x": x})[0].transpose(0, 2, 3, 1)
    assert np.abs(result.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    "operator", ["QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool"]
)
def test_the_qlinear_operators_of_onnxruntime(operator: str) -> None:
    extra = operator in ("QLinearAdd", "QLinearMul")
    constants = {"s": np.float32(0.02), "z": np.int8(3), "os": np.float32(0.03), "oz": np.int8(-20)}
    operands = ["x", "s", "z", *(["x", "s", "z"] if extra else []), "os", "oz"]
    attributes = {"channels_last": 0} if operator.endswith("Pool") else {}
    node = N(operator, operands, ["y"], domain="com.microsoft", **attributes)
    data = model([node], constants, (INT8, [1, 2, 5, 3]), INT8)
    graph = import_onnx(data)
    assert all(t.dtype is DType.INT8 for o in graph.operators for t in graph.outs(o))
    x = np.random.default_rng(2).integers(-128, 128, (1, 2, 5, 3)).astype(np.int8)
    (result,) = Executor(graph)({"x": x}).values()
    assert np.abs(result.astype(int) - session(data).run(None, {"x": x})[0].astype(int)).max() <= 1


def test_moving_data_between_quantizations_stays_in_integers() -> None:
    constants: dict[str, Any] = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    nodes = [
        *qdq("x", 0.02, np.int8(5), constants),
        N("Transpose", ["x_dq"], ["t"], perm=[0, 1, 3, 2]),
        N("MaxPool", ["t"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        N("Pad", ["p", "pads"], ["m"]),
        *qdq("m", 0.02, np.int8(5), constants),
        N("Identity", ["m_dq"], ["y"]),
    ]
    data = model(nodes, constants, (FLOAT, [1, 2, 4, 6]))
    graph = import_onnx(data)
    assert kinds(graph).count("Quantize") == 1 and kinds(graph)[-1] == "Dequantize"
    x = floats(1, 2, 4, 6)
    (result,) = Executor(graph)({"x": x}).values()
    assert np.allclose(result, session(data).run(None, {"x": x})[0], atol=1e-6)


def test_an_operator_without_quantized_output_stays_float() -> None:
    constants: dict[str, Any] = {"w": floats(6, 3)}
    nodes = [*qdq("x", 0.02, np.int8(5), constants), *qdq("w", 0.02, np.int8(0), constants)]
    nodes.append(N("MatMul", ["x_dq", "w_dq"], ["y"]))
    data = model(nodes, constants, (FLOAT, [1, 6]))
    graph = import_onnx(data)
    assert kinds(graph) == ["Quantize", "Dequantize", "FullyConnected"]
    x = floats(1, 6)
    (result,) = Executor(graph)({"x": x}).values()
    assert np.allclose(result, session(data).run(None, {"x": x})[0], atol=1e-5)


def test_asymmetric_weights_stay_float_and_are_named() -> None:
    constants: dict[str, Any] = {"w": np.array([[1, 200], [3, 4]], np.uint8)}
    constants.update(ws=np.float32(0.1), wz=np.uint8(90))
    nodes = [*qdq("x", 0.02, np.int8(5), constants), N("DequantizeLinear", ["w", "ws", "wz"], ["wf"])]
    nodes += [N("Gemm", ["x_dq", "wf"], ["g"], name="dense"), *qdq("g", 0.3, np.int8(1), constants)]
    nodes.append(N("Identity", ["g_dq"], ["y"]))
    data = model(nodes, constants, (FLOAT, [1, 2]))
    graph = import_onnx(data)
    assert "dense" in graph.metadata["notes"] and "float32" in graph.metadata["notes"]
    x = floats(1, 2)
    (result,) = Executor(graph)({"x": x}).values()
    assert np.allclose(result, session(data).run(None, {"x": x})[0], atol=0.31)


def test_a_softmax_has_the_format_that_its_kernel_fixes() -> None:
    constants: dict[str, Any] = {}
    nodes = [*qdq("x", 0.05, np.int8(5), constants), N("Softmax", ["x_dq"], ["s"])]
    nodes += [*qdq("s", 1 / 255, np.int8(-128), constants), N("Identity", ["s_dq"], ["y"])]
    data = model(nodes, constants, (FLOAT, [1, 8]))
    graph = import_onnx(data)
    assert kinds(graph) == ["Quantize", "Softmax", "Quantize", "Dequantize"]
    x = floats(1, 8)
    (result,) = Executor(graph)({"x": x}).values()
    assert np.allclose(result, session(data).run(None, {"x": x})[0], atol=1.1 / 255)


def test_dynamic_quantization_is_reported() -> None:
    nodes = [
        N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="range"),
        N("MatMulInteger", ["q", "w", "z"], ["i"], name="product"),
        N("Cast", ["i"], ["y"], to=FLOAT),
    ]
    data = model(nodes, {"w": np.ones((4, 2), np.uint8)}, (FLOAT, [1, 4]))
    with pytest.raises(UnsupportedOperatorsError) as caught:
        import_onnx(data)
    assert [item.operator for item in caught.value.items] == ["DynamicQuantizeLinear", "MatMulInteger"]


def test_half_written_parameters_are_reported() -> None:
    """A scale that is not a positive number, and a zero point of an odd type."""
    constants = {"s": np.float32(-1), "z": np.int8(0), "w": np.ones((4, 2), np.int8)}
    nodes = [N("DequantizeLinear", ["w", "s", "z"], ["f"]), N("MatMul", ["x", "f"], ["y"])]
    with pytest.raises(UnsupportedOperatorsError, match="positive"):
        import_onnx(model(nodes, constants, (FLOAT, [1, 4])))
