"""Weights of few values are recognised from the values alone, and stored in few bits where that is what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.packed import GROUPS, Groups, Order, Uniform, different_values, pack
from tinyopt.quantize.weights import Binary, Clustered, Int4, Int8, Ternary, WeightFormat

M4 = load_board("mps2_an386")


def layer(attributes: ops.Attributes, shape: tuple[int, ...], weights: np.ndarray) -> Graph:
    builder = GraphBuilder("layer")
    x = builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, 3))
    w = builder.constant("weights", weights, Quantization.per_tensor(0.02))
    y = builder.add(attributes, [x, w], name="layer", output="y", quantization=Quantization.per_tensor(4.0, 0))
    builder.output(y)
    return builder.build()


def quantized(form: WeightFormat, shape: tuple[int, ...]) -> np.ndarray:
    rows = np.random.default_rng(3).standard_normal((shape[0], int(np.prod(shape[1:])))).astype(np.float32)
    return form.integers(rows)[0].reshape(shape)


def dense(form: WeightFormat) -> Graph:
    return layer(ops.FullyConnected(), (1, 128), quantized(form, (64, 128)))


def convolution(form: WeightFormat) -> Graph:
    padding = ops.Padding(1, 1, 1, 1)
    return layer(ops.Conv2d(padding=padding), (1, 8, 8, 32), quantized(form, (32, 3, 3, 32)))


def packed_kernels(graph: Graph) -> list[str]:
    names = [k.name for k in candidates(graph, graph.operators[0], M4.features)]
    return [name for name in names if name.startswith(("packed", "uniform"))]


def kernel(graph: Graph, objective: str) -> str:
    return make_plan(graph, M4, objective=objective).calls[0].kernel.name


@pytest.mark.parametrize(
    ("form", "bits"), [(Int4(), 4), (Int4(group=32), 4), (Ternary(), 2), (Binary(), 1)], ids=lambda value: str(value)
)
def test_a_dense_layer_can_multiply_the_codes_that_the_quantizer_made(form: WeightFormat, bits: int) -> None:
    names = packed_kernels(dense(form))
    assert [name for name in names if name.startswith(f"uniform_fully_connected_s8_dsp_{bits}")]


@pytest.mark.parametrize(
    ("form", "ratio"), [(Int4(), 0.5), (Ternary(), 0.25), (Binary(), 0.13), (Clustered(16), 0.5), (Clustered(4), 0.25)]
)
def test_a_plan_for_flash_stores_the_weights_of_a_convolution_in_few_bits(form: WeightFormat, ratio: float) -> None:
    graph = convolution(form)
    plan = make_plan(graph, M4, objective="flash")
    assert "packed_conv2d_s8_dsp_4x2" in packed_kernels(graph)
    assert plan.weights_bytes <= ratio * 32 * 9 * 32 + 700


def test_a_plan_for_latency_takes_the_codes_of_a_dense_layer_on_a_core_with_dsp() -> None:
    graph = layer(ops.FullyConnected(), (1, 256), quantized(Int4(), (256, 256)))
    assert kernel(graph, "latency") == "uniform_fully_connected_s8_dsp_4"


def test_weights_of_many_values_have_no_packed_kernel() -> None:
    for graph in (dense(Int8()), convolution(Int8()), dense(Clustered(40))):
        assert packed_kernels(graph) == []


def test_even_spacing_is_found_with_the_fewest_bits() -> None:
    assert Uniform.of(np.arange(-8, 8, dtype=np.int8)) == Uniform(-8, 1, 4)
    assert Uniform.of(np.array([-1, 1], np.int8)) == Uniform(-1, 2, 1)
    assert Uniform.of(np.array([-6, 0, 6], np.int8)) == Uniform(-6, 6, 2)
    assert Uniform.of(np.array([5], np.int8)) == Uniform(5, 1, 1)
    assert Uniform.of(np.array([-100, 0, 3], np.int8)) is None
    assert Uniform.of(np.array([-128, 127], np.int8)) is None


def test_groups_are_found_with_their_multipliers() -> None:
    rng = np.random.default_rng(0)
    steps, multipliers = rng.integers(-8, 8, (9, 150)), rng.integers(8, 16, (9, 5))
    steps[:, ::8], steps[:, 1::8] = 7, -8
    groups = Groups.of((steps * np.repeat(multipliers, 32, axis=1)[:, :150]).astype(np.int8))
    assert groups is not None
    assert groups.size == 32
    np.testing.assert_array_equal(groups.multipliers, multipliers)
    assert Groups.of(rng.integers(-127, 128, (9, 150)).astype(np.int8)) is None
    assert all(size % GROUPS[0] == 0 for size in GROUPS)


def test_bytes_with_other_bytes_between_them_are_packed_without_a_loss() -> None:
    rng = np.random.default_rng(1)
    order = Order(8, 4, 12, 8)
    data = rng.choice(np.array([-90, -3, 0, 44], np.int8), (5, order.block))
    others = rng.integers(-128, 128, (5, 12)).astype(np.int8)
    data[:, 8:12], data[:, 24:32] = others[:, :4], others[:, 4:]
    fields, size = pack(data, order, "weights")
    assert size == data.size
    assert fields["bits"] == 2
    codes, values = fields["codes"].data, fields["values"].data  # type: ignore[union-attr]
    np.testing.assert_array_equal(fields["others"].data.reshape(5, 12), others)  # type: ignore[union-attr]
    words = codes.reshape(5, 2)
    for block in range(5):
        found = [values[words[block, i // 16] >> (8 * (i % 4) + 2 * (i % 16 // 4)) & 3] for i in range(20)]
        np.testing.assert_array_equal(found, np.concatenate([data[block, :8], data[block, 12:24]]))


def test_different_values_are_sorted_as_signed_numbers() -> None:
    np.testing.assert_array_equal(different_values(np.array([[3, -128], [127, 3]], np.int8)), [-128, 3, 127])
