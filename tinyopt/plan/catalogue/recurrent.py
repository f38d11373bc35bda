"""LSTM and GRU layers, float32 and int8. The first states are activations, or all of them constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinyopt.execute.integer.gates import GATE_EXPONENT, logistic_table
from tinyopt.execute.integer.recurrent import GateProduct, GruParameters, LstmParameters
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value

_Lower = Callable[[Graph, Operator, Kernel], Call]


def _states(graph: Graph, operator: Operator) -> tuple[Tensor, ...]:
    return graph.ins(operator)[4 if isinstance(operator.attributes, ops.Lstm) else 5 :]


def _accepts(graph: Graph, operator: Operator, kind: type[ops.Attributes], dtype: DType, *, fixed: bool) -> bool:
    if not isinstance(operator.attributes, kind):
        return False
    ins, states = graph.ins(operator), _states(graph, operator)
    parameters = ins[1 : len(ins) - len(states)]
    return (
        ins[0].dtype is dtype
        and not ins[0].is_constant
        and all(tensor.is_constant for tensor in parameters)
        and all(tensor.is_constant is fixed for tensor in states)
    )


def _call(
    graph: Graph,
    operator: Operator,
    kernel: Kernel,
    parameters: dict[str, Value],
    state_fields: Sequence[str],
    scratch: int,
) -> Call:
    """The call with the first states as constants, or as inputs that the last states may overwrite."""
    states = _states(graph, operator)
    fixed = states[0].is_constant
    for name, tensor in zip(state_fields, states):
        parameters[name] = Constant(tensor.value, weights=False, source=tensor.name) if fixed else None
    inputs = operator.inputs[:1] + (() if fixed else tuple(tensor.name for tensor in states))
    in_place = () if fixed else tuple((1 + index, 1 + index) for index in range(len(states)))
    return Call(kernel, operator, parameters, inputs, operator.outputs, scratch, in_place)


def _sizes(graph: Graph, operator: Operator) -> dict[str, Value]:
    x, y = graph.ins(operator)[0].shape, graph.outs(operator)[0].shape
    return {"batches": x[0], "steps": x[1], "hidden": y[2]}


def _weights(tensor: Tensor) -> Constant:
    return Constant(tensor.value, source=tensor.name)


# ---- float32 --------------------------------------------------------------------------------------------------


def _lower_lstm_f32(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins = operator.attributes, graph.ins(operator)
    assert isinstance(a, ops.Lstm)
    parameters: dict[str, Value] = {
        **_sizes(graph, operator),
        "inputs": ins[0].shape[2],
        "reverse": a.reverse,
        "cell_clip": float(max(a.cell_clip, 0.0)),
        "weights": _weights(ins[1]),
        "recurrent": _weights(ins[2]),
        "bias": _weights(ins[3]),
    }
    return _call(graph, operator, kernel, parameters, ("h0", "c0"), 4 * 4 * ins[2].shape[1])


def _lower_gru_f32(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins = operator.attributes, graph.ins(operator)
    assert isinstance(a, ops.Gru)
    hidden = ins[2].shape[1]
    bias, added = ins[3].value.copy(), ins[4].value.copy()
    if a.linear_before_reset:
        added[2 * hidden :] = 0  # scaled by the reset gate, so it stays apart
    parameters: dict[str, Value] = {
        **_sizes(graph, operator),
        "inputs": ins[0].shape[2],
        "reverse": a.reverse,
        "weights": _weights(ins[1]),
        "recurrent": _weights(ins[2]),
        "bias": Constant(bias + added, source=ins[3].name),
        "new_bias": Constant(ins[4].value[2 * hidden :], source=ins[4].name) if a.linear_before_reset else None,
    }
    return _call(graph, operator, kernel, parameters, ("h0",), 4 * 4 * hidden)


# ---- int8 -----------------------------------------------------------------------------------------------------


def _gate_product(product: GateProduct, hidden: int, source: Tensor) -> dict[str, Value]:
    """The C struct; one multiplier per gate where the rows of each gate share it."""
    scales = np.stack([product.multiplier, product.shift.astype(np.int32)], axis=1).reshape(-1, hidden, 2)
    per_row = bool((scales != scales[:, :1]).any())
    chosen: Array = np.arange(len(product.bias)) if per_row else np.arange(0, len(product.bias), hidden)
    return {
        "columns": product.weights.shape[1],
        "weights": Constant(product.weights, source=source.name),
        "bias": Constant(product.bias, source=source.name),
        "multiplier": Constant(product.multiplier[chosen], weights=False),
        "shift": Constant(product.shift[chosen], weights=False),
        "per_row": per_row,
    }


def _arrays(graph: Graph, operator: Operator) -> list[Array]:
    """The constants of the operator at their places; activations are left empty."""
    return [np.empty(0) if tensor.data is None else tensor.data for tensor in graph.ins(operator)]


def _lower_lstm_s8(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins = operator.attributes, graph.ins(operator)
    assert isinstance(a, ops.Lstm)
    p = LstmParameters.of(a, _arrays(graph, operator), ins, graph.outs(operator)[0])
    hidden = ins[2].shape[1]
    parameters: dict[str, Value] = {
        **_sizes(graph, operator),
        "reverse": a.reverse,
        "input": _gate_product(p.inputs, hidden, ins[1]),
        "recurrent": _gate_product(p.recurrent, hidden, ins[2]),
        "logistic": Constant(logistic_table(), weights=False),
        "cell_multiplier": p.cell[0],
        "output_multiplier": p.output[0],
        "cell_shift": p.cell[1],
        "output_shift": p.output[1],
        "tanh_shift": p.cell_exponent - GATE_EXPONENT,
        "output_zero": p.output_zero,
        "cell_clip": p.cell_clip,
    }
    return _call(graph, operator, kernel, parameters, ("h0", "c0"), 4 * 2 * hidden)


def _lower_gru_s8(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins = operator.attributes, graph.ins(operator)
    assert isinstance(a, ops.Gru)
    p = GruParameters.of(a, _arrays(graph, operator), ins, graph.outs(operator)[0])
    hidden = ins[2].shape[1]
    parameters: dict[str, Value] = {
        **_sizes(graph, operator),
        "reverse": a.reverse,
        "linear_before_reset": a.linear_before_reset,
        "input": _gate_product(p.inputs, hidden, ins[1]),
        "recurrent": _gate_product(p.recurrent, hidden, ins[2]),
        "logistic": Constant(logistic_table(), weights=False),
        "output_multiplier": p.output[0],
        "output_shift": p.output[1],
        "output_zero": p.output_zero,
    }
    return _call(graph, operator, kernel, parameters, ("h0",), (3 * 2 + 2) * hidden)


def _cost(graph: Graph, operator: Operator, per_mac: float) -> float:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    return ins[0].shape[0] * ins[0].shape[1] * (ins[1].size + ins[2].size) * per_mac + 300.0 * y.size


def _kernel(family: str, kind: type[ops.Attributes], dtype: DType, lower: _Lower, *, fixed: bool) -> Kernel:
    integer = dtype is DType.INT8
    return Kernel(
        f"{family}_fixed_ref" if fixed else f"{family}_ref",
        family,
        "ref.c",
        lambda g, o: _accepts(g, o, kind, dtype, fixed=fixed),
        lower,
        lambda g, o: _cost(g, o, 4.0 if integer else 8.0),
        needs=("common.h", "gates_s16.h" if integer else "gates_f32.h"),
        uses_scratch=True,
    )


KERNELS = tuple(
    _kernel(family, kind, dtype, lower, fixed=fixed)
    for family, kind, dtype, lower in (
        ("lstm_f32", ops.Lstm, DType.FLOAT32, _lower_lstm_f32),
        ("gru_f32", ops.Gru, DType.FLOAT32, _lower_gru_f32),
        ("lstm_s8", ops.Lstm, DType.INT8, _lower_lstm_s8),
        ("gru_s8", ops.Gru, DType.INT8, _lower_gru_s8),
    )
    for fixed in (False, True)
)
