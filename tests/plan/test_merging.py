"""Kernels that hardly any cycles are spent in are given up for others, or for smaller ones."""

from __future__ import annotations

from collections.abc import Sequence

from tinyopt.graph import DType, GraphBuilder, Quantization, ops
from tinyopt.plan.catalogue import all_kernels
from tinyopt.plan.kernel import Kernel
from tinyopt.plan.merging import CYCLES_PER_BYTE, drop_kernels
from tinyopt.plan.option import Option

SPECIAL, SMALL, TINY, BUSY = all_kernels()[:4]
CODE = {SPECIAL: 900, SMALL: 400, TINY: 100, BUSY: 2000}


def options(cycles: dict[Kernel, float]) -> list[Option]:
    """One operator that these kernels can compute, the fastest first."""
    builder = GraphBuilder("one")
    x = builder.input("x", (1, 4), DType.INT8, Quantization.per_tensor(0.1, 0))
    builder.output(builder.add(ops.Softmax(), [x], quantization=Quantization.per_tensor(1 / 256, -128)))
    graph = builder.build()
    return [Option(graph, graph.operators[0], kernel, count) for kernel, count in cycles.items()]


def chosen(rows: Sequence[Sequence[Option]]) -> list[Kernel]:
    result = drop_kernels(
        [row[0] for row in rows],
        rows,
        one=lambda option: option.cycles,
        whole=lambda picked: sum(option.cycles for option in picked),
        keeps=lambda old, new: True,
        code=CODE.__getitem__,
        flash_counts=False,
    )
    return [option.kernel for option in result]


def test_a_tiny_layer_takes_a_smaller_kernel() -> None:
    total = 1_000_000
    lost = 0.5 * CYCLES_PER_BYTE * total * (CODE[SPECIAL] - CODE[SMALL])
    rows = [options({BUSY: total}), options({SPECIAL: 100, SMALL: 100 + lost})]
    assert chosen(rows) == [BUSY, SMALL]


def test_a_kernel_stays_where_its_code_is_worth_it() -> None:
    total = 1_000_000
    lost = 2 * CYCLES_PER_BYTE * total * (CODE[SPECIAL] - CODE[SMALL])
    rows = [options({BUSY: total}), options({SPECIAL: 100, SMALL: 100 + lost})]
    assert chosen(rows) == [BUSY, SPECIAL]


def test_a_larger_kernel_never_takes_the_place_of_a_smaller_one() -> None:
    rows = [options({BUSY: 1_000_000}), options({SMALL: 100, SPECIAL: 100})]
    assert chosen(rows) == [BUSY, SMALL]


def test_a_kernel_that_is_used_anyway_costs_no_code() -> None:
    rows = [options({BUSY: 1_000_000}), options({SMALL: 100, TINY: 200, BUSY: 2000})]
    assert chosen(rows) == [BUSY, BUSY]


def test_all_operators_of_a_kernel_must_have_the_smaller_one() -> None:
    rows = [options({BUSY: 1_000_000}), options({SPECIAL: 100, SMALL: 101}), options({SPECIAL: 100})]
    assert chosen(rows) == [BUSY, SPECIAL, SPECIAL]
