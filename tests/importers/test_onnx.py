"""An ONNX model, once imported, computes what onnxruntime computes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyopt.errors import ModelError, TinyoptError, UnsupportedOperatorsError
from tinyopt.execute.float import run_sample
from tinyopt.graph import Graph
from tinyopt.importers.onnx import import_onnx

runtime = pytest.importorskip("onnxruntime")
random = np.random.default_rng(11)


def floats(*shape: int) -> Any:
    return random.standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Sequence[int | str]],
    constants: dict[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    functions: Sequence[Any] = (),
    domains: Sequence[str] = (),
) -> bytes:
    """A serialised model; output shapes are left to the reader."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    return bytes(made.SerializeToString())


def session(data: bytes) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(typed(data), options, providers=["CPUExecutionProvider"])


def typed(data: bytes) -> bytes:
    """With output types, which onnxruntime wants."""
    parsed = onnx.load_model_from_string(data)
    inferred = onnx.shape_inference.infer_shapes(parsed)
    for output, known in zip(parsed.graph.output, inferred.graph.output):
        output.CopyFrom(known)
    return bytes(parsed.SerializeToString())


def agrees(data: bytes, feeds: dict[str, Any], **options: Any) -> Graph:
    graph = import_onnx(data, **options)
    expected = session(data).run(None, feeds)
    results = run_sample(graph, feeds)
    assert list(results) == list(graph.outputs)
    for result, reference in zip(results.values(), expected):
        assert result.shape == reference.shape
        assert np.allclose(result, reference, rtol=1e-4, atol=1e-4), graph
    return graph


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


IMAGE = (1, 4, 9, 7)
N = helper.make_node
I64 = np.int64


def case(
    operator: str, *constants: Any, opset: int = 17, shape: tuple[int, ...] = IMAGE, count: int = 1, **attributes: Any
) -> Any:
    """One node on input x; None leaves an optional input out."""
    names = [f"c{index}" if value is not None else "" for index, value in enumerate(constants)]
    outputs = ["y", *(f"y{i}" for i in range(1, count))]
    node = N(operator, ["x", *names], outputs, name="layer", **attributes)
    given = {name: value for name, value in zip(names, constants) if name}
    return model([node], {"x": shape}, given, outputs, opset=opset), shape


