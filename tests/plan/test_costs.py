"""Costs: what the planner expects of a kernel, from formulas, from calibration, and from measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization
from tinyopt.graph.ops import Conv2d, Padding
from tinyopt.plan import call_table, make_plan
from tinyopt.plan.catalogue import all_kernels, candidates
from tinyopt.plan.costs import (
    FORMULAS,
    SHARED_CODE_BYTES,
    WRAPPER_CODE_BYTES,
    Costs,
    Measured,
    core_costs,
    signature,
)

M4 = load_board("mps2_an386")


def layer(scale: float = 0.05, seed: int = 0, channels: int = 8, per_channel: bool = False) -> Graph:
    builder = GraphBuilder("layer")
    data = np.random.default_rng(seed).integers(-127, 128, (channels, 3, 3, 4)).astype(np.int8)
    scales = Quantization.per_channel([scale] * channels, 0) if per_channel else Quantization.per_tensor(scale)
    x = builder.input(f"x{seed}", (1, 6, 6, 4), DType.INT8, Quantization.per_tensor(scale, 3))
    w = builder.constant(f"w{seed}", data, scales)
    attributes = Conv2d(padding=Padding(1, 1, 1, 1))
    builder.output(builder.add(attributes, [x, w], name="conv", quantization=Quantization.per_tensor(scale, -7)))
    return builder.build()


def text(graph: Graph) -> str:
    return signature(graph, graph.operators[0])


def test_a_signature_tells_shapes_apart_and_not_quantization_or_names() -> None:
    assert text(layer()) == text(layer(scale=0.01, seed=1))
    assert text(layer()) != text(layer(channels=9))
    assert text(layer()) != text(layer(per_channel=True))
    assert "padding=1,1,1,1" in text(layer()) and "const int8[8,3,3,4]" in text(layer())


def test_a_measured_kernel_costs_what_was_measured_and_is_chosen_by_it() -> None:
    graph = layer()
    conv = graph.operators[0]
    fit = candidates(graph, conv, M4.features)
    assert len(fit) > 2
    for wanted in fit:
        entries = [
            Measured(text(graph), k.name, 10.0 if k is wanted else 1000.0, k.cost(graph, conv), 700) for k in fit
        ]
        plan = make_plan(graph, M4, costs=Costs.of(entries, "a table"))
        assert [call.kernel.name for call in plan.calls] == [wanted.name]
        assert plan.cycles == plan.calls[0].predicted_cycles == 10.0
        assert "measured: a table" in call_table(plan)


def test_what_was_not_measured_is_scaled_by_what_its_formula_was_off() -> None:
    graph, other = layer(), layer(channels=16)
    conv = other.operators[0]
    one, two = candidates(other, conv, M4.features)[:2]
    entry = Measured(text(graph), one.name, 3.0 * one.cost(graph, graph.operators[0]), one.cost(graph, conv), 700)
    entry = replace(entry, predicted=one.cost(graph, graph.operators[0]))
    costs = Costs.of([entry], "")
    assert costs.cycles(other, conv, one) == pytest.approx(3.0 * one.cost(other, conv))
    # Nothing is known of the other kernel: it is as far off as everything is on the whole, or as its calibration says.
    assert costs.cycles(other, conv, two) == pytest.approx(3.0 * two.cost(other, conv))
    assert Costs.of([entry], "", Costs(scales={two.name: 5.0})).cycles(other, conv, two) == pytest.approx(
        5.0 * two.cost(other, conv)
    )
    assert costs.code_bytes(one) == 700 and FORMULAS.code_bytes(one) != 700


def test_what_kernels_share_counts_once_in_a_program() -> None:
    known = {kernel.name: kernel for kernel in all_kernels()}
    dense, packed, other = (known[f"{name}conv2d_s8_dsp"] for name in ("", "packed_", "packed_depthwise_"))
    costs = Costs(code={dense.name: 1700, other.base: 1000})
    unpacking = SHARED_CODE_BYTES["unpack.h"]
    assert costs.program_bytes([dense]) == 1700
    assert (
        costs.program_bytes([packed]) == costs.program_bytes([packed, dense]) == 1700 + WRAPPER_CODE_BYTES + unpacking
    )
    assert costs.program_bytes([packed, other]) == 1700 + 1000 + 2 * WRAPPER_CODE_BYTES + unpacking


def test_every_call_of_a_plan_carries_its_prediction() -> None:
    plan = make_plan(layer(), M4)
    (call,) = plan.calls
    assert call.predicted_cycles == plan.costs.cycles(plan.graph, call.operator, call.kernel) > 0


def test_an_unknown_core_gets_the_formulas_as_they_are() -> None:
    assert core_costs(M4.model_copy(update={"core": "cortex-x99"})) is FORMULAS
