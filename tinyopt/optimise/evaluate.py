"""Small computations that passes do through the executors, so that they agree with them by construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyopt.execute.executor import run_operator
from tinyopt.graph import Array, DType, Graph, Operator, Shape, Tensor
from tinyopt.graph.ops import Attributes


def compute(attributes: Attributes, ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    """The values of an operator whose inputs are all constants."""
    tensors = [t.renamed(f"in{k}") for k, t in enumerate(ins)]
    results = [replace(t, name=f"out{k}", data=None) for k, t in enumerate(outs)]
    operator = Operator("evaluate", attributes, tuple(t.name for t in tensors), tuple(t.name for t in results))
    # The operator is run as it stands; a graph of constants alone lets the executor find the tensors' types.
    graph = Graph(
        "evaluate", {t.name: t for t in (*tensors, *results)}, (operator,), (), tuple(t.name for t in results)
    )
    return run_operator(graph, operator, [t.value for t in tensors])


def elementwise(attributes: Attributes, x: Tensor, y: Tensor, values: Array) -> Array:
    """An elementwise operator of one input on ``values`` [n] of the type of ``x``; gives [n] of the type of ``y``."""
    shape: Shape = (len(values),)
    source = Tensor("x", shape, x.dtype, np.ascontiguousarray(values, x.dtype.numpy), x.quantization)
    target = Tensor("y", shape, y.dtype, None, y.quantization)
    return compute(attributes, [source], [target])[0]


def all_values(dtype: DType) -> Array:
    """Every value of an 8- or 16-bit integer type, ascending."""
    low, high = dtype.limits
    return np.arange(low, high + 1).astype(dtype.numpy)


def has_few_values(tensor: Tensor) -> bool:
    """Whether every value of a per-tensor quantized tensor can be tried."""
    return (
        tensor.dtype in (DType.INT8, DType.UINT8, DType.INT16)
        and tensor.quantization is not None
        and tensor.quantization.axis is None
    )


def is_identity(attributes: Attributes, x: Tensor, y: Tensor) -> bool:
    """Whether an elementwise integer operator returns every value as it is, in the same format."""
    if x.dtype is not y.dtype or x.quantization != y.quantization or not has_few_values(x):
        return False
    values = all_values(x.dtype)
    return bool(np.array_equal(elementwise(attributes, x, y, values), values))
