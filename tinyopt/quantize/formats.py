"""The number format of every activation: who shares one, which are fixed, and what range each covers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tinyopt.graph import Array, DType, Graph, Operator, Quantization, ops
from tinyopt.quantize.calibration import Calibration, CalibrationMethod
from tinyopt.quantize.parameters import activation_quantization


@dataclass(frozen=True)
class Format:
    """Element type and parameters of a quantized tensor."""

    dtype: DType
    quantization: Quantization


def _int8(scale: float, zero_point: int) -> Format:
    return Format(DType.INT8, Quantization.per_tensor(scale, zero_point))


_FIXED_UNARY = {
    ops.UnaryKind.LOGISTIC: _int8(1 / 256, -128),
    ops.UnaryKind.TANH: _int8(1 / 128, 0),
    ops.UnaryKind.SIGN: _int8(1.0, 0),
    ops.UnaryKind.SIGNUM: _int8(1.0, 0),
}
_FRACTION = Format(DType.INT16, Quantization.per_tensor(1 / 32768, 0))
"""int16 results of softmax, logistic and tanh."""
MOVED = (ops.Reshape, ops.Transpose, ops.BroadcastTo, ops.Split, ops.Slice, ops.Pad, ops.Gather)
"""Operators that move elements as they are."""
_ONE_FORMAT = (*MOVED, ops.MaxPool2d, ops.AveragePool2d, ops.Resize2d)
"""The outputs have the format of the first input."""


@dataclass
class _Group:
    """Tensors of one format."""

    members: list[str] = field(default_factory=list)
    extra: list[float] = field(default_factory=list)
    """Real values that the range must also cover: constants, initial states, padding."""
    pin: Format | None = None
    least_scale: float = 0.0


class Formats:
    """Assigns one format to each float activation that ``operators`` (those that become integer) read or write.

    ``symmetric``: zero points of 0 where no specification fixes the format. ``dtype``: int8, or int16 for all that
    ``operators`` read or write. ``requantized``: (operator name, input
    position) of inputs that must first be brought to the output's format.
    """

    def __init__(
        self,
        graph: Graph,
        operators: Iterable[Operator],
        calibration: Calibration,
        method: CalibrationMethod,
        *,
        symmetric: bool = False,
        dtype: DType = DType.INT8,
    ) -> None:
        self._symmetric, self.dtype = symmetric, dtype
        self._graph, self._calibration, self._method = graph, calibration, method
        self._operators = list(operators)
        self._group_of: dict[str, _Group] = {}
        self.requantized: set[tuple[str, int]] = set()
        self._share()
        self._raise_scales()
        self._formats = {name: self._format(group) for name, group in self._group_of.items()}

    def __getitem__(self, name: str) -> Format:
        if name not in self._formats:  # an edge that only float operators touch
            self._formats[name] = self._format(self._group(name))
        return self._formats[name]

    def as_int8(self, name: str) -> Format:
        """An int8 format for a tensor whose own format has more bits."""
        seen = self._calibration.tensors.get(name)
        low, high = (-1.0, 1.0) if seen is None else self._method.limits(seen)
        return Format(DType.INT8, activation_quantization(low, high, symmetric=self._symmetric))

    def sharing(self) -> list[tuple[tuple[str, ...], bool]]:
        """The activations by the format that they share, and whether that format is fixed by the operator."""
        groups = {id(group): group for group in self._group_of.values()}
        return [(tuple(group.members), group.pin is not None) for group in groups.values()]

    # ---- who shares a format ----

    def _group(self, name: str) -> _Group:
        group = self._group_of.get(name)
        if group is None:
            group = self._group_of[name] = _Group([name])
        return group

    def _join(self, first: str, second: str) -> None:
        """One group of both; a pin of either stays."""
        a, b = self._group(first), self._group(second)
        if a is b:
            return
        a.members += b.members
        a.extra += b.extra
        a.pin = a.pin or b.pin
        for name in b.members:
            self._group_of[name] = a

    def _share(self) -> None:
        for operator in self._operators:
            self._share_along(operator)
        for state in self._graph.states:
            if state.read in self._group_of or state.write in self._group_of:
                self._group(state.read).extra += [float(state.initial.min()), float(state.initial.max())]
                if state.read != state.write and not (self._group(state.read).pin and self._group(state.write).pin):
                    self._join(state.read, state.write)
        for operator in self._operators:
            a = operator.attributes
            choice = isinstance(a, ops.Binary) and a.op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM)
            if isinstance(a, ops.Concat) or choice:
                self._share_among(operator)

    def _share_along(self, operator: Operator) -> None:
        a, ins, outs = operator.attributes, self._graph.ins(operator), self._graph.outs(operator)
        for tensor in (*ins, *outs):
            if not tensor.is_constant and tensor.dtype is DType.FLOAT32:
                self._group(tensor.name)
        if isinstance(a, ops.Softmax):
            self._group(outs[0].name).pin = _int8(1 / 256, -128) if self.dtype is DType.INT8 else _FRACTION
        elif isinstance(a, ops.LogSoftmax):
            self._group(outs[0].name).pin = _int8(16 / 256, 127)
        elif isinstance(a, ops.Unary) and a.op in _FIXED_UNARY:
            self._group(outs[0].name).pin = _FIXED_UNARY[a.op] if self.dtype is DType.INT8 else _FRACTION
        elif isinstance(a, _ONE_FORMAT) or (
            isinstance(a, ops.Reduce) and a.op in (ops.ReduceKind.MAX, ops.ReduceKind.MIN)
        ):
            for output in outs:
                if ins[0].data is None:
                    self._join(ins[0].name, output.name)
                else:
                    self._cover(output.name, ins[0].data)
            if isinstance(a, ops.Pad) and a.mode is ops.PadMode.CONSTANT:
                self._cover_padding(ins[0].name, a.value)
        elif isinstance(a, (ops.Lstm, ops.Gru)):
            self._share_recurrent(operator, a)

    def _share_recurrent(self, operator: Operator, a: ops.Lstm | ops.Gru) -> None:
        y, *states = operator.outputs
        initial = operator.inputs[-len(states) :]
        if isinstance(a, ops.Lstm):
            self._join(y, states[0])
            if self._graph.tensors[initial[0]].data is None:
                self._join(y, initial[0])
            else:
                self._cover(y, self._graph.tensors[initial[0]].value)
        exponent = cell_exponent(self._calibration.cells.get(operator.name, 1.0)) if isinstance(a, ops.Lstm) else -15
        pin = Format(DType.INT16, Quantization.per_tensor(2.0**exponent))
        for name in (states[-1], initial[-1]):
            if self._graph.tensors[name].data is None and self._group(name) is not self._group(y):
                self._group(name).pin = self._group(name).pin or pin

    def _share_among(self, operator: Operator) -> None:
        """Inputs and output in one format; inputs whose format is fixed are requantized unless all agree."""
        (output,) = operator.outputs
        ins = self._graph.ins(operator)
        pins = {self._group(t.name).pin for t in ins if not t.is_constant}
        alike = len(pins) == 1 and all(not t.is_constant for t in ins)
        for position, tensor in enumerate(ins):
            if tensor.data is not None:
                self._cover(output, tensor.data)
            elif alike or self._group(tensor.name).pin is None:
                self._join(output, tensor.name)
            else:
                self.requantized.add((operator.name, position))
                self._group(output).extra += self._pinned_range(tensor.name)

    def _cover(self, name: str, values: Array) -> None:
        self._group(name).extra += [float(values.min()), float(values.max())]

    def _cover_padding(self, name: str, value: float) -> None:
        """A padding far outside the data means "never the largest"; saturated it still does."""
        seen = self._calibration.tensors.get(name)
        if seen is not None and abs(value) <= 4 * max(abs(seen.low), abs(seen.high)):
            self._group(name).extra.append(value)

    def _pinned_range(self, name: str) -> list[float]:
        statistics = self._calibration.tensors.get(name)
        return [] if statistics is None else [statistics.low, statistics.high]

    # ---- ranges and scales ----

    def _limits(self, group: _Group) -> tuple[float, float]:
        values = list(group.extra)
        for name in group.members:
            statistics = self._calibration.tensors.get(name)
            if statistics is not None and statistics.count:
                values += self._method.limits(statistics)
        return min(values, default=0.0), max(values, default=0.0)

    def _format(self, group: _Group) -> Format:
        if group.pin is not None:
            return group.pin
        quantization = activation_quantization(
            *self._limits(group), least_scale=group.least_scale, symmetric=self._symmetric, dtype=self.dtype
        )
        return Format(self.dtype, quantization)

    def _raise_scales(self) -> None:
        """Coarser outputs where calibration saw next to nothing of what the operator can produce.

        The integer operators scale 32-bit sums up to the output; beyond these ratios a sum that calibration never saw
        would wrap instead of saturating.
        """
        for operator in self._operators:
            a, ins = operator.attributes, self._graph.ins(operator)
            for output in operator.outputs:
                group = self._group_of.get(output)
                if group is None or group.pin is not None:
                    continue
                scales = [
                    self._format(self._group_of[t.name]).quantization.scale for t in ins if t.name in self._group_of
                ]
                largest = max(scales, default=0.0)
                if isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)):
                    weights = np.abs(ins[1].value.astype(np.float64))
                    axis = (0, 1, 2) if isinstance(a, ops.DepthwiseConv2d) else tuple(range(1, weights.ndim))
                    bias = float(np.abs(ins[2].value).max()) if len(ins) > 2 else 0.0
                    levels = 255.0 if self.dtype is DType.INT8 else 65535.0
                    least = (float(weights.sum(axis).max()) * levels * largest + bias) / (1 << 28)
                elif isinstance(a, (ops.Binary, ops.MatMul)) and self.dtype is DType.INT16:
                    depth = ins[0].shape[-1] if isinstance(a, ops.MatMul) else 1
                    least = max(largest / (1 << 10), float(np.prod(scales)) * depth if len(scales) > 1 else 0.0)
                elif isinstance(a, (ops.Binary, ops.MatMul)):
                    least = max(largest, float(np.prod(scales)) if len(scales) > 1 else 0.0) / (1 << 10)
                else:
                    least = largest / (1 << 10)
                group.least_scale = max(group.least_scale, least)


def cell_exponent(largest: float) -> int:
    """The power of two that is the scale of an int16 cell state whose magnitude reaches ``largest``."""
    exponent = int(np.ceil(np.log2(max(largest, 2.0**-4)))) - 15
    return min(max(exponent, -20), 2)
