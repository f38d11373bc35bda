"""What each pass finds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.optimise.test_exactness import assert_same
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, graph_macs, ops
from tinyopt.graph.ops import BinaryKind, Padding
from tinyopt.optimise import explain, optimise

random = np.random.default_rng(5)
Q = Quantization.per_tensor(0.05, -10)


def floats(*shape: int) -> np.ndarray:
    return random.normal(0, 1, shape).astype(np.float32)


def build(shape: tuple[int, ...] = (1, 6, 6, 4), *, quantized: bool = False) -> tuple[GraphBuilder, str]:
    b = GraphBuilder("g")
    return b, b.input("x", shape, DType.INT8 if quantized else DType.FLOAT32, Q if quantized else None)


def finish(b: GraphBuilder, *outputs: str) -> tuple[Graph, list[str]]:
    """The graph, and the kinds of the operators that are left after optimisation."""
    for name in outputs:
        b.output(name)
    graph = b.build()
    changed = optimise(graph)
    assert_same(graph, changed)
    return changed, [operator.kind for operator in changed.operators]


def add(b: GraphBuilder, kind: BinaryKind, *inputs: str, activation: ops.Clamp = ops.NONE) -> str:
    return b.add(ops.Binary(kind, activation), inputs)


def norm(b: GraphBuilder, x: str, channels: int) -> str:
    values = [floats(channels) for _ in range(3)] + [random.uniform(0.5, 2, channels).astype(np.float32)]
    return b.add(ops.BatchNorm(), [x, *(b.constant("bn", v) for v in values)])


@pytest.mark.parametrize(
    ("attributes", "weights"),
    [
        (ops.Conv2d(padding=Padding(1, 1, 1, 1)), (8, 3, 3, 4)),
        (ops.Conv2d(groups=2), (8, 3, 3, 2)),
        (ops.DepthwiseConv2d(padding=Padding(1, 1, 1, 1), multiplier=2), (1, 3, 3, 8)),
        (ops.TransposeConv2d((2, 2)), (8, 2, 2, 4)),
        (ops.FullyConnected(), (8, 4)),
    ],
)
def test_batch_norm_and_activation_fold_into_the_layer_before(attributes: ops.Attributes, weights: tuple) -> None:
    b, x = build()
    y = b.add(attributes, [x, b.constant("w", floats(*weights))])
    changed, kinds = finish(b, b.add(ops.Clip(ops.RELU6), [norm(b, y, 8)]))
    assert kinds == [attributes.kind]
    assert changed.operators[0].attributes.activation == ops.RELU6


@pytest.mark.parametrize(
    ("attributes", "weights", "folds"),
    [
        (ops.Conv2d(), (8, 3, 3, 4), True),
        (ops.Conv2d(groups=2), (8, 3, 3, 2), True),
        (ops.Conv2d(padding=Padding(1, 1, 1, 1)), (8, 3, 3, 4), False),
        (ops.DepthwiseConv2d(multiplier=2), (1, 3, 3, 8), True),
        (ops.FullyConnected(), (8, 4), True),
    ],
)
def test_batch_norm_folds_into_the_layer_after_unless_padding_is_in_the_way(
    attributes: ops.Attributes, weights: tuple, folds: bool
) -> None:
    b, x = build()
    _, kinds = finish(b, b.add(attributes, [norm(b, x, 4), b.constant("w", floats(*weights))]))
    assert kinds == ([attributes.kind] if folds else ["Mul", "Add", attributes.kind])


def test_batch_norm_alone_becomes_a_multiplication_and_an_addition() -> None:
    b, x = build()
    _, kinds = finish(b, norm(b, x, 4))
    assert kinds == ["Mul", "Add"]


def test_a_layer_that_others_read_keeps_its_weights() -> None:
    b, x = build()
    y = b.add(ops.Conv2d(), [x, b.constant("w", floats(4, 1, 1, 4))])
    _, kinds = finish(b, norm(b, y, 4), y)
    assert kinds == ["Conv2d", "Mul", "Add"]


@pytest.mark.parametrize("kind", [BinaryKind.ADD, BinaryKind.SUB, BinaryKind.MUL, BinaryKind.DIV])
@pytest.mark.parametrize("first", [False, True])
def test_arithmetic_with_a_constant_per_channel_folds_into_a_convolution(kind: BinaryKind, first: bool) -> None:
    b, x = build()
    y = b.add(ops.Conv2d(), [x, b.constant("w", floats(8, 3, 3, 4))])
    c = b.constant("c", 1 + np.abs(floats(8)))
    y = add(b, kind, *((c, y) if first else (y, c)), activation=ops.Clamp(-5.0, 5.0))
    _, kinds = finish(b, y)
    assert kinds == (["Conv2d", "Div"] if kind is BinaryKind.DIV and first else ["Conv2d"])


def test_a_product_with_a_constant_matrix_is_a_dense_layer_with_bias() -> None:
    b, x = build((1, 5, 4))
    y = b.add(ops.MatMul(), [x, b.constant("w", floats(4, 7))])
    changed, kinds = finish(b, add(b, BinaryKind.ADD, y, b.constant("b", floats(7)), activation=ops.RELU))
    assert kinds == ["FullyConnected"] and len(changed.operators[0].inputs) == 3


def test_constants_are_computed_now() -> None:
    b, x = build()
    c = add(b, BinaryKind.ADD, b.constant("a", floats(4)), b.constant("b", floats(4)))
    d = b.add(ops.Unary(ops.UnaryKind.TANH), [c])
    _, kinds = finish(b, add(b, BinaryKind.MAXIMUM, x, d))
    assert kinds == ["Maximum"]


def test_a_small_constant_is_not_blown_up() -> None:
    b, x = build((1, 64, 64, 4))
    wide = b.add(ops.BroadcastTo((1, 64, 64, 4)), [b.constant("c", floats(1, 1, 1, 4))])
    y = b.add(ops.Concat(3), [x, wide])
    _, kinds = finish(b, y)
    assert kinds == ["BroadcastTo", "Concat"]


def test_elementwise_operators_broadcast_by_themselves() -> None:
    b, x = build()
    small = b.add(ops.Slice((0, 0, 0, 0), (1, 1, 1, 4), (1, 1, 1, 1)), [x])
    wide = b.add(ops.BroadcastTo((1, 6, 6, 4)), [small])
    _, kinds = finish(b, add(b, BinaryKind.ADD, x, wide))
    assert kinds == ["Slice", "Add"]


@pytest.mark.parametrize("quantized", [False, True])
def test_identities_disappear(quantized: bool) -> None:
    b, x = build(quantized=quantized)
    q = Q if quantized else None
    y = b.add(ops.Reshape((1, 6, 6, 4)), [x], quantization=q)
    y = b.add(ops.Transpose((0, 1, 2, 3)), [y], quantization=q)
    y = b.add(ops.Slice((0, 0, 0, 0), (1, 6, 6, 4), (1, 1, 1, 1)), [y], quantization=q)
    y = b.add(ops.Pad((0,) * 4, (0,) * 4), [y], quantization=q)
    y = b.add(ops.Concat(3), [y], quantization=q)
    y = b.add(ops.Split(3, (4,)), [y], quantization=q)
    y = b.add(ops.MaxPool2d((1, 1)), [y], quantization=q)
    y = b.add(ops.Resize2d((6, 6)), [y], quantization=q)
    y = b.add(ops.Clip(ops.Clamp(-100.0, 100.0) if quantized else ops.NONE), [y], quantization=q)
    _, kinds = finish(b, b.add(ops.Unary(ops.UnaryKind.ABS), [y], quantization=q))
    assert kinds == ["Abs"]


def test_an_identity_between_input_and_output_stays_as_the_copy_that_it_is() -> None:
    b, x = build()
    _, kinds = finish(b, b.add(ops.Reshape((1, 6, 6, 4)), [x], output="y"))
    assert kinds == ["Reshape"]


def test_reshapes_and_unit_axis_transposes_merge_into_one_reshape() -> None:
    b, x = build((1, 6, 1, 4))
    y = b.add(ops.Transpose((2, 1, 0, 3)), [x])
    y = b.add(ops.Reshape((6, 4)), [y])
    y = b.add(ops.Reduce(ops.ReduceKind.MEAN, (0,), True), [b.add(ops.Reshape((1, 24)), [y])])
    _, kinds = finish(b, y)
    assert kinds == ["Reshape"]


def test_a_clip_sinks_through_a_reshape_into_the_convolution() -> None:
    b, x = build()
    y = b.add(ops.Conv2d(), [x, b.constant("w", floats(4, 1, 1, 4))])
    _, kinds = finish(b, b.add(ops.Clip(), [b.add(ops.Reshape((1, 144)), [y])]))
    assert kinds == ["Conv2d", "Reshape"]


def test_opposite_transposes_cancel_across_elementwise_operators() -> None:
    b, x = build()
    y = b.add(ops.Transpose((0, 3, 1, 2)), [x])
    y = add(b, BinaryKind.MUL, b.add(ops.Unary(ops.UnaryKind.ABS), [y]), b.constant("c", floats(4, 1, 1)))
    y = b.add(ops.Concat(1), [y, b.add(ops.Transpose((0, 3, 1, 2)), [x])])
    _, kinds = finish(b, b.add(ops.Transpose((0, 2, 3, 1)), [y]))
    assert kinds == ["Abs", "Mul", "Concat"]


def test_a_flattening_transpose_goes_into_the_dense_layer() -> None:
    b, x = build()
    y = b.add(ops.Reshape((1, 144)), [b.add(ops.Transpose((0, 3, 1, 2)), [x])])
    _, kinds = finish(b, b.add(ops.FullyConnected(), [y, b.constant("w", floats(5, 144))]))
    assert kinds == ["Reshape", "FullyConnected"]


@pytest.mark.parametrize(("value", "fuses"), [(0.0, True), (1.0, False)])
@pytest.mark.parametrize("quantized", [False, True])
def test_zero_padding_goes_into_the_convolution(value: float, fuses: bool, quantized: bool) -> None:
    b, x = build(quantized=quantized)
    y = b.add(ops.Pad((0, 1, 2, 0), (0, 0, 1, 0), value=value), [x], quantization=Q if quantized else None)
    if quantized:
        w = b.constant("w", random.integers(-127, 128, (3, 3, 3, 4)).astype(np.int8), Quantization.per_tensor(0.01))
        y = b.add(ops.Conv2d(), [y, w], quantization=Quantization.per_tensor(0.5))
    else:
        y = b.add(ops.Conv2d(), [y, b.constant("w", floats(3, 3, 3, 4))])
    changed, kinds = finish(b, y)
    assert kinds == (["Conv2d"] if fuses else ["Pad", "Conv2d"])
    if fuses:
        assert changed.operators[0].attributes.padding == Padding(1, 0, 2, 1)


def test_neighbouring_pads_merge() -> None:
    b, x = build()
    y = b.add(ops.Pad((0, 1, 0, 0), (0, 0, 0, 0)), [b.add(ops.Pad((0, 0, 0, 1), (0, 2, 0, 0)), [x])])
    _, kinds = finish(b, y)
    assert kinds == ["Pad"]


@pytest.mark.parametrize("relu", [False, True])
def test_padding_goes_into_max_pooling_only_below_every_value(relu: bool) -> None:
    b, x = build()
    y = b.add(ops.Clip(), [x]) if relu else x
    y = b.add(ops.MaxPool2d((2, 2)), [b.add(ops.Pad((0, 1, 1, 0), (0, 0, 0, 0)), [y])])
    _, kinds = finish(b, y)
    assert ("Pad" not in kinds) == relu


def test_padding_before_average_pooling_stays() -> None:
    b, x = build()
    y = b.add(ops.AveragePool2d((2, 2)), [b.add(ops.Pad((0, 1, 1, 0), (0, 0, 0, 0)), [x])])
    _, kinds = finish(b, y)
    assert kinds == ["Pad", "AveragePool2d"]


def test_an_activation_of_another_quantization_is_not_fused() -> None:
    b, x = build(quantized=True)
    w = b.constant("w", random.integers(-127, 128, (3, 1, 1, 4)).astype(np.int8), Quantization.per_tensor(0.01))
    y = b.add(ops.Conv2d(), [x, w], quantization=Quantization.per_tensor(0.09))
    _, kinds = finish(b, b.add(ops.Clip(), [y], quantization=Quantization.per_tensor(0.05, -128)))
    assert kinds == ["Conv2d", "Clip"]


def test_quantize_undoes_dequantize() -> None:
    b, x = build(quantized=True)
    y = b.add(ops.Quantize(), [b.add(ops.Dequantize(), [x])], dtype=DType.INT8, quantization=Q)
    _, kinds = finish(b, b.add(ops.Clip(), [y], quantization=Q))
    assert kinds == ["Clip"]


def test_a_requantization_that_loses_nothing_merges_with_the_next() -> None:
    b, x = build(quantized=True)
    fine = Quantization.per_tensor(0.05 / 256, -2560)
    y = b.add(ops.Quantize(), [x], dtype=DType.INT16, quantization=fine)
    y = b.add(ops.Quantize(), [y], dtype=DType.INT8, quantization=Quantization.per_tensor(0.0773, 3))
    _, kinds = finish(b, y)
    assert kinds == ["Quantize"]


def test_a_requantization_that_saturates_stays() -> None:
    b, x = build(quantized=True)
    y = b.add(ops.Quantize(), [x], quantization=Quantization.per_tensor(0.01))
    _, kinds = finish(b, b.add(ops.Quantize(), [y], quantization=Q))
    assert kinds == ["Quantize", "Quantize"]


def test_repeated_work_is_done_once() -> None:
    b, x = build()
    weights = floats(4, 3, 3, 4)
    first, second = (b.add(ops.Conv2d(), [x, b.constant("w", weights)]) for _ in range(2))
    changed, kinds = finish(b, add(b, BinaryKind.ADD, first, second))
    assert kinds == ["Conv2d", "Add"]
    assert len(list(changed.constants())) == 1


def test_work_that_nobody_reads_is_not_done() -> None:
    b, x = build()
    b.add(ops.Conv2d(), [x, b.constant("w", floats(4, 3, 3, 4))])
    state = b.state("unused", floats(1, 4))
    b.assign("unused", b.add(ops.Unary(ops.UnaryKind.TANH), [state]))
    changed, kinds = finish(b, b.add(ops.Unary(ops.UnaryKind.ABS), [x]))
    assert kinds == ["Abs"] and not changed.states


def test_states_that_outputs_depend_on_stay() -> None:
    b, x = build((1, 4))
    state = b.state("memory", np.zeros((1, 4), np.float32))
    total = add(b, BinaryKind.ADD, x, state)
    b.assign("memory", b.add(ops.Reshape((1, 4)), [total]))
    b.output(total)
    graph = b.build()
    changed = optimise(graph)
    assert_same(graph, changed)
    assert len(changed.states) == 1


def test_explain_names_the_passes_and_what_they_saved() -> None:
    b, x = build()
    y = b.add(ops.Conv2d(), [x, b.constant("w", floats(4, 1, 1, 4))])
    b.output(b.add(ops.Clip(), [y]))
    graph = b.build()
    changed, steps = explain(graph)
    assert [step.name for step in steps] == ["fuse_activations"]
    assert str(steps[0]) == "fuse activations: operators 2 → 1"
    assert graph_macs(changed) == graph_macs(graph)
