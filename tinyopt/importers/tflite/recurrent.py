"""Recurrent layers of TFLite: the LSTM in float, hybrid and int8 form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, DType, Quantization, Shape, Tensor, ops
from tinyopt.importers.tflite.lowering import CannotLower, Node, lowers

_INPUTS = 24
_WEIGHTS, _RECURRENT, _PEEPHOLE, _BIAS, _PROJECTION, _HIDDEN, _CELL, _NORM = 1, 5, 9, 12, 16, 18, 19, 20
_GATES = 4
_TANH = 4


@dataclass(frozen=True)
class _State:
    """A variable tensor that became a state of the graph, which is read from the tensor ``read``."""

    name: str
    read: str
    dtype: DType
    quantization: Quantization | None


@lowers("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(node: Node) -> None:
    """The hidden and the cell state are variables of the model: they live on between inferences."""
    missing = [i for i in (*range(_WEIGHTS, _PEEPHOLE), *range(_BIAS, _PROJECTION)) if not node.has(i)]
    extra = (*range(_PEEPHOLE, _BIAS), *range(_PROJECTION, _HIDDEN), *range(_NORM, _INPUTS))
    if missing or any(node.has(i) for i in extra):
        raise CannotLower("an LSTM with coupled gates, peepholes, a projection or layer normalisation")
    if node.option("FusedActivationFunction") != _TANH or node.option("DiagonalRecurrentTensors"):
        raise CannotLower("an LSTM whose activation is not tanh, or with diagonal weights")
    x = node.input(0)
    dtype = node.arithmetic(x)
    if dtype is DType.INT16:
        raise CannotLower("an LSTM with int16 activations; convert the model to float32 or int8")
    time_major = bool(node.option("TimeMajor"))
    if time_major:
        x = node.step(ops.Transpose((1, 0, 2)), [x], f"{x}/batch_major", dtype, node.tensor(x).quantization)
    stacked = _float_gates if dtype is DType.FLOAT32 else _integer_gates
    names = [x, *(stacked(node, first, stem) for first, stem in _PARAMETERS)]
    shape = (node.tensor(x).shape[0], node.tensor(names[2]).shape[-1])
    states = [_state(node, _HIDDEN, shape, dtype), _state(node, _CELL, shape, _cell_type(dtype))]
    y = node.output()
    if dtype is DType.INT8 and y.quantization != states[0].quantization:
        raise CannotLower("an LSTM whose output and hidden state have different scales")
    outputs = node.importer.builder.add_multi(
        ops.Lstm(cell_clip=node.real("CellClip"), quantization=_cell_format(states[1])),
        [*names, *(state.read for state in states)],
        node.name,
        [f"{y.name}/batch_major" if time_major else y.name, f"{node.name}/hidden", f"{node.name}/cell"],
        [dtype, *(state.dtype for state in states)],
        [y.quantization, *(state.quantization for state in states)],
    )
    for state, value in zip(states, outputs[1:]):
        node.importer.builder.assign(state.name, value)
    if time_major:
        node.emit(ops.Transpose((1, 0, 2)), [outputs[0]])
    else:
        node.finish(outputs[0])


# ---- parameters -----------------------------------------------------------------------------------------------

_PARAMETERS = ((_WEIGHTS, "weights"), (_RECURRENT, "recurrent"), (_BIAS, "bias"))


def _gates(node: Node, names: Sequence[str]) -> list[Tensor]:
    """The tensors of the four gates, which must be constants."""
    tensors = [node.tensor(name) for name in names]
    for tensor in tensors:
        if not tensor.is_constant:
            raise CannotLower(f"LSTM parameters computed at run time ('{tensor.name}')")
    return tensors


def _float_gates(node: Node, first: int, stem: str) -> str:
    names = [node.float_weights(node.input(first + gate)) for gate in range(_GATES)]
    return _stacked(node, stem, [tensor.value for tensor in _gates(node, names)], None)


def _integer_gates(node: Node, first: int, stem: str) -> str:
    """int8 weights with one scale per row, from one scale per gate; an int32 bias needs none."""
    tensors = _gates(node, [node.input(first + gate) for gate in range(_GATES)])
    wanted = DType.INT32 if first == _BIAS else DType.INT8
    scales: list[float] = []
    for tensor in tensors:
        if tensor.dtype is not wanted:
            raise CannotLower(f"LSTM parameters of type {tensor.dtype.value} ('{tensor.name}')")
        if wanted is DType.INT8:
            q = tensor.quantization
            if q is None or q.axis not in (None, 0) or any(q.zero_points):
                raise CannotLower(f"the weights '{tensor.name}' must be symmetric, with one scale or one per row")
            scales += np.broadcast_to(q.scales, tensor.shape[0]).tolist()
    return _stacked(node, stem, [t.value for t in tensors], Quantization.per_channel(scales, 0) if scales else None)


def _stacked(node: Node, stem: str, parts: Sequence[Array], quantization: Quantization | None) -> str:
    return node.importer.builder.constant(f"{node.name}/{stem}", np.concatenate(parts), quantization)


# ---- states ---------------------------------------------------------------------------------------------------


def _cell_type(dtype: DType) -> DType:
    return DType.FLOAT32 if dtype is DType.FLOAT32 else DType.INT16


def _cell_format(cell: _State) -> ops.LstmQuantization | None:
    """The number format of an integer cell state, whose scale must be a power of two."""
    if cell.dtype is DType.FLOAT32:
        return None
    assert cell.quantization is not None
    mantissa, exponent = math.frexp(cell.quantization.scale)
    if mantissa != 0.5 or cell.quantization.zero_point != 0:
        raise CannotLower(f"an LSTM whose cell state has the scale {cell.quantization.describe()}, no power of two")
    return ops.LstmQuantization(exponent - 1)


def _state(node: Node, position: int, shape: Shape, dtype: DType) -> _State:
    """A state from a variable tensor; real zero before the first inference."""
    index = node.index(position)
    declared = node.importer.subgraph.tensors[index]
    if not declared.is_variable or index in node.importer.names:
        raise CannotLower(f"the state '{declared.name}' is not a variable of this layer alone")
    kind = node.importer.dtype(declared, constant=False)
    quantization = node.importer.quantization(declared, kind)
    if kind is not dtype or (quantization is None) != (dtype is DType.FLOAT32):
        raise CannotLower(
            f"the state '{declared.name}' must be {dtype.value}, with quantization where it is an integer"
        )
    zero = 0 if quantization is None else quantization.zero_point
    node.importer.spend(dtype.itemsize * math.prod(shape))
    node.importer.builder.note(
        "the state of an LSTM lives on between inferences, as in TensorFlow Lite; reset it between sequences"
    )
    name, read = node.importer.state(declared.name, np.full(shape, zero, dtype.numpy), quantization, declared.name)
    node.importer.bind(index, read)
    return _State(name, read, dtype, quantization)
