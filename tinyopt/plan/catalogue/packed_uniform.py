"""Fully connected layers whose weights are evenly spaced values: their codes are multiplied without being expanded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packed import WIDTHS, Groups, Uniform, different_values
from tinyopt.plan.packing import (
    all_shift_right,
    bias_name,
    folded_bias,
    is_narrow,
    output_limits,
    requantization,
    right_shifts,
    sum_reach,
)

_BLOCK = 8
"""Outputs that are computed together."""
_INPUTS = 8
"""The DSP kernels take that many inputs in turn."""


def _uniform(graph: Graph, operator: Operator, bits: int) -> Uniform | None:
    """How the weights are spaced, if this kind of layer has codes of that many bits."""
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return None
    uniform = Uniform.of(different_values(graph.ins(operator)[1].value))
    return uniform if uniform is not None and uniform.bits == bits else None


def _codes(weights: Array, uniform: Uniform, inputs: int) -> Array:
    """int64 [blocks, 8, inputs], filled up with zeros."""
    outputs, size = weights.shape
    codes = np.zeros((-(-outputs // _BLOCK) * _BLOCK, -(-size // inputs) * inputs), np.int64)
    codes[:outputs, :size] = (weights.astype(np.int64) - uniform.low) // uniform.step
    return codes.reshape(-1, _BLOCK, codes.shape[1])


def _filled_up(values: Array) -> Array:
    """The last value again, up to whole blocks."""
    result: Array = np.pad(values, (0, -len(values) % _BLOCK), mode="edge")
    return result


def _lower(graph: Graph, operator: Operator, kernel: Kernel, uniform: Uniform, codes: Array, scratch: int = 0) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    multipliers, shifts = fully_connected_multipliers(x, w, y)
    if len(multipliers) > 1:
        multipliers, shifts = _filled_up(multipliers), _filled_up(shifts)
    parameters: dict[str, Value] = {
        "codes": Constant(codes.astype(np.uint32), source=w.name),
        "bias": Constant(_filled_up(folded_bias(ins, w.value)), source=bias_name(ins)),
        **requantization(multipliers, right_shifts(multipliers, shifts)),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        "step": uniform.step,
        "low": uniform.low,
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)


# Two outputs in a word: pairs.c.


def _pack_pairs(weights: Array, uniform: Uniform) -> Array:
    bits = uniform.bits
    codes = _codes(weights, uniform, 4 // bits)
    fields = codes.reshape(len(codes), 2, 4, -1, 4 // bits)  # [blocks, halves, s, words, t]
    fields = fields << (bits * np.arange(4))[:, None, None] << (4 * bits * np.arange(4 // bits))
    words = (fields << (16 * np.arange(2))[:, None, None, None]).sum(axis=(1, 2, 4))
    result: Array = words.reshape(-1)
    return result


def _pairs(bits: int, per_mac: float) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if _uniform(graph, operator, bits) is None:
            return False
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        bias = folded_bias(ins, ins[1].value)
        return is_narrow(ins[1].value, bias, *fully_connected_multipliers(ins[0], ins[1], y))

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        uniform = _uniform(graph, operator, bits)
        assert uniform is not None
        return _lower(graph, operator, kernel, uniform, _pack_pairs(graph.ins(operator)[1].value, uniform))

    def cost(graph: Graph, operator: Operator) -> float:
        """Fitted on the emulated M0."""
        return per_mac * operator_macs(graph, operator) + 110 * graph.outs(operator)[0].size

    return Kernel(
        name=f"uniform_fully_connected_s8_pairs_{bits}",
        family="uniform_fully_connected_s8",
        source="pairs.c",
        accepts=accepts,
        lower=lower,
        cost=cost,
        needs=("common.h", "narrow.h"),
    )


# The Arm DSP extension: dsp.c.


def _in_half(bits: int) -> int:
    """Outputs whose codes lie in half a word."""
    return 4 if bits == 4 else _BLOCK


def _signed_codes(weights: Array, uniform: Uniform) -> Array:
    """[blocks, 8, inputs]; the last code of a half is lower by half of the range."""
    codes = _codes(weights, uniform, _INPUTS)
    if uniform.bits > 1:
        codes[:, _in_half(uniform.bits) - 1 :: _in_half(uniform.bits)] -= 1 << (uniform.bits - 1)
    return codes


def _fits_half(weights: Array, uniform: Uniform) -> bool:
    """Whether every sum stays within the bits that are left above those of the outputs below it."""
    reach = 128 * np.abs(_signed_codes(weights, uniform)).sum(axis=2).max(axis=0)
    places = np.arange(_BLOCK) % _in_half(uniform.bits)
    return bool((reach < 1 << (31 - uniform.bits * places)).all())


def _fitting(graph: Graph, operator: Operator, bits: int) -> Uniform | None:
    """The uniform weights, with codes that start at 0 or in the middle of what is not used of the range."""
    uniform, weights = _uniform(graph, operator, bits), graph.ins(operator)[1].value
    if uniform is None:
        return None
    unused = (1 << bits) - 1 - int(weights.max() - np.int64(uniform.low)) // uniform.step
    centred = Uniform(uniform.low - -(-unused // 2) * uniform.step, uniform.step, bits)
    return next((choice for choice in (centred, uniform) if _fits_half(weights, choice)), None)


def _pack_dsp(weights: Array, uniform: Uniform) -> Array:
    bits = uniform.bits
    codes = _signed_codes(weights, uniform) & ((1 << bits) - 1)
    halves = codes.reshape(len(codes), _BLOCK, -1, 2)  # [blocks, outputs, pairs of inputs, halves]
    words = (halves << (16 * np.arange(2))).sum(axis=3)
    if bits == 4:
        parts = words.reshape(len(codes), 2, 4, -1) << (4 * np.arange(4))[:, None]
        words = parts.sum(axis=2).swapaxes(1, 2)
    elif bits == 2:
        words = (words << (2 * np.arange(_BLOCK))[:, None]).sum(axis=1)
    else:
        parts = (words << np.arange(_BLOCK)[:, None]).sum(axis=1).reshape(len(codes), -1, 2)
        words = (parts << (8 * np.arange(2))).sum(axis=2)
    result: Array = words.reshape(-1)
    return result


def _dsp(bits: int, per_mac: float) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if _uniform(graph, operator, bits) is None:
            return False
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        if sum_reach(ins[1].value, folded_bias(ins, ins[1].value)) >= 1 << 30:
            return False
        shifted = all_shift_right(*fully_connected_multipliers(ins[0], ins[1], y))
        return shifted and _fitting(graph, operator, bits) is not None

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        uniform, w = _fitting(graph, operator, bits), graph.ins(operator)[1]
        assert uniform is not None
        scratch = 2 * (-(-w.shape[1] // _INPUTS) * _INPUTS)
        return _lower(graph, operator, kernel, uniform, _pack_dsp(w.value, uniform), scratch)

    def cost(graph: Graph, operator: Operator) -> float:
        """Fitted on the emulated M4."""
        y, inputs = graph.outs(operator)[0], graph.ins(operator)[1].shape[1]
        padded = -(-inputs // _INPUTS) * _INPUTS
        outputs = -(-y.shape[-1] // _BLOCK) * _BLOCK
        rows = y.size // y.shape[-1]
        return rows * (per_mac * padded * outputs + 30 * outputs + 6 * inputs + 60)

    return Kernel(
        name=f"uniform_fully_connected_s8_dsp_{bits}",
        family="uniform_fully_connected_s8",
        source="dsp.c",
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h"),
        uses_scratch=True,
    )


# Helium: mve.c.

_VECTOR = 16


def _pack_mve(weights: Array, uniform: Uniform) -> Array:
    """Words of the vectors of blocks of four outputs, or eight."""
    bits = uniform.bits
    codes = _codes(weights, uniform, _VECTOR)
    rows = codes.reshape(-1, codes.shape[2])
    if bits > 1:
        rows = rows[: -(-len(weights) // 4) * 4]
    in_byte = 8 // bits
    fields = rows.reshape(-1, max(4, in_byte) // in_byte, in_byte, codes.shape[2] // _VECTOR, _VECTOR)
    if bits > 1:
        fields[:, :, -1] ^= 1 << (bits - 1)
    vectors = (fields << (bits * np.arange(in_byte))[:, None, None]).sum(axis=2).swapaxes(1, 2)
    result: Array = vectors.astype(np.uint8).reshape(-1).view("<u4")
    return result


def _mve(bits: int, per_mac: float) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if _uniform(graph, operator, bits) is None:
            return False
        ins = graph.ins(operator)
        return all_shift_right(*fully_connected_multipliers(ins[0], ins[1], graph.outs(operator)[0]))

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        uniform = _uniform(graph, operator, bits)
        assert uniform is not None
        return _lower(graph, operator, kernel, uniform, _pack_mve(graph.ins(operator)[1].value, uniform))

    def cost(graph: Graph, operator: Operator) -> float:
        """Fitted on the emulated M55."""
        outputs, inputs = graph.ins(operator)[1].shape
        rows = graph.outs(operator)[0].size / outputs
        steps = -(-inputs // _VECTOR)
        return rows * (40 + 3 * steps + -(-outputs // 4) * (4 * _VECTOR * per_mac * steps + 65))

    return Kernel(
        name=f"uniform_fully_connected_s8_mve_{bits}",
        family="uniform_fully_connected_s8",
        source="mve.c",
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=frozenset({"mve"}),
        needs=("common.h", "mve.h"),
    )


# Groups of inputs that share a multiplier.


def _groups(graph: Graph, operator: Operator) -> Groups | None:
    """The groups of a layer whose weights fit into no fewer than eight bits without them."""
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return None
    weights = graph.ins(operator)[1].value
    return None if Uniform.of(different_values(weights)) else Groups.of(weights)


_STEPS = Uniform(-8, 1, 4)
"""Of weights without their multipliers."""


def _lower_groups(
    graph: Graph, operator: Operator, kernel: Kernel, pack: Callable[[Array, Uniform], Array], scratch: int
) -> Call:
    groups, weights = _groups(graph, operator), graph.ins(operator)[1].value
    assert groups is not None
    steps = weights.astype(np.int64) // groups.spread(weights.shape[1])
    call = _lower(graph, operator, kernel, _STEPS, pack(steps, _STEPS), scratch)
    count = groups.multipliers.shape[1]
    padded = np.zeros((-(-len(weights) // _BLOCK) * _BLOCK, count), np.int64)
    padded[: len(weights)] = groups.multipliers
    words = (padded.reshape(-1, _BLOCK, count) << (4 * np.arange(_BLOCK))[:, None]).sum(axis=1)
    table = Constant(words.astype(np.uint32), source=graph.ins(operator)[1].name)
    return replace(call, parameters={**call.parameters, "group_multipliers": table, "group": groups.size})


def _pairs_groups() -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if _groups(graph, operator) is None:
            return False
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        bias = folded_bias(ins, ins[1].value)
        return is_narrow(ins[1].value, bias, *fully_connected_multipliers(ins[0], ins[1], y))

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        return _lower_groups(graph, operator, kernel, _pack_pairs, 0)

    def cost(graph: Graph, operator: Operator) -> float:
        return 6.0 * operator_macs(graph, operator) + 110 * graph.outs(operator)[0].size

    return Kernel(
        name="uniform_fully_connected_s8_pairs_4_groups",
        family="uniform_fully_connected_s8",
        source="pairs.c",
        accepts=accepts,
        lower=lower,
        cost=cost,
        needs=("common.h", "narrow.h"),
    )


def _dsp_groups() -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        groups = _groups(graph, operator)
        if groups is None:
            return False
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        return sum_reach(ins[1].value, folded_bias(ins, ins[1].value)) < 1 << 30 and all_shift_right(
            *fully_connected_multipliers(ins[0], ins[1], y)
        )

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        groups, inputs = _groups(graph, operator), graph.ins(operator)[1].shape[1]
        assert groups is not None
        scratch = 2 * (-(-inputs // _INPUTS) * _INPUTS) + 4 * groups.multipliers.shape[1]
        return _lower_groups(graph, operator, kernel, _pack_dsp, scratch)

    def cost(graph: Graph, operator: Operator) -> float:
        """Fitted on the emulated M4."""
        groups, outputs = _groups(graph, operator), graph.outs(operator)[0].size
        count = 1 if groups is None else groups.multipliers.shape[1]
        return 1.1 * operator_macs(graph, operator) + outputs * (30 + 45 * count)

    return Kernel(
        name="uniform_fully_connected_s8_dsp_4_groups",
        family="uniform_fully_connected_s8",
        source="dsp.c",
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h"),
        uses_scratch=True,
    )


def _kernels() -> Iterator[Kernel]:
    makers: tuple[tuple[Callable[[int, float], Kernel], dict[int, float]], ...] = (
        (_pairs, {4: 4.1, 2: 2.9, 1: 2.7}),
        (_dsp, {4: 1.2, 2: 1.2, 1: 1.2}),
        (_mve, {4: 0.18, 2: 0.18, 1: 0.23}),
    )
    for make, per_mac in makers:
        for bits in WIDTHS:
            yield make(bits, per_mac[bits])
    yield _pairs_groups()
    yield _dsp_groups()


KERNELS = tuple(_kernels())
