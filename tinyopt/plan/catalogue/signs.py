"""Kernels of signs that are stored as bits: packing, and convolutions (XNOR and counting)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.execute.integer.signs import pack_signs, unpack_signs
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.catalogue.convolution import window_fields
from tinyopt.plan.catalogue.pooling import pool_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import output_limits, requantization

# ---- packing ----


def _accepts_packing(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.PackSigns) and not graph.ins(operator)[0].is_constant


def _lower_packing(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    parameters: dict[str, Value] = {
        "pixels": math.prod(x.shape[:-1]),
        "channels": x.shape[-1],
        "zero_point": x.zero_point,
    }
    # Words begin at multiples of four bytes, wherever the input lies.
    in_place = ((0, 0),) if x.shape[-1] % 4 == 0 else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=in_place)


def _cost_packing(graph: Graph, operator: Operator, sign: float, word: float) -> float:
    return sign * graph.ins(operator)[0].size + word * graph.outs(operator)[0].size


def _fills_words(graph: Graph, operator: Operator) -> bool:
    return _accepts_packing(graph, operator) and graph.ins(operator)[0].shape[-1] >= 32


def _packing(name: str, sign: float, word: float) -> Kernel:
    """``sign``, ``word``: cycles of each."""
    return Kernel(
        name=f"pack_signs_s8_{name}",
        family="pack_signs",
        source=f"{name}.c",
        accepts=_fills_words if name == "dsp" else _accepts_packing,
        lower=_lower_packing,
        cost=partial(_cost_packing, sign=sign, word=word),
        requires=frozenset({name} - {"ref"}),
        needs=("common.h", *((f"{name}.h",) if name != "ref" else ())),
    )


# ---- convolution ----


def _contiguous(graph: Graph, operator: Operator) -> bool:
    """Whether every patch lies in the input as one unbroken run of words."""
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    _, height, width, _ = w.shape
    row_unbroken = width == 1 or a.dilation[1] == 1
    rows_joined = height == 1 or (width == x.shape[2] and a.dilation[0] == 1 and y.shape[2] == 1)
    last_row = (y.shape[1] - 1) * a.stride[0] + (height - 1) * a.dilation[0]
    last_column = (y.shape[2] - 1) * a.stride[1] + (width - 1) * a.dilation[1]
    inside = not (a.padding.top or a.padding.left) and last_row < x.shape[1] and last_column < x.shape[2]
    return row_unbroken and rows_joined and inside


def _accepts(packed: bool) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a, ins = operator.attributes, graph.ins(operator)
        return (
            isinstance(a, ops.XnorConv2d)
            and a.packed is packed
            and not ins[0].is_constant
            and all(t.is_constant for t in ins[1:])
        )

    return accepts


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w, third), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    contiguous = _contiguous(graph, operator)
    parameters: dict[str, Value] = {
        "weights": Constant(w.value.view(np.uint32), source=w.name),
        "thresholds" if a.packed else "bias": Constant(third.value, source=third.name),
    }
    if not a.packed:
        parameters |= {**requantization(*output_multipliers(x, w, y)), **output_limits(y, a.activation)}
    parameters |= {
        "channels": a.channels,
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "contiguous": int(contiguous),
    }
    scratch = 0 if contiguous else 8 * w.size // w.shape[0]
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)


def _whole_windows(graph: Graph, operator: Operator) -> int:
    """Output pixels whose window lies inside the image."""
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    pixels = y.shape[0]
    for axis, before in enumerate((a.padding.top, a.padding.left)):
        starts = np.arange(y.shape[1 + axis]) * a.stride[axis] - before
        ends = starts + (w.shape[1 + axis] - 1) * a.dilation[axis]
        pixels *= int(((starts >= 0) & (ends < x.shape[1 + axis])).sum())
    return pixels


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4: words of weights per pixel, more at the border, and what outputs and pixels take."""
    a, w, y = operator.attributes, graph.ins(operator)[1], graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    pixels, whole, patch = math.prod(y.shape[:3]), _whole_windows(graph, operator), w.size // w.shape[0]
    per_word, per_output = (11, 21) if patch <= 2 else (14, 43)
    words = w.size * (per_word * whole + 19 * (pixels - whole))
    outputs = pixels * w.shape[0] * (per_output if a.packed else per_output + 40)
    gather = 0 if _contiguous(graph, operator) else 12 * patch
    return words + outputs + pixels * (100 + gather) + 300


# ---- convolution, 32 outputs at a time ----

_LARGEST_PATCH = 2**15 - 1
"""Signs of a patch: their numbers are listed in 16 bits."""
_INSIDE = 0.65
"""Share of a patch at the border that lies inside the image."""


def _has_border(graph: Graph, operator: Operator) -> bool:
    return _whole_windows(graph, operator) < math.prod(graph.outs(operator)[0].shape[:3])


def _accepts_sliced(packed: bool) -> Callable[[Graph, Operator], bool]:
    accepts_packed = _accepts(packed)

    def accepts(graph: Graph, operator: Operator) -> bool:
        return accepts_packed(graph, operator) and _patch(graph, operator) <= _LARGEST_PATCH

    return accepts


def _patch(graph: Graph, operator: Operator) -> int:
    """Signs of a patch."""
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.XnorConv2d)
    return a.channels * w.shape[1] * w.shape[2]


