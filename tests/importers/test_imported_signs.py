"""Signs of every framework, exact for zero, and one operator each however they are written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.support.tflite_file import FileSubgraph, serialise
from tinyopt.execute.float import run_batch
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.importers import load as import_model
from tinyopt.importers.signs import fuse_signs, zero_is_positive

VALUES = np.array([[-2.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 1.0, 3.0]], np.float32)
POSITIVE = np.where(VALUES >= 0, 1.0, -1.0).astype(np.float32)
torch.set_num_threads(1)


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


def results(graph: Graph, values: np.ndarray = VALUES) -> np.ndarray:
    (y,) = run_batch(graph, {graph.inputs[0]: values}).values()
    return np.asarray(y)


def onnx_graph(*nodes: tuple[str, Sequence[str], str], **constants: object) -> Graph:
    """A model of nodes (operator, inputs, output) on ``x``; the last output is the model's."""
    made = []
    for operator, inputs, output in nodes:
        extra = {"to": TensorProto.FLOAT} if operator == "Cast" else {}
        made.append(helper.make_node(operator, list(inputs), [output], **extra))
    graph = helper.make_graph(
        made,
        "signs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, VALUES.shape)],
        [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, VALUES.shape)],
        [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return import_model(model.SerializeToString())


def test_the_sign_of_zero_is_zero_where_the_framework_says_so() -> None:
    graph = onnx_graph(("Sign", ["x"], "y"))
    assert kinds(graph) == ["Signum"]
    np.testing.assert_array_equal(results(graph), np.sign(VALUES))
    np.testing.assert_array_equal(results(zero_is_positive(graph)), POSITIVE)


IDIOMS: dict[str, Callable[[], Graph]] = {
    "where": lambda: onnx_graph(
        ("GreaterOrEqual", ["x", "zero"], "c"), ("Where", ["c", "one", "minus"], "y"), zero=0, one=1, minus=-1
    ),
    "where less": lambda: onnx_graph(
        ("Less", ["x", "zero"], "c"), ("Where", ["c", "minus", "one"], "y"), zero=0, one=1, minus=-1
    ),
    "where zero is not greater": lambda: onnx_graph(
        ("Greater", ["zero", "x"], "c"), ("Where", ["c", "minus", "one"], "y"), zero=0, one=1, minus=-1
    ),
    "cast": lambda: onnx_graph(
        ("GreaterOrEqual", ["x", "zero"], "c"),
        ("Cast", ["c"], "f"),
        ("Mul", ["f", "two"], "d"),
        ("Sub", ["d", "one"], "y"),
        zero=0, two=2, one=1,
    ),
    "larq": lambda: onnx_graph(("Sign", ["x"], "s"), ("Add", ["s", "tenth"], "t"), ("Sign", ["t"], "y"), tenth=0.1),
    "zeros replaced": lambda: onnx_graph(
        ("Sign", ["x"], "s"), ("Equal", ["x", "zero"], "c"), ("Where", ["c", "one", "s"], "y"), zero=0, one=1
    ),
    "not": lambda: onnx_graph(
        ("Less", ["x", "zero"], "c"), ("Not", ["c"], "n"), ("Where", ["n", "one", "minus"], "y"),
        zero=0, one=1, minus=-1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("idiom", IDIOMS)
def test_a_sign_of_two_values_is_one_operator_however_it_is_written(idiom: str) -> None:
    graph = IDIOMS[idiom]()
    assert kinds(graph) == ["Sign"]
    np.testing.assert_array_equal(results(graph), POSITIVE)


def test_a_sign_that_is_negative_for_zero_stays_so_unless_asked() -> None:
    constants = {"zero": 0, "one": 1, "minus": -1}
    graph = onnx_graph(("Greater", ["x", "zero"], "c"), ("Where", ["c", "one", "minus"], "y"), **constants)
    np.testing.assert_array_equal(results(graph), np.where(VALUES > 0, 1, -1))
    positive = zero_is_positive(graph)
    assert kinds(positive) == ["Sign"]
    np.testing.assert_array_equal(results(positive), POSITIVE)


def test_a_threshold_other_than_zero_and_a_selection_of_computed_values() -> None:
    graph = onnx_graph(("Less", ["x", "half"], "c"), ("Where", ["c", "x", "two"], "y"), half=0.5, two=2)
    np.testing.assert_array_equal(results(graph), np.where(VALUES < 0.5, VALUES, 2))


class StraightThrough(torch.nn.Module):
    """The estimator of ReActNet, exported with its arithmetic."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        clipped = torch.clamp(x, -1.0, 1.0)
        return (torch.where(x >= 0, 1.0, -1.0) - clipped) + clipped


class Compared(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.ge(0.0) * 2.0 - 1.0


class Selected(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


class Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x)


@pytest.mark.parametrize(
    ("module", "kind"), [(StraightThrough, "Sign"), (Compared, "Sign"), (Selected, "Sign"), (Plain, "Signum")]
)
def test_signs_of_pytorch(module: type[torch.nn.Module], kind: str) -> None:
    graph = import_model(module(), example_inputs=(torch.from_numpy(VALUES),))
    assert kinds(graph) == [kind]
    np.testing.assert_array_equal(results(graph), np.sign(VALUES) if kind == "Signum" else POSITIVE)


def tflite_graph(*nodes: tuple[str, Sequence[str], str], **constants: object) -> Graph:
    """As ``onnx_graph``; an output called ``c`` is a bool."""
    main = FileSubgraph()
    indices = {"x": main.add("x", VALUES.shape, "float32")}
    for name, value in constants.items():
        indices[name] = main.constant(name, np.float32(np.asarray(value)).reshape(1))
    main.inputs = [indices["x"]]
    for operator, inputs, output in nodes:
        indices[output] = main.add(output, VALUES.shape, "bool" if output == "c" else "float32")
        main.operator(operator, [indices[name] for name in inputs], [indices[output]])
    main.outputs = [indices[nodes[-1][2]]]
    return import_model(serialise([main]))


def test_signs_of_tflite() -> None:
    numbers = {"zero": 0, "one": 1, "minus": -1}
    where = tflite_graph(("GREATER_EQUAL", ["x", "zero"], "c"), ("SELECT_V2", ["c", "one", "minus"], "y"), **numbers)
    cast = tflite_graph(("LESS", ["x", "zero"], "c"), ("CAST", ["c"], "f"), ("ADD", ["f", "f"], "d"),
                        ("SUB", ["one", "d"], "y"), **numbers)  # fmt: skip
    larq = tflite_graph(("SIGN", ["x"], "s"), ("ADD", ["s", "tenth"], "t"), ("SIGN", ["t"], "y"), tenth=0.1)
    for graph in (where, cast, larq):
        assert kinds(graph) == ["Sign"]
        np.testing.assert_array_equal(results(graph), POSITIVE)
    exact = tflite_graph(("SIGN", ["x"], "y"))
    assert kinds(exact) == ["Signum"]
    np.testing.assert_array_equal(results(exact), np.sign(VALUES))


def test_what_only_resembles_a_sign_is_left_alone() -> None:
    builder = GraphBuilder("other")
    x = builder.input("x", VALUES.shape, DType.FLOAT32)
    sign = builder.add(ops.Unary(ops.UnaryKind.SIGN), [x])
    shifted = builder.add(ops.Binary(ops.BinaryKind.ADD), [sign, builder.constant("c", np.float32([0.5]))])
    builder.output(builder.add(ops.Binary(ops.BinaryKind.MUL), [shifted, x]))
    graph = builder.build()
    assert fuse_signs(graph) is graph
