"""Calls of one kernel on parts of a layer, joined to the constants of a kernel that calls it for each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from tinyopt.graph import Array
from tinyopt.plan.kernel import Call, Constant, Value
from tinyopt.plan.packing import requantization


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
