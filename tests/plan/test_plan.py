"""Plans: views, copies, states, in-place operators, kernel choice, and boards that are too small."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.errors import BoardError, TinyoptError, UnsupportedOperatorsError
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization
from tinyopt.graph.ops import Binary, BinaryKind, Clip, Concat, FullyConnected, Prelu, Reshape, Slice
from tinyopt.plan import Plan, call_table, make_plan, memory_map

HOST = load_board("host")
Q = Quantization.per_tensor(0.05, 3)
INT8 = DType.INT8


def add(builder: GraphBuilder, a: str, b: str, name: str = "") -> str:
    return builder.add(Binary(BinaryKind.ADD), [a, b], name=name, quantization=Q)


def dense(builder: GraphBuilder, x: str, outputs: int, name: str, seed: int = 0) -> str:
    features = builder.tensor(x).shape[-1]
    data = np.random.default_rng(seed).integers(-127, 128, (outputs, features)).astype(np.int8)
    weights = builder.constant(f"{name}_weights", data, Quantization.per_tensor(0.02))
    return builder.add(FullyConnected(), [x, weights], name=name, quantization=Q)


def window(builder: GraphBuilder, state: str, x: str, length: int) -> str:
    """The usual streaming step: the last ``length`` rows of the state followed by ``x``."""
    joined = builder.add(Concat(1), [state, x], name="join", quantization=Q)
    rows, channels = builder.tensor(joined).shape[1:]
    return builder.add(
        Slice((0, rows - length, 0), (1, length, channels), (1, 1, 1)), [joined], name="shift", quantization=Q
    )


def buffer_of(plan: Plan, tensor: str):
    return next(buffer for buffer in plan.buffers if tensor in buffer.tensors)


def test_a_reshape_is_a_view_and_costs_no_call() -> None:
    builder = GraphBuilder("views")
    x = builder.input("x", (1, 4, 4, 2), INT8, Q)
    flat = builder.add(Reshape((1, 32)), [x], name="flat", quantization=Q)
    y = dense(builder, flat, 10, "dense")
    builder.output(builder.add(Reshape((1, 2, 5)), [y], name="shaped", quantization=Q))
    plan = make_plan(builder.build(), HOST)
    assert [call.operator.kind for call in plan.calls] == ["FullyConnected"]
    assert plan.offset("flat") == plan.offset("x")
    assert plan.offset("shaped") == plan.offset("dense")
    assert plan.storage["shaped"] == "dense"


def test_a_graph_of_one_reshape_runs_no_kernel() -> None:
    builder = GraphBuilder("nothing")
    builder.output(builder.add(Reshape((8,)), [builder.input("x", (2, 4), INT8, Q)], name="y", quantization=Q))
    plan = make_plan(builder.build(), HOST)
    assert plan.calls == () and plan.arena_bytes == 16
    assert plan.offset("x") == plan.offset("y")


def test_the_chain_of_an_autoencoder_reaches_the_lower_bound() -> None:
    builder = GraphBuilder("chain")
    x = builder.input("x", (1, 640), INT8, Q)
    for index, width in enumerate((128, 128, 8, 128, 640)):
        x = dense(builder, x, width, f"dense{index}", index)
    builder.output(x)
    plan = make_plan(builder.build(), HOST)
    assert plan.arena_bytes == plan.lower_bound == 768
    assert plan.weights_bytes >= 640 * 128 * 2 + 128 * 128 + 2 * 128 * 8


def test_an_elementwise_operator_takes_the_memory_of_an_input_that_ends_there() -> None:
    builder = GraphBuilder("in_place")
    x = builder.input("x", (1, 4, 4, 8), INT8, Q)
    builder.output(builder.add(Clip(), [x], name="relu", quantization=Q))
    plan = make_plan(builder.build(), HOST)
    assert plan.arena_bytes == plan.lower_bound == 128
    assert plan.destroys("x")
    apart = make_plan(builder.build(), HOST, in_place=False)
    assert apart.arena_bytes == apart.lower_bound == 256
    assert not apart.destroys("x")


def test_an_input_that_is_read_later_is_not_overwritten() -> None:
    builder = GraphBuilder("residual")
    x = builder.input("x", (1, 64), INT8, Q)
    one = builder.add(Clip(), [x], name="relu", quantization=Q)
    builder.output(add(builder, x, one, "sum"))
    plan = make_plan(builder.build(), HOST)
    assert plan.offset("relu") != plan.offset("x")
    assert plan.offset("sum") in (plan.offset("relu"), plan.offset("x"))
    assert plan.arena_bytes == plan.lower_bound == 128


def test_an_output_is_not_overwritten_by_a_later_operator() -> None:
    builder = GraphBuilder("two_outputs")
    x = builder.input("x", (1, 64), INT8, Q)
    first = builder.add(Clip(), [x], name="first", quantization=Q)
    builder.output(first)
    builder.output(builder.add(Clip(), [first], name="second", quantization=Q))
    plan = make_plan(builder.build(), HOST)
    assert plan.offset("first") != plan.offset("second")


def test_a_constant_output_is_copied_into_the_arena() -> None:
    builder = GraphBuilder("constant")
    x = builder.input("x", (1, 8), INT8, Q)
    builder.output(builder.constant("fixed", np.arange(8, dtype=np.int8), Q))
    builder.output(x)
    plan = make_plan(builder.build(), HOST)
    assert len(plan.calls) == 1
    assert plan.graph.outputs[0] != "fixed" and plan.source.outputs[0] == "fixed"
    assert plan.offset(plan.graph.outputs[0]) != plan.offset("x")


def test_a_streaming_window_is_written_straight_into_its_state() -> None:
    builder = GraphBuilder("stream")
    state = builder.state("memory", np.zeros((1, 3, 4), np.int8), Q)
    x = builder.input("x", (1, 1, 4), INT8, Q)
    new = window(builder, state, x, 3)
    builder.assign("memory", new)
    builder.output(dense(builder, builder.add(Reshape((1, 12)), [new], quantization=Q), 2, "dense"))
    plan = make_plan(builder.build(), HOST)
    assert [call.operator.kind for call in plan.calls] == ["Concat", "Slice", "FullyConnected"]
    assert plan.offset("shift") == plan.offset("memory")
    assert buffer_of(plan, "memory").last == len(plan.calls)


def test_a_state_whose_old_value_is_read_later_is_updated_by_a_copy() -> None:
    builder = GraphBuilder("late")
    state = builder.state("memory", np.ones((1, 16), np.int8), Q)
    x = builder.input("x", (1, 16), INT8, Q)
    new = dense(builder, x, 16, "new")
    builder.assign("memory", new)
    builder.output(add(builder, dense(builder, new, 16, "other"), state, "sum"))
    plan = make_plan(builder.build(), HOST)
    assert [call.operator.kind for call in plan.calls][-1] == "Reshape"
    assert plan.offset(plan.graph.states[0].write) == plan.offset("memory")
    assert plan.offset("new") != plan.offset("memory")


def test_states_that_trade_places_are_saved_first() -> None:
    builder = GraphBuilder("swap")
    a = builder.state("a", np.zeros((1, 16), np.int8), Q)
    b = builder.state("b", np.ones((1, 16), np.int8), Q)
    builder.assign("a", b)
    builder.assign("b", a)
    builder.output(add(builder, builder.input("x", (1, 16), INT8, Q), a, "sum"))
    plan = make_plan(builder.build(), HOST)
    assert len(plan.calls) == 1 + 4
    for state in plan.graph.states:
        assert plan.offset(state.write) == plan.offset(state.read)


def test_an_output_that_is_an_old_state_is_copied_before_the_update() -> None:
    builder = GraphBuilder("delay")
    state = builder.state("previous", np.zeros((1, 16), np.int8), Q)
    x = builder.input("x", (1, 16), INT8, Q)
    builder.assign("previous", x)
    builder.output(state)
    plan = make_plan(builder.build(), HOST)
    assert [call.inputs[0] for call in plan.calls] == ["previous", "x"]
    assert plan.offset(plan.graph.outputs[0]) != plan.offset("previous")


def test_equal_constants_are_stored_once() -> None:
    builder = GraphBuilder("twins")
    x = builder.input("x", (1, 32), INT8, Q)
    builder.output(dense(builder, dense(builder, x, 32, "one", 7), 32, "two", 7))
    plan = make_plan(builder.build(), HOST)
    once = GraphBuilder("single")
    once.output(dense(once, once.input("x", (1, 32), INT8, Q), 32, "one", 7))
    assert sum(c.data.size == 1024 for c in plan.constants) == 1
    assert make_plan(once.build(), HOST).weights_bytes <= plan.weights_bytes


def unsupported_graph() -> Graph:
    builder = GraphBuilder("odd")
    wide = Quantization.per_tensor(0.01, 0)
    x = builder.input("x", (1, 8), DType.INT16, wide)
    alpha = builder.constant("alpha", np.ones(8, np.int16), wide)
    one = builder.add(Prelu(), [x, alpha], name="first", quantization=wide)
    builder.output(builder.add(Prelu(), [one, alpha], name="second", quantization=wide))
    return builder.build()


def test_all_operators_without_a_kernel_are_listed_at_once() -> None:
    with pytest.raises(UnsupportedOperatorsError) as caught:
        make_plan(unsupported_graph(), HOST)
    assert [item.name for item in caught.value.items] == ["first", "second"]
    assert "int16[1, 8]" in str(caught.value)


def residual_graph() -> Graph:
    builder = GraphBuilder("pinned")
    x = builder.input("x", (1, 64), INT8, Q)
    builder.output(dense(builder, x, 8, "dense"))
    return builder.build()


def test_a_pin_chooses_the_kernel() -> None:
    plan = make_plan(residual_graph(), HOST, pins={"dense": "fully_connected_s8_ref"})
    assert plan.calls[0].kernel.name == "fully_connected_s8_ref"


def test_a_pin_that_does_not_fit_is_an_error_that_names_the_choices() -> None:
    with pytest.raises(TinyoptError, match="fully_connected_s8_ref"):
        make_plan(residual_graph(), HOST, pins={"dense": "conv2d_s8_ref"})
    with pytest.raises(TinyoptError, match="does not have: nobody"):
        make_plan(residual_graph(), HOST, pins={"nobody": "conv2d_s8_ref"})


@pytest.mark.parametrize("objective", ["latency", "ram", "flash"])
def test_every_objective_gives_a_plan(objective: str) -> None:
    assert make_plan(residual_graph(), HOST, objective=objective).calls


def test_an_unknown_objective_is_an_error() -> None:
    with pytest.raises(TinyoptError, match="latency, ram, flash"):
        make_plan(residual_graph(), HOST, objective="beauty")


def test_a_board_with_too_little_memory_is_told_by_how_much() -> None:
    builder = GraphBuilder("large")
    x = builder.input("x", (1, 2000), INT8, Q)
    for index, width in enumerate((300, 20_000)):
        x = dense(builder, x, width, f"dense{index}", index)
    builder.output(x)
    board = load_board("microbit")
    with pytest.raises(BoardError) as caught:
        make_plan(builder.build(), board)
    text = str(caught.value)
    assert "bytes of flash" in text and "bytes of RAM" in text and "'dense1'" in text
    plan = make_plan(builder.build(), HOST)
    excess = plan.arena_bytes - (board.ram.size - board.stack_bytes)
    assert f"{excess:,} bytes too many" in text


def test_the_table_and_the_memory_map_show_every_call_and_buffer() -> None:
    builder = GraphBuilder("shown")
    state = builder.state("memory", np.zeros((1, 3, 4), np.int8), Q)
    new = window(builder, state, builder.input("x", (1, 1, 4), INT8, Q), 3)
    builder.assign("memory", new)
    builder.output(dense(builder, builder.add(Reshape((1, 12)), [new], quantization=Q), 2, "dense"))
    plan = make_plan(builder.build(), HOST)
    table = call_table(plan)
    for call in plan.calls:
        assert call.operator.name in table and call.kernel.name in table
    chart = memory_map(plan)
    assert len(chart.splitlines()) == 2 + len(plan.buffers)
    assert "====" in chart
    assert max(map(len, chart.splitlines())) < 130
