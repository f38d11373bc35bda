"""The reference executor: walks a graph operator by operator.

Quantized operators run in the integer executor (numpy, exact). Float32 operators run in the float executor (torch),
which is loaded only when a graph has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from tinyopt.errors import DataError
from tinyopt.execute.integer import integer_functions
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, batch_problem, ops, stacked

_ANY_DTYPE = (
    ops.Reshape,
    ops.Transpose,
    ops.BroadcastTo,
    ops.Concat,
    ops.Split,
    ops.Slice,
    ops.Pad,
    ops.Gather,
    ops.Quantize,
    ops.Dequantize,
    ops.Cast,
    ops.ArgMax,
    ops.DynamicRange,
)

_TOGETHER = 8
"""Samples that run at once: enough to hide what a call costs, few enough to stay in the cache."""


class Executor:
    """Runs one graph, sample after sample, and keeps its states between calls.

    ``observe``: called with (tensor, array) for every activation, in order, e.g. to calibrate or to debug.
    """

    def __init__(self, graph: Graph, *, observe: Callable[[Tensor, Array], None] | None = None) -> None:
        self.graph = graph
        self._observe = observe
        self._states: dict[str, Array] = {}
        self.reset()

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._states = {state.name: np.array(state.initial) for state in self.graph.states}

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference. ``inputs``: tensor name → array of exactly the input's shape and dtype.

        Raises:
            DataError: when an input is missing or has the wrong shape or dtype.
        """
        graph = self.graph
        values: dict[str, Array] = {}
        for name in graph.inputs:
            values[name] = self._checked(graph.tensors[name], inputs)
        for state in graph.states:
            values[state.read] = self._states[state.name]
        if self._observe:
            for name in graph.given:
                self._observe(graph.tensors[name], values[name])
        for operator in graph.operators:
            arrays = [t.data if t.data is not None else values[t.name] for t in graph.ins(operator)]
            results = run_operator(graph, operator, arrays)
            for tensor, array in zip(graph.outs(operator), results):
                values[tensor.name] = array
                if self._observe:
                    self._observe(tensor, array)
        for state in graph.states:
            self._states[state.name] = self._value(values, state.write)
        return {name: self._value(values, name) for name in graph.outputs}

    def _value(self, values: Mapping[str, Array], name: str) -> Array:
        data = self.graph.tensors[name].data
        return values[name] if data is None else data

    @staticmethod
    def _checked(tensor: Tensor, inputs: Mapping[str, Array]) -> Array:
        if tensor.name not in inputs:
            raise DataError(f"the model needs an input '{tensor.name}' ({tensor.dtype.value}{list(tensor.shape)})")
        array = np.asarray(inputs[tensor.name])
        if tuple(array.shape) != tensor.shape or array.dtype != tensor.dtype.numpy:
            raise DataError(
                f"input '{tensor.name}' must be {tensor.dtype.value}{list(tensor.shape)}, "
                f"got {array.dtype}{list(array.shape)}"
            )
        return array


def run_operator(graph: Graph, operator: Operator, arrays: list[Array]) -> list[Array]:
    """Compute one operator; arrays of all its inputs in, arrays of its outputs out."""
    ins, outs = graph.ins(operator), graph.outs(operator)
    attributes = operator.attributes
    is_float = ins[0].dtype is DType.FLOAT32 and not isinstance(attributes, _ANY_DTYPE)
    if is_float:
        from tinyopt.execute.float import run_float

        return run_float(attributes, arrays, ins, outs)
    results = integer_functions()[type(attributes)](attributes, arrays, ins, outs)
    for tensor, array in zip(outs, results):
        assert tuple(array.shape) == tensor.shape and array.dtype == tensor.dtype.numpy, operator
    return results


def run(graph: Graph, samples: Iterable[Array | Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Run a graph over samples in order (states carry over). A bare array is the value of the only input."""
    executor = Executor(graph)
    results = []
    for sample in samples:
        inputs = sample if isinstance(sample, Mapping) else {graph.inputs[0]: sample}
        results.append(executor(inputs))
    return results


def run_stacked(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """The outputs for each of many samples in order: input name → array [samples, *shape of the input].

    The same bits as ``Executor`` gives, in about half the time where samples can be stacked: without states, in integer
    graphs.

    Raises:
        DataError: when an input is missing or has the wrong shape or dtype.
    """
    count = min((len(array) for array in inputs.values()), default=0)
    together = min(_TOGETHER, count) if _stacks(graph) else 1
    executors: dict[int, Executor] = {}
    for start in range(0, count, max(together, 1)):
        size = min(together, count - start)
        if size not in executors:
            executors[size] = Executor(stacked(graph, size) if size > 1 else graph)
        part = {name: array[start : start + size] for name, array in inputs.items()}
        merged = {name: array.reshape(-1, *array.shape[2:]) if size > 1 else array[0] for name, array in part.items()}
        values = executors[size](merged)
        for index in range(size):
            yield {name: value[index : index + 1] for name, value in values.items()} if size > 1 else values


def _stacks(graph: Graph) -> bool:
    """Whether samples may run at once and give the same bits: float sums would be rounded in another order, and a
    constant does not grow along the batch axis where it is an output, put beside the samples, or the start of a
    recurrent layer."""
    varying = [t for t in graph.tensors.values() if not t.is_constant]
    whole = all(t.dtype is not DType.FLOAT32 and t.shape[:1] == (1,) for t in varying)
    fixed = any(graph.tensors[name].is_constant for name in graph.outputs) or any(
        isinstance(o.attributes, (ops.Concat, ops.Lstm, ops.Gru)) and any(t.is_constant for t in graph.ins(o))
        for o in graph.operators
    )
    return whole and not fixed and batch_problem(graph) is None
