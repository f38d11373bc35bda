"""The float executor: operators in float32, through torch.

``run_float`` is what the executor calls per operator; ``run_batch`` runs a whole float graph over many samples at
once, as calibration and training do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from tinyopt.bridge.functional import FUNCTIONS
from tinyopt.errors import DataError, GraphError
from tinyopt.execute.integer import integer_functions
from tinyopt.graph import Array, Graph, Tensor, batch_problem, for_batch, ops
from tinyopt.graph.ops import Attributes

__all__ = ["run_batch", "run_float", "run_sample"]

_MOVES = (ops.Reshape, ops.Transpose, ops.BroadcastTo, ops.Concat, ops.Split, ops.Slice, ops.Gather, ops.ArgMax)
"""Operators that do the same to integers."""


def run_float(
    attributes: Attributes, arrays: Sequence[Array], input_tensors: Sequence[Tensor], output_tensors: Sequence[Tensor]
) -> list[Array]:
    """Compute one operator in float32.

    ``arrays``: the values of all inputs, constants too; the batch axis may be larger than the graph's. Returns arrays
    in the order of ``output_tensors``, with their dtypes.

    Raises:
        GraphError: when the operator has no float implementation.
    """
    if isinstance(attributes, ops.Quantize):
        quantization, dtype = output_tensors[0].quantization, output_tensors[0].dtype
        assert quantization is not None
        real = (
            arrays[0] if input_tensors[0].quantization is None else input_tensors[0].quantization.dequantize(arrays[0])
        )
        return [quantization.quantize(real, dtype)]
    if isinstance(attributes, ops.Dequantize):
        assert input_tensors[0].quantization is not None
        return [input_tensors[0].quantization.dequantize(arrays[0])]
    if isinstance(attributes, ops.DynamicRange):
        return integer_functions()[type(attributes)](attributes, arrays, input_tensors, output_tensors)
    if input_tensors[0].quantization is not None and not isinstance(attributes, _MOVES):
        raise GraphError(f"{attributes.kind} of '{input_tensors[0].name}' works on quantized integers, not on floats")
    function = FUNCTIONS.get(type(attributes))
    if function is None:
        raise GraphError(f"{attributes.kind} has no float implementation")
    declared = input_tensors[0].shape
    batch = arrays[0].shape[0] if declared[:1] == (1,) else 1
    with torch.inference_mode():
        results = function(for_batch(attributes, batch), [_tensor(array) for array in arrays])
    return [
        result.contiguous().numpy().astype(tensor.dtype.numpy, copy=False)
        for result, tensor in zip(results, output_tensors)
    ]


def _tensor(array: Array) -> torch.Tensor:
    # Constants are read-only; torch warns about those, though nothing here writes to its inputs.
    if not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(np.asarray(array, order="C"))


def run_batch(
    graph: Graph, inputs: Mapping[str, Array], *, observe: Callable[[Tensor, Array], None] | None = None
) -> dict[str, Array]:
    """Run a float graph over samples stacked along axis 0: input name → array [samples, ...] (the graph's batch of one
    replaced), outputs likewise. ``observe`` sees every activation, stacked, inputs first.

    Graphs whose operators work along axis 0 run sample by sample, with the same results; states start from their
    initial values and carry over from one sample to the next.

    Raises:
        DataError: when an input is missing or its shape does not fit.
    """
    count = _batch_size(graph, inputs)
    states = {state.name: np.asarray(state.initial) for state in graph.states}
    if batch_problem(graph) is None:
        return _run(graph, inputs, states, observe)
    parts: list[dict[str, Array]] = []
    for index in range(count):
        sample = {name: np.asarray(inputs[name])[index : index + 1] for name in graph.inputs}
        parts.append(_run(graph, sample, states, observe))
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in graph.outputs}


def run_sample(
    graph: Graph, inputs: Mapping[str, Array], *, observe: Callable[[Tensor, Array], None] | None = None
) -> dict[str, Array]:
    """Run a float graph once: input name → array of exactly the input's shape. States hold their initial values.

    Raises:
        GraphError: when the graph has integer operators; those are ``tinyopt.execute.Executor``'s.
    """
    return _run(graph, inputs, {state.name: np.asarray(state.initial) for state in graph.states}, observe)


def _batch_size(graph: Graph, inputs: Mapping[str, Array]) -> int:
    sizes = set()
    for name in graph.inputs:
        tensor = graph.tensors[name]
        if name not in inputs:
            raise DataError(f"the model needs an input '{name}' ({tensor.dtype.value}{list(tensor.shape)})")
        array = np.asarray(inputs[name])
        if tensor.shape[:1] != (1,):
            raise DataError(f"input '{name}' {list(tensor.shape)} has no leading axis of one to stack samples along")
        if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:] or array.dtype != tensor.dtype.numpy:
            raise DataError(
                f"input '{name}' must be {tensor.dtype.value}[samples{''.join(f', {d}' for d in tensor.shape[1:])}], "
                f"got {array.dtype}{list(array.shape)}"
            )
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise DataError(f"the inputs hold different numbers of samples: {sorted(sizes)}")
    return sizes.pop() if sizes else 1


def _run(
    graph: Graph,
    inputs: Mapping[str, Array],
    states: dict[str, Array],
    observe: Callable[[Tensor, Array], None] | None,
) -> dict[str, Array]:
    """One pass over the operators; ``states`` (name → value) is updated."""
    values: dict[str, Array] = {name: np.asarray(inputs[name]) for name in graph.inputs}
    values.update({state.read: states[state.name] for state in graph.states})
    if observe:
        for name in graph.inputs:
            observe(graph.tensors[name], values[name])
    remaining = _uses(graph)
    for operator in graph.operators:
        arrays = [t.data if t.data is not None else values[t.name] for t in graph.ins(operator)]
        results = run_float(operator.attributes, arrays, graph.ins(operator), graph.outs(operator))
        for tensor, array in zip(graph.outs(operator), results):
            values[tensor.name] = array
            if observe:
                observe(tensor, array)
        for name in set(operator.inputs):
            remaining[name] -= 1
            if remaining[name] == 0:
                values.pop(name, None)
    for tensor in graph.constants():
        values[tensor.name] = tensor.value
    states.update({state.name: values[state.write] for state in graph.states})
    return {name: values[name] for name in graph.outputs}


def _uses(graph: Graph) -> dict[str, int]:
    """How many operators read each tensor; kept tensors count one more."""
    uses = dict.fromkeys(graph.tensors, 0)
    for operator in graph.operators:
        for name in set(operator.inputs):
            uses[name] += 1
    for name in graph.kept:
        uses[name] += 1
    return uses