def _lower_sliced(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w, third), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    size = _patch(graph, operator)
    positive = unpack_signs(w.value, a.channels).reshape(w.shape[0], size) > 0
    totals = positive.sum(axis=1, dtype=np.int64)
    planes = max(size.bit_length(), 4)
    parameters: dict[str, Value] = {"weights": Constant(_rows_of_outputs(positive), source=w.name)}
    if a.packed:
        limits = _limits(totals, third.value.astype(np.int64), size, planes + 1)
        if not _has_border(graph, operator):
            limits = limits[:2]
        parameters["limits"] = Constant(limits, source=third.name)
    else:
        parameters |= {
            "totals": Constant(totals.astype(np.int32), source=w.name),
            "bias": Constant(third.value, source=third.name),
            **requantization(*output_multipliers(x, w, y)),
            **output_limits(y, a.activation),
        }
    parameters |= {
        "planes": planes,
        "channels": a.channels,
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), 2 * (size + 64))


def _rows_of_outputs(positive: Array) -> Array:
    """bool [O,signs] → uint32 [ceil(O/32),signs+1]: bit ``o % 32`` of a word is output ``o``; the last word is 0."""
    words = pack_signs(positive.T).T
    return np.ascontiguousarray(np.pad(words, ((0, 0), (0, 1)))).view(np.uint32)


def _limits(totals: Array, thresholds: Array, size: int, bits: int) -> Array:
    """uint32 [3,ceil(O/32),bits]: what the counts of ``sliced.h`` are compared with. One set for the rows of zeros of
    whole patches, one for those of ones, one for the border."""
    most = (size - thresholds) // 2  # differences with which the sum still reaches the threshold
    sets = np.stack([most + totals + 1, totals + size - most, size - thresholds + 1]).clip(0, 2 * size + 1)
    spare = -sets.shape[1] % 32
    sets = np.pad(sets, ((0, 0), (0, spare)))
    if spare:
        sets[1, -spare:] = 2 * size + 1  # ends as 0 too
    slices = [pack_signs((sets >> bit & 1).astype(bool)) for bit in range(bits)]
    return np.ascontiguousarray(np.stack(slices, axis=-1)).view(np.uint32)


@dataclass(frozen=True)
class _Rates:
    """Cycles: to list a row of weights, to add it to a word of outputs, and of that word besides."""

    listed: float
    added: float
    block: float


_SLICED, _MVE = _Rates(8.5, 11.5, 300), _Rates(7, 4.5, 500)
"""Fitted on the emulated M4 and M55."""


def _cost_sliced(graph: Graph, operator: Operator, rates: _Rates) -> float:
    a, w, y = operator.attributes, graph.ins(operator)[1], graph.outs(operator)[0]
    assert isinstance(a, ops.XnorConv2d)
    pixels, whole, size = math.prod(y.shape[:3]), _whole_windows(graph, operator), _patch(graph, operator)
    border, blocks = pixels - whole, -(-w.shape[0] // 32)
    listed = size * (whole + _INSIDE * border)
    added = size * (0.5 * whole + _INSIDE * border)
    outputs = rates.block * blocks * (pixels + border) + (0 if a.packed else 110 * pixels * w.shape[0])
    return rates.listed * listed + rates.added * added * blocks + outputs + 200 * pixels + 300


def _sliced(name: str, packed: bool) -> Kernel:
    kind = "bits" if packed else "s8"
    return Kernel(
        name=f"xnor_conv2d_{kind}_{name}",
        family="xnor_conv2d",
        source=f"{name}.c",
        accepts=_accepts_sliced(packed),
        lower=_lower_sliced,
        cost=partial(_cost_sliced, rates=_MVE if name == "mve" else _SLICED),
        requires=frozenset({"mve"} if name == "mve" else ()),
        needs=("common.h", "signs.h", "window.h", *(("mve.h",) if name == "mve" else ())),
        uses_scratch=True,
    )


def _kernel(name: str, packed: bool) -> Kernel:
    kind = "bits" if packed else "s8"
    return Kernel(
        name=f"xnor_conv2d_{kind}_{name}",
        family="xnor_conv2d",
        source=f"{name}.c",
        accepts=_accepts(packed),
        lower=_lower,
        cost=_cost,
        needs=("common.h", "signs.h", "pixels.h", "window.h"),
        uses_scratch=True,
    )


# ---- pooling ----


def _accepts_pooling(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.OrPool2d) and not graph.ins(operator)[0].is_constant


def _lower_pooling(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.OrPool2d)
    return Call(kernel, operator, pool_fields(a, x, y), (x.name,), (y.name,))


def _cost_pooling(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4."""
    a, y = operator.attributes, graph.outs(operator)[0]
    assert isinstance(a, ops.OrPool2d)
    return y.size * (12.0 + 9.0 * a.kernel[0] + 5.0 * a.kernel[0] * a.kernel[1]) + 40.0 * y.size / y.shape[3] + 60


KERNELS = (
    Kernel(
        name="or_pool2d_ref",
        family="or_pool2d",
        source="ref.c",
        accepts=_accepts_pooling,
        lower=_lower_pooling,
        cost=_cost_pooling,
        needs=("common.h", "window.h"),
    ),
    _packing("ref", 8, 40),
    _packing("dsp", 1.8, 25),
    _packing("mve", 0.8, 30),
    _kernel("ref", packed=False),
    _kernel("ref", packed=True),
    _sliced("sliced", packed=False),
    _sliced("sliced", packed=True),
    _sliced("mve", packed=False),
    _sliced("mve", packed=True),
)