CASES: dict[str, Any] = {
    "conv": case("Conv", floats(6, 4, 3, 2), floats(6), strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
    "conv groups": case("Conv", floats(6, 2, 3, 3), group=2),
    "conv depthwise": case("Conv", floats(8, 1, 3, 3), floats(8), group=4, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": case("Conv", floats(2, 4, 4, 4), auto_pad="SAME_LOWER"),
    "conv valid": case("Conv", floats(2, 4, 4, 4), auto_pad="VALID"),
    "conv 1d": case("Conv", floats(6, 4, 3), floats(6), pads=[2, 1], shape=(1, 4, 11)),
    "transposed": case(
        "ConvTranspose", floats(4, 3, 3, 3), floats(3), strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 0]
    ),
    "transposed same": case("ConvTranspose", floats(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "transposed shape": case("ConvTranspose", floats(4, 3, 3, 3), strides=[2, 2], output_shape=[18, 14]),
    "transposed groups": case("ConvTranspose", floats(4, 2, 2, 2), group=2, dilations=[2, 1]),
    "max pool": case("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max pool ceil": case("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max pool same": case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    "max pool 1d": case("MaxPool", kernel_shape=[3], strides=[2], shape=(1, 4, 11)),
    "average pool": case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool counted": case("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1], count_include_pad=1),
    "average pool ceil": case(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, opset=19
    ),
    "global average": case("GlobalAveragePool"),
    "global max": case("GlobalMaxPool"),
    "gemm": case("Gemm", floats(5, 3), floats(3), shape=(1, 5)),
    "gemm scaled": case("Gemm", floats(3, 5), floats(1, 3), shape=(1, 5), transB=1, alpha=0.5, beta=2.0),
    "gemm transposed": case("Gemm", floats(3, 5), shape=(3, 1), transA=1),
    "matmul": case("MatMul", floats(7, 3)),
    "matmul batched": case("MatMul", floats(4, 7, 3)),
    "matmul vector": case("MatMul", floats(7)),
    "batch norm": case("BatchNormalization", floats(4), floats(4), floats(4), abs(floats(4)) + 1, epsilon=1e-3),
    "instance norm": case("InstanceNormalization", floats(4), floats(4)),
    "layer norm": case("LayerNormalization", floats(7), floats(7)),
    "layer norm axes": case("LayerNormalization", floats(4, 9, 7), axis=1),
    "relu": case("Relu"),
    "clip 6": case("Clip", min=-0.5, max=0.5, opset=7),
    "clip 11": case("Clip", np.float32(-0.5), np.float32(0.5), opset=11),
    "clip open": case("Clip", None, np.float32(0.25)),
    "leaky": case("LeakyRelu", alpha=0.3),
    "prelu": case("PRelu", floats(4, 1, 1)),
    "elu": case("Elu", alpha=0.5),
    "selu": case("Selu"),
    "celu": case("Celu", alpha=2.0),
    "hard sigmoid": case("HardSigmoid"),
    "hard sigmoid torch": case("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard swish": case("HardSwish"),
    "softplus": case("Softplus"),
    "softsign": case("Softsign"),
    "mish": case("Mish", opset=18),
    "gelu": case("Gelu", opset=20),
    "gelu tanh": case("Gelu", approximate="tanh", opset=20),
    "sigmoid": case("Sigmoid"),
    "tanh": case("Tanh"),
    "erf": case("Erf"),
    "reciprocal": case("Reciprocal"),
    "power": case("Pow", np.float32(2)),
    "add": case("Add", floats(4, 1, 7)),
    "div": case("Div", abs(floats(7)) + 1),
    "max": case("Max", floats(1, 9, 1), floats(7)),
    "mean of": case("Mean", floats(4, 9, 7)),
    "where": case("Identity"),
    "softmax 7": case("Softmax", opset=7),
    "softmax axis 11": case("Softmax", axis=3, opset=11),
    "softmax 13": case("Softmax", axis=1, opset=13),
    "log softmax": case("LogSoftmax"),
    "argmax": case("ArgMax", axis=1, keepdims=0),
    "argmin": case("ArgMin", axis=-1),
    "reduce mean": case("ReduceMean", axes=[2, 3], keepdims=0),
    "reduce mean 18": case("ReduceMean", np.array([1], I64), opset=18),
    "reduce sum 13": case("ReduceSum", np.array([-1], I64), opset=13, keepdims=0),
    "reduce all": case("ReduceMax", keepdims=0),
    "reduce l2": case("ReduceL2", axes=[1]),
    "reduce l1": case("ReduceL1", axes=[1]),
    "reduce square": case("ReduceSumSquare", axes=[3]),
    "reduce log": case("ReduceLogSumExp", axes=[1]),
    "flatten": case("Flatten", axis=2),
    "reshape": case("Reshape", np.array([0, 2, -1, 3], I64)),
    "squeeze 11": case("Squeeze", axes=[0], opset=11),
    "squeeze": case("Squeeze"),
    "unsqueeze": case("Unsqueeze", np.array([1, -1], I64)),
    "transpose": case("Transpose", perm=[0, 2, 1, 3]),
    "expand": case("Expand", np.array([2, 1, 3, 9, 7], I64), shape=(1, 1, 9, 1)),
    "tile": case("Tile", np.array([1, 2, 1, 3], I64)),
    "slice 9": case("Slice", starts=[1, -5], ends=[3, 1000], axes=[1, 2], opset=9),
    "slice": case(
        "Slice", np.array([3, -1], I64), np.array([0, -6], I64), np.array([1, 3], I64), np.array([-1, -2], I64)
    ),
    "split 11": case("Split", axis=1, split=[1, 3], opset=11, count=2),
    "split": case("Split", np.array([2, 5], I64), axis=3, count=2),
    "split 18": case("Split", axis=2, num_outputs=2, opset=18, count=2),
    "gather": case("Gather", np.array([[2, -1], [0, 1]], I64), axis=1),
    "gather one": case("Gather", np.array(-2, I64), axis=2),
    "pad 10": case("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=1.5, opset=10),
    "pad reflect": case("Pad", np.array([0, 0, 1, 2, 0, 0, 3, 0], I64), mode="reflect"),
    "pad edge": case("Pad", np.array([0, 0, 1, 2, 0, 0, 3, 0], I64), mode="edge"),
    "pad axes": case("Pad", np.array([1, 2], I64), None, np.array([1], I64), opset=18),
    "pad cut": case("Pad", np.array([0, 0, -1, 2, 0, 0, 0, -2], I64)),
    "depth to space": case("DepthToSpace", blocksize=2),
    "depth to space crd": case("DepthToSpace", blocksize=2, mode="CRD"),
    "space to depth": case("SpaceToDepth", blocksize=2, shape=(1, 3, 6, 4)),
    "upsample 9": case("Upsample", np.array([1, 1, 2, 3], np.float32), opset=9),
    "upsample 7": case("Upsample", scales=[1.0, 1.0, 2.0, 2.0], mode="linear", opset=7),
    "resize 10": case("Resize", np.array([1, 1, 2, 1.5], np.float32), opset=10),
    "trilu": case("Trilu", upper=0),
    "lp norm": case("LpNormalization", axis=1),
}  # fmt: skip

for _mode in ("nearest", "linear", "cubic"):
    for _transform in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        CASES[f"resize {_mode} {_transform}"] = case(
            "Resize", None, None, np.array([1, 4, 5, 14], I64), mode=_mode, coordinate_transformation_mode=_transform
        )
for _rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
    CASES[f"resize {_rounding}"] = case("Resize", None, np.array([1, 1, 2, 0.6], np.float32), nearest_mode=_rounding)


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str) -> None:
    """Alone, and after a convolution that stores its result channels-last."""
    data, shape = CASES[name]
    agrees(data, {"x": floats(*shape)})
    if len(shape) != 4:
        return
    parsed = onnx.load_model_from_string(data)
    parsed.graph.node[0].input[0] = "inner"
    parsed.graph.node.insert(0, N("Conv", ["x", "first"], ["inner"], name="first"))
    parsed.graph.initializer.append(numpy_helper.from_array(floats(shape[1], shape[1], 1, 1), "first"))
    agrees(parsed.SerializeToString(), {"x": floats(*shape)})


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_recurrent_layers(operator: str, direction: str, layout: int) -> None:
    gates, d = (4 if operator == "LSTM" else 3), (2 if direction == "bidirectional" else 1)
    constants = {"w": floats(d, gates * 3, 5), "r": floats(d, gates * 3, 3), "b": floats(d, gates * 6)}
    for linear in (0, 1) if operator == "GRU" else (None,):
        extra = {} if linear is None else {"linear_before_reset": linear}
        outputs = ["y", "h"] + ["c"] * (operator == "LSTM")
        node = N(operator, ["x", "w", "r", "b"], outputs, direction=direction, hidden_size=3, layout=layout, **extra)
        shape = (1, 6, 5) if layout else (6, 1, 5)
        data = model([node], {"x": shape}, constants, outputs)
        if layout:  # onnxruntime does not have it: compare with the other layout
            plain = N(operator, ["x", "w", "r", "b"], outputs, direction=direction, hidden_size=3, **extra)
            x = floats(*shape)
            expected = session(model([plain], {"x": (6, 1, 5)}, constants, outputs)).run(
                None, {"x": x.transpose(1, 0, 2)}
            )
            y, h, *_ = run_sample(import_onnx(data), {"x": x}).values()
            assert np.allclose(y, expected[0].transpose(2, 0, 1, 3), atol=1e-5)
            assert np.allclose(h, expected[1].transpose(1, 0, 2), atol=1e-5)
        else:
            agrees(data, {"x": floats(*shape)})


def test_shape_arithmetic_is_folded() -> None:
    nodes = [
        N("Shape", ["x"], ["s"]),
        N("Constant", [], ["zero"], value=numpy_helper.from_array(np.array([0], I64))),
        N("Gather", ["s", "zero"], ["batch"]),
        N("Constant", [], ["rest"], value_ints=[-1]),
        N("Concat", ["batch", "rest"], ["shape"], axis=0),
        N("Reshape", ["x", "shape"], ["y"]),
    ]
    graph = agrees(model(nodes, {"x": ("batch", 3, 4)}), {"x": floats(1, 3, 4)})
    assert kinds(graph) == ["Reshape"]


def test_a_known_condition_takes_its_branch() -> None:
    def branch(operator: str) -> Any:
        return helper.make_graph(
            [N(operator, ["x"], ["z"])], operator, [], [helper.make_tensor_value_info("z", 1, None)]
        )

    node = N("If", ["flag"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))
    data = model([node], {"x": (1, 3)}, {"flag": np.array([False])})
    assert kinds(import_onnx(data)) == ["Abs"]


def test_functions_of_the_model_are_expanded() -> None:
    body = [N("Mul", ["a", "a"], ["s"]), N("LeakyRelu", ["s"], ["b"])]
    body[1].attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    function = helper.make_function("local", "Square", ["a"], ["b"], body, [helper.make_opsetid("", 17)], ["slope"])
    node = N("Square", ["x"], ["y"], domain="local", slope=0.5)
    data = model([node], {"x": (1, 5)}, functions=[function], domains=["local"])
    assert kinds(import_onnx(data)) == ["Mul", "LeakyRelu"]


def test_constants_that_old_files_list_as_inputs_are_constants() -> None:
    data = model([N("MatMul", ["x", "w"], ["y"])], {"x": (1, 4), "w": (4, 2)}, {"w": floats(4, 2)})
    assert import_onnx(data).inputs == ("x",)


def test_half_precision_becomes_float32() -> None:
    data = model([N("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, {"w": floats(4, 2).astype(np.float16)}, kind=10)
    assert import_onnx(data).tensors["x"].dtype.value == "float32"


def test_a_convolutional_network_has_one_transpose_at_its_input_and_none_inside() -> None:
    nodes = [
        N("Conv", ["x", "w0", "b0"], ["a"], pads=[1, 1, 1, 1]),
        N("Relu", ["a"], ["b"]),
        N("Conv", ["b", "w1"], ["c"], pads=[1, 1, 1, 1]),
        N("BatchNormalization", ["c", "g", "g", "g", "v"], ["d"]),
        N("Add", ["d", "b"], ["e"]),
        N("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        N("Concat", ["f", "f"], ["h"], axis=1),
        N("Flatten", ["h"], ["i"]),
        N("Gemm", ["i", "w2"], ["j"], transB=1),
        N("Softmax", ["j"], ["y"]),
    ]
    constants = {
        "w0": floats(4, 3, 3, 3), "b0": floats(4), "w1": floats(4, 4, 3, 3), "g": floats(4), "v": abs(floats(4)) + 1,
        "w2": floats(5, 8 * 16) * 0.1,
    }  # fmt: skip
    data = model(nodes, {"x": ("N", 3, 8, 8)}, constants)
    x = floats(1, 3, 8, 8)
    graph = agrees(data, {"x": x})
    assert kinds(graph)[0] == "Transpose" and kinds(graph).count("Transpose") == 1
    last = import_onnx(data, input_layout="nhwc")
    assert "Transpose" not in kinds(last) and last.tensors["x"].shape == (1, 8, 8, 3)
    assert np.allclose(
        run_sample(last, {"x": x.transpose(0, 2, 3, 1)})["y"], run_sample(graph, {"x": x})["y"], atol=1e-5
    )


# ---- files that are not as they should be ---------------------------------------------------------------------


def test_all_unsupported_operators_are_listed_at_once_with_the_opset() -> None:
    nodes = [
        N("Sin", ["x"], ["a"], name="first"),
        N("CumSum", ["a", "n"], ["b"]),
        N("Det", ["x"], ["c"]),
        N("Add", ["b", "c"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperatorsError) as caught:
        import_onnx(model(nodes, {"x": (3, 3)}, {"n": np.array(0, I64)}))
    assert [item.operator for item in caught.value.items] == ["Sin", "CumSum", "Det"]
    assert "opset 17" in str(caught.value) and "first" in str(caught.value)


def test_an_open_size_names_the_input_and_the_way_out() -> None:
    data = model([N("Relu", ["x"], ["y"])], {"x": ("batch", 3, "height", 8)})
    with pytest.raises(ModelError, match=r"axis 2 of input 'x'.*height.*input_shapes"):
        import_onnx(data)
    assert import_onnx(data, input_shapes={"x": (1, 3, 5, 8)}).tensors["x"].shape == (1, 3, 5, 8)
    with pytest.raises(ModelError, match=r"input_shapes names \['z'\]"):
        import_onnx(data, input_shapes={"z": (1,)})


def test_an_old_opset_is_refused() -> None:
    with pytest.raises(ModelError, match="opset 6"):
        import_onnx(model([N("Relu", ["x"], ["y"])], {"x": (1, 3)}, opset=6))


def test_nan_weights_are_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        import_onnx(model([N("MatMul", ["x", "w"], ["y"])], {"x": (1, 2)}, {"w": np.full((2, 2), np.nan, np.float32)}))


def test_a_dangling_input_is_named() -> None:
    with pytest.raises(ModelError, match="'ghost'"):
        import_onnx(model([N("Add", ["x", "ghost"], ["y"])], {"x": (1, 3)}))


@pytest.mark.parametrize(
    "node,constants",
    [
        (N("ConstantOfShape", ["s"], ["c"]), {"s": np.array([1 << 40], I64)}),
        (N("Expand", ["x", "s"], ["c"]), {"s": np.array([1 << 20, 1 << 20, 3], I64)}),
        (N("Tile", ["x", "s"], ["c"]), {"s": np.array([1, 1 << 40], I64)}),
        (
            N("Range", ["a", "s", "d"], ["c"]),
            {"a": np.array(0, I64), "s": np.array(1 << 50, I64), "d": np.array(1, I64)},
        ),
        (N("Pad", ["x", "s"], ["c"]), {"s": np.array([0, 1 << 40, 0, 0], I64)}),
        (N("Unsqueeze", ["x", "s"], ["c"]), {"s": np.array([9], I64)}),
        (N("Transpose", ["x"], ["c"], perm=[1, 1]), {}),
        (N("Slice", ["x", "s", "s", "s", "d"], ["c"]), {"s": np.array([0], I64), "d": np.array([0], I64)}),
        (N("Concat", ["x", "x"], ["c"], axis=7), {}),
        (N("Conv", ["x", "w"], ["c"]), {"w": floats(2, 2, 3, 3)}),
        (N("Gather", ["x", "s"], ["c"], axis=1), {"s": np.array([5], I64)}),
    ],
)
def test_absurd_attributes_are_one_clear_error(node: Any, constants: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        import_onnx(model([node], {"x": (1, 3)}, constants, ["c"]))


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused() -> None:
    parsed = onnx.load_model_from_string(model([N("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, {"w": floats(4, 2)}))
    parsed.graph.initializer[0].dims[0] = 1 << 20
    with pytest.raises(ModelError, match="'w'"):
        import_onnx(parsed.SerializeToString())


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model whose weights lie beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    data = model([N("MatMul", ["x", "w"], ["y"])], {"x": (1, 32)}, {"w": floats(32, 64)})
    parsed = onnx.load_model_from_string(data)
    onnx.save_model(parsed, str(folder / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    return folder / "m.onnx"


def redirected(path: Path, **fields: str) -> Path:
    parsed = onnx.load_model(str(path), load_external_data=False)
    for entry in parsed.graph.initializer[0].external_data:
        entry.value = fields.get(entry.key, entry.value)
    path.write_bytes(parsed.SerializeToString())
    return path


def test_external_weights_are_read_from_beside_the_model(external: Path) -> None:
    assert import_onnx(external).name == "m"
    with pytest.raises(ModelError, match="another file"):
        import_onnx(external.read_bytes())


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret", ""])
def test_external_weights_outside_of_the_directory_are_refused(external: Path, location: str) -> None:
    (external.parent.parent / "secret").write_bytes(bytes(32 * 64 * 4))
    with pytest.raises(ModelError, match="refused"):
        import_onnx(redirected(external, location=location))


def test_a_link_out_of_the_directory_is_refused(external: Path) -> None:
    secret = external.parent.parent / "secret"
    secret.write_bytes(bytes(32 * 64 * 4))
    (external.parent / "link").symlink_to(secret)
    with pytest.raises(ModelError, match="refused"):
        import_onnx(redirected(external, location="link"))


def test_missing_or_short_external_weights_are_named(external: Path) -> None:
    (external.parent / "m.data").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"5 bytes"):
        import_onnx(external)
    (external.parent / "m.data").unlink()
    with pytest.raises(ModelError, match=r"m\.data.*missing"):
        import_onnx(external)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_one_clear_error_or_still_a_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = sorted(CASES)
    data = bytearray(CASES[names[seed % len(names)]][0])
    if seed % 3 == 0:
        data = data[: int(rng.integers(0, len(data)))]
    for _ in range(int(rng.integers(1, 6)) if data else 0):
        data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
    with contextlib.suppress(TinyoptError):
        import_onnx(bytes(data))
