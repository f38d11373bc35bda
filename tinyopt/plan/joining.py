"""Kernels that call another one for every part of a layer: its constants for all parts are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np

from tinyopt.graph import Array, Graph, Operator
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import requantization

Part = tuple[Graph, Operator]
"""Some of a layer's work as a layer of its own, alone in a graph."""


def kernel_of_parts(
    word: str,
    part_kernel: Kernel,
    *,
    split: Callable[[Graph, Operator], Iterator[Part] | None],
    join: Callable[[Graph, Operator, Sequence[Call]], tuple[dict[str, Value], int]],
    cost: Callable[[Graph, Operator], float],
) -> Kernel:
    """The kernel that calls another for every part of a layer; ``word`` goes before the names of kernel and family.

    ``split``: the parts, or None where the layer is not one for such a kernel. ``join``: from the calls for the parts,
    the parameters of the one call, and bytes of scratch.
    """

    def accepts(graph: Graph, operator: Operator) -> bool:
        parts = split(graph, operator)
        return parts is not None and all(part_kernel.accepts(*part) for part in parts)

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        calls = [part_kernel.lower(*part, part_kernel) for part in split(graph, operator) or ()]
        parameters, scratch = join(graph, operator, calls)
        return Call(kernel, operator, parameters, (operator.inputs[0],), (operator.outputs[0],), scratch)

    return Kernel(
        name=f"{word}_{part_kernel.name}",
        family=f"{word}_{part_kernel.family}",
        source=part_kernel.source,
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=part_kernel.requires,
        needs=("columns.h", f"{part_kernel.family}/{part_kernel.source}", *part_kernel.needs),
        uses_scratch=True,
        base=part_kernel.name,
    )


def joined_weights(calls: Sequence[Call], source: str) -> tuple[Constant, int]:
    """The weights of all parts, one after the other, and the bytes of one part. ``source``: the tensor they are of."""
    parts = [cast(Constant, call.parameters["weights"]).data for call in calls]
    return Constant(np.concatenate(parts), source=source), parts[0].nbytes


def joined_fields(calls: Sequence[Call], channels: int) -> dict[str, Value]:
    """The fields of one part's struct that hold for all of them, without weights. Biases, multipliers and shifts, where
    they are not among the weights, are those of all parts, of ``channels`` outputs each, one after the other."""
    fields = {name: value for name, value in calls[0].parameters.items() if name != "weights"}
    if "segment" in fields:
        fields["segment"] = min(cast(int, call.parameters["segment"]) for call in calls)
    if "bias" in fields:
        bias = _joined(calls, "bias", channels)
        fields["bias"] = Constant(bias, source=cast(Constant, fields["bias"]).source)
        fields.update(requantization(_joined(calls, "multipliers", channels), _joined(calls, "shifts", channels)))
    return fields


def _joined(calls: Sequence[Call], name: str, channels: int) -> Array:
    """A field of all parts; what a part has once for all channels is repeated."""
    parts = [cast(Constant, call.parameters[name]).data for call in calls]
    return np.concatenate([np.broadcast_to(part, channels) for part in parts])
