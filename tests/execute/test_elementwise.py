"""Facts about elementwise operators and number formats that TensorFlow Lite Micro does not decide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyopt.errors import GraphError
from tinyopt.execute import Executor
from tinyopt.execute.integer.unary import real_function, round_half_away, unary_table
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

ONE = Quantization.per_tensor(1.0, 0)


def graph_of(
    attributes: ops.Attributes,
    inputs: list[Quantization | None],
    output: Quantization | None,
    *,
    size: int = 4,
    dtype: DType = DType.INT8,
    output_dtype: DType | None = None,
) -> Graph:
    builder = GraphBuilder("one")
    names = [builder.input(f"x{i}", (size,), dtype, q) for i, q in enumerate(inputs)]
    builder.output(builder.add(attributes, names, output="y", dtype=output_dtype, quantization=output))
    return builder.build()


def run(graph: Graph, *arrays: list[float]) -> list[float]:
    inputs = {n: np.array(a, graph.tensors[n].dtype.numpy) for n, a in zip(graph.inputs, arrays)}
    return Executor(graph)(inputs)["y"].tolist()


def test_division_by_zero_gives_the_limit_on_the_side_of_the_dividend() -> None:
    divide = graph_of(ops.Binary(ops.BinaryKind.DIV), [ONE, ONE], ONE)
    assert run(divide, [5, -5, 0, 100], [0, 0, 0, -3]) == [127, -128, 0, -33]


def test_small_quotients_are_zero() -> None:
    divide = graph_of(ops.Binary(ops.BinaryKind.DIV), [ONE, ONE], ONE)
    assert run(divide, [1, 2, -1, 0], [100, 100, 100, 100]) == [0, 0, 0, 0]


def test_maximum_of_different_scales_compares_real_values() -> None:
    fine = Quantization.per_tensor(0.5, 10)
    maximum = graph_of(ops.Binary(ops.BinaryKind.MAXIMUM), [fine, ONE], ONE)
    assert run(maximum, [30, 10, -10, 127], [3, 3, -20, 100]) == [10, 3, -10, 100]


def test_unquantized_integers_wrap_and_divide_as_in_c() -> None:
    add = graph_of(ops.Binary(ops.BinaryKind.ADD), [None, None], None, dtype=DType.INT32)
    assert run(add, [2**31 - 1, 1, -5, 0], [1, 2, 3, 0]) == [-(2**31), 3, -2, 0]
    divide = graph_of(ops.Binary(ops.BinaryKind.DIV), [None, None], None, dtype=DType.INT32)
    assert run(divide, [7, -7, 7, 7], [2, 2, -2, 0]) == [3, -3, -3, 0]


@pytest.mark.parametrize("kind", list(ops.UnaryKind))
def test_a_table_is_within_one_step_of_the_real_function(kind: ops.UnaryKind) -> None:
    attributes = ops.Unary(kind, 0.1 if kind is ops.UnaryKind.LEAKY_RELU else 1.0)
    x = Quantization.per_tensor(0.05, -100)
    real = np.array([real_function(attributes)(x.scale * (q - x.zero_point)) for q in range(-128, 128)])
    top = float(np.max(np.abs(np.clip(real, -50, 50))))
    y = Quantization.per_tensor(top / 127, 0)
    wanted = np.clip(real / y.scale, -128, 127)
    assert np.max(np.abs(unary_table(attributes, x, y) - wanted)) <= 1.0


def test_functions_are_total() -> None:
    x = Quantization.per_tensor(0.5, 0)
    y = Quantization.per_tensor(0.1, 0)
    for kind, at_minus_one in ((ops.UnaryKind.LOG, -128), (ops.UnaryKind.SQRT, 0), (ops.UnaryKind.RSQRT, 127)):
        assert unary_table(ops.Unary(kind), x, y)[126] == at_minus_one
    assert unary_table(ops.Unary(ops.UnaryKind.EXP), Quantization.per_tensor(100.0, 0), y)[255] == 127
    assert real_function(ops.Unary(ops.UnaryKind.EXP))(1e6) == math.inf


def test_a_function_of_a_type_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match="quantize 'x0' to int8"):
        run(graph_of(ops.Unary(ops.UnaryKind.TANH), [ONE], ONE, dtype=DType.INT32), [1, 2, 3, 4])


def test_halves_round_away_from_zero_and_nothing_else_does() -> None:
    values = np.array([0.49999997, 0.5, -0.5, 1.5, 2.5, -2.5, 8388609.0], np.float32)
    assert round_half_away(values).tolist() == [0, 1, -1, 2, 3, -3, 8388609]


def test_quantization_saturates_and_reads_nan_as_zero() -> None:
    quantize = graph_of(
        ops.Quantize(), [None], Quantization.per_tensor(0.5, 7), dtype=DType.FLOAT32, output_dtype=DType.INT8
    )
    assert run(quantize, [math.inf, -math.inf, math.nan, 0.25]) == [127, -128, 7, 8]
    wide = graph_of(ops.Quantize(), [None], ONE, dtype=DType.FLOAT32, output_dtype=DType.INT32)
    assert run(wide, [3e9, -3e9, 2.5, -2.5]) == [2**31 - 1, -(2**31), 3, -3]


def test_casts_truncate_saturate_and_wrap() -> None:
    def cast(source: DType, target: DType) -> Graph:
        return graph_of(ops.Cast(target.value), [None], None, dtype=source)

    assert run(cast(DType.FLOAT32, DType.INT8), [1.9, -1.9, 300, math.nan]) == [1, -1, 127, 0]
    assert run(cast(DType.FLOAT32, DType.INT64), [1e30, -1e30, 2.0**40, 0]) == [2**63 - 1, -(2**63), 2**40, 0]
    assert run(cast(DType.INT32, DType.INT8), [300, -129, 127, 0]) == [44, 127, 127, 0]
    assert run(cast(DType.FLOAT32, DType.BOOL), [0.0, 0.1, -1, math.nan]) == [False, True, True, True]
