"""Common subexpressions: equal operators on equal inputs are computed once, equal constants stored once."""

from __future__ import annotations

from tinyopt.graph import Graph, Tensor
from tinyopt.optimise.rewriter import Rewriter


def merge_duplicates(graph: Graph) -> Graph:
    """Let the readers of a repeated constant or operator read the first one.

    Operators merge when their attributes, their inputs and the types of their outputs are equal.
    """
    edit = Rewriter(graph)
    constants: dict[object, str] = {}
    for tensor in graph.constants():
        first = constants.setdefault((*_type(tensor), tensor.value.tobytes()), tensor.name)
        if first != tensor.name and tensor.name not in edit.kept:
            edit.redirect(tensor.name, first)
    seen: dict[object, tuple[str, ...]] = {}
    for operator in edit.scan():
        key = (operator.attributes, operator.inputs, tuple(_type(t) for t in edit.outs(operator)))
        first_outputs = seen.setdefault(key, operator.outputs)
        if first_outputs == operator.outputs or edit.kept.intersection(operator.outputs):
            continue
        edit.substitute(operator)
        for old, new in zip(operator.outputs, first_outputs):
            edit.redirect(old, new)
    return edit.finish()


def _type(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.quantization
