"""From float operators between Dequantize and Quantize (QDQ) to integer operators.

One pass in topological order. A float tensor that a Dequantize made is remembered with its integer source and is made
real only for an operator that stays float. An operator becomes an integer one when all its inputs have such sources
and its result goes into Quantize operators of one format; a relu or clip, and any movement of data, may lie between.
Formats that TensorFlow Lite's kernels fix (softmax, logistic, tanh, average pooling) are kept to by requantizing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.graph import DType, Graph, GraphBuilder, Operator, Quantization, Tensor, ops
from tinyopt.graph.ops import NONE, Attributes, Clamp, UnaryKind
from tinyopt.importers.tidy import rename_tensors, without_dead_operators

_MOVES = (ops.Reshape, ops.Transpose, ops.BroadcastTo, ops.Split, ops.Slice, ops.Pad, ops.MaxPool2d)
"""Operators that may be exchanged with a quantization: they only pick elements (and pad with a representable zero)."""
_SAME_FORMAT = (ops.AveragePool2d, ops.Resize2d, ops.Concat)
"""Integer kernels whose inputs and output share one format."""
_BIASED = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)
_FIXED = {
    UnaryKind.LOGISTIC: Quantization.per_tensor(1 / 256, -128),
    UnaryKind.TANH: Quantization.per_tensor(1 / 128, 0),
}
_SOFTMAX = Quantization.per_tensor(1 / 256, -128)
_LOG_SOFTMAX = Quantization.per_tensor(16 / 256, 127)
_FLOAT_ONLY = (ops.BatchNorm, ops.Lstm, ops.Gru, ops.Cast)


@dataclass(frozen=True)
class _Format:
    """An integer format of an activation."""

    dtype: DType
    quantization: Quantization

    @staticmethod
    def of(tensor: Tensor) -> _Format:
        assert tensor.quantization is not None
        return _Format(tensor.dtype, tensor.quantization)


def fold_quantization(graph: Graph) -> Graph:
    """The graph with integer operators wherever the formats around a float operator allow them.

    Operators that stay float inside a quantized graph are named in the notes. Graphs without Dequantize come back as
    they are.
    """
    if not any(isinstance(operator.attributes, ops.Dequantize) for operator in graph.operators):
        return graph
    return _Folding(graph).run()


class _Folding:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.builder.metadata.update(graph.metadata)
        self.names: dict[str, str] = {}  # tensor of the old graph → of the new one, same format
        self.integers: dict[str, str] = {}  # float tensor of the old graph → integer tensor of the new one
        self.fused: set[str] = set()  # Clip operators that went into their producer
        self.stayed: list[str] = []

    def run(self) -> Graph:
        graph = self.graph
        for name in graph.inputs:
            tensor = graph.tensors[name]
            self.names[name] = self.builder.input(name, tensor.shape, tensor.dtype, tensor.quantization)
        for operator in graph.operators:
            self._operator(operator)
        for name in graph.outputs:
            self.builder.output(self._real(name))
        if self.stayed:
            self.builder.note(f"stays in float32 between Dequantize and Quantize: {', '.join(self.stayed)}")
        result = self.builder.build()
        result = without_dead_operators(result)
        wanted = dict(zip(result.outputs, graph.outputs))
        return rename_tensors(result, {a: b for a, b in wanted.items() if a != b and b not in result.tensors})

    # ---- tensors ----

    def _real(self, name: str) -> str:
        """The tensor of the new graph with the old one's format; dequantized here where need be."""
        if name not in self.names:
            tensor = self.graph.tensors[name]
            source = self.integers.get(name)
            if source is None:
                self.names[name] = self.builder.add_tensor(tensor)
            elif (data := self.builder.tensor(source).data) is not None:
                held = self.builder.tensor(source).quantization
                assert held is not None
                self.names[name] = self.builder.constant(name, held.dequantize(data))
            else:
                self.names[name] = self.builder.add(ops.Dequantize(), [source], name=name)
        return self.names[name]

    def _integer(self, name: str) -> Tensor | None:
        """The integer tensor behind a float one."""
        source = self.integers.get(name)
        return None if source is None else self.builder.tensor(source)

    def _requantized(self, source: Tensor, wanted: _Format, name: str) -> str:
        if _Format.of(source) == wanted:
            return source.name
        return self.builder.add(
            ops.Quantize(), [source.name], name=name, dtype=wanted.dtype, quantization=wanted.quantization
        )

    # ---- operators ----

    def _operator(self, operator: Operator) -> None:
        attributes = operator.attributes
        if isinstance(attributes, ops.Dequantize):
            source = self.graph.tensors[operator.inputs[0]]
            self.integers[operator.outputs[0]] = self._real(source.name)
        elif isinstance(attributes, ops.Quantize):
            self._quantize(operator)
        elif operator.name in self.fused:
            self.integers[operator.outputs[0]] = self.integers[operator.inputs[0]]
        elif isinstance(attributes, (*_MOVES, ops.Gather)) and self._movable(operator):
            self._move(operator)
        elif not self._as_integer(operator):
            self._as_float(operator)

    def _quantize(self, operator: Operator) -> None:
        output = self.graph.tensors[operator.outputs[0]]
        source = self._integer(operator.inputs[0])
        if source is None:
            name = self._real(operator.inputs[0])
            self.names[output.name] = self.builder.add(
                ops.Quantize(), [name], name=operator.name, output=output.name, dtype=output.dtype,
                quantization=output.quantization,
            )  # fmt: skip
        else:
            self.names[output.name] = self._requantized(source, _Format.of(output), operator.name)

    def _movable(self, operator: Operator) -> bool:
        source = self._integer(operator.inputs[0])
        if source is None or source.quantization is None or source.quantization.axis is not None:
            return False
        a = operator.attributes
        if source.is_constant and not isinstance(a, ops.Gather):
            return False
        if isinstance(a, ops.MaxPool2d) and a.activation != NONE:
            return False
        return not isinstance(a, ops.Pad) or a.mode is not ops.PadMode.CONSTANT or a.value == 0

    def _move(self, operator: Operator) -> None:
        source = self._integer(operator.inputs[0])
        assert source is not None
        inputs = [source.name, *(self._real(n) for n in operator.inputs[1:])]
        outputs = self.builder.add_multi(
            operator.attributes, inputs, operator.name, None, source.dtype, [source.quantization]
        )
        self.integers.update(zip(operator.outputs, outputs))

    def _as_float(self, operator: Operator) -> None:
        if any(name in self.integers for name in operator.inputs) and self._wanted(operator.outputs[0])[0] is not None:
            self.stayed.append(f"{operator.name} ({operator.kind})")
        outs = self.graph.outs(operator)
        names = self.builder.add_multi(
            operator.attributes, [self._real(n) for n in operator.inputs], operator.name,
            [t.name for t in outs], outs[0].dtype, [t.quantization for t in outs],
        )  # fmt: skip
        self.names.update(zip(operator.outputs, names))

    def _wanted(self, name: str) -> tuple[_Format | None, Operator | None]:
        """The one format that a float tensor is quantized to, and the Clip on the way there."""
        clip: Operator | None = None
        padded = False
        while name not in self.graph.kept:
            readers = self.graph.consumers.get(name, ())
            quantizes = [r for r in readers if isinstance(r.attributes, ops.Quantize)]
            if readers and len(quantizes) == len(readers):
                formats = {_Format.of(self.graph.outs(r)[0]) for r in quantizes}
                return (formats.pop(), clip) if len(formats) == 1 else (None, None)
            if len(readers) != 1 or len(readers[0].outputs) != 1:
                break
            reader = readers[0]
            if isinstance(reader.attributes, ops.Clip) and clip is None and not padded:
                clip = reader
            elif not isinstance(reader.attributes, _MOVES) or _pads(reader.attributes):
                break
            padded |= isinstance(reader.attributes, ops.Pad)
            name = reader.outputs[0]
        return None, None

    def _as_integer(self, operator: Operator) -> bool:
        """Write the operator on integers, if all its formats allow it."""
        a = operator.attributes
        if isinstance(a, _FLOAT_ONLY) or len(operator.outputs) != 1:
            return False
        wanted, clip = self._wanted(operator.outputs[0])
        if isinstance(a, ops.ArgMax):
            return self._argmax(operator)
        if wanted is None or wanted.quantization.axis is not None:
            return False
        inputs = self._operands(operator, wanted)
        if inputs is None:
            return False
        if clip is not None and hasattr(a, "activation"):
            assert isinstance(clip.attributes, ops.Clip)
            merged = _both(a.activation, clip.attributes.clamp)
            if merged is not None:
                a = replace(a, activation=merged)  # type: ignore[type-var]
                self.fused.add(clip.name)
        first = self.builder.tensor(inputs[0])
        made = wanted
        if wanted.dtype is DType.INT8:
            made = _Format(wanted.dtype, _fixed(a) or wanted.quantization)
        if isinstance(a, (ops.AveragePool2d, ops.Resize2d)) or (
            isinstance(a, ops.Reduce) and a.op in (ops.ReduceKind.MAX, ops.ReduceKind.MIN)
        ):
            made = _Format.of(first)
        try:
            name = self.builder.add(a, inputs, name=operator.name, dtype=made.dtype, quantization=made.quantization)
        except GraphError:
            return False
        made_tensor = self.builder.tensor(name)
        self.integers[operator.outputs[0]] = self._requantized(made_tensor, wanted, f"{operator.name}_requantized")
        return True

    def _argmax(self, operator: Operator) -> bool:
        source = self._integer(operator.inputs[0])
        if source is None or source.dtype is not DType.INT8:
            return False
        output = self.graph.outs(operator)[0]
        name = self.builder.add(operator.attributes, [source.name], name=operator.name, output=output.name)
        self.names[output.name] = name
        return True

    def _operands(self, operator: Operator, wanted: _Format) -> list[str] | None:
        """Integer inputs in the formats that the kernel takes, or None."""
        a = operator.attributes
        if isinstance(a, _BIASED):
            return self._biased(operator, wanted)
        sources: list[Tensor] = []
        for name in operator.inputs:
            source = self._integer(name) or self._quantized_constant(name, wanted)
            if source is None or source.quantization is None or source.quantization.axis is not None:
                return None
            if source.dtype is not wanted.dtype:
                return None
            sources.append(source)
        if isinstance(a, _SAME_FORMAT) and len(sources) > 1:
            return [self._requantized(s, wanted, f"{operator.name}_input") for s in sources]
        return [s.name for s in sources]

    def _quantized_constant(self, name: str, wanted: _Format) -> Tensor | None:
        """A float constant operand (a scalar, a scale vector) quantized to 8 bits over its own range."""
        tensor = self.graph.tensors[name]
        if tensor.data is None or tensor.dtype is not DType.FLOAT32 or wanted.dtype is not DType.INT8:
            return None
        low, high = min(float(tensor.data.min()), 0.0), max(float(tensor.data.max()), 0.0)
        scale = (high - low) / 255 or 1.0
        if low == 0.0 and (tensor.data == tensor.data.reshape(-1)[0]).all():  # one number: exact as 127 steps
            scale, zero = high / 127 or 1.0, 0
        else:
            zero = int(np.clip(round(-128 - low / scale), -128, 127))
        quantization = Quantization.per_tensor(scale, zero)
        data = quantization.quantize(tensor.data, DType.INT8)
        return self.builder.tensor(self.builder.constant(name, data, quantization))

    def _biased(self, operator: Operator, wanted: _Format) -> list[str] | None:
        x, w = (self._integer(name) for name in operator.inputs[:2])
        if x is None or w is None or x.is_constant or not w.is_constant or x.quantization is None:
            return None
        if w.dtype is not DType.INT8 or w.quantization is None or any(w.quantization.zero_points):
            return None
        if x.dtype is not wanted.dtype or x.quantization.axis is not None:
            return None
        axis = 3 if isinstance(operator.attributes, ops.DepthwiseConv2d) else 0
        if w.quantization.axis not in (None, axis):
            return None
        names = [x.name, w.name]
        if len(operator.inputs) > 2:
            bias = self._bias(operator.inputs[2], x, w)
            if bias is None:
                return None
            names.append(bias)
        return names

    def _bias(self, name: str, x: Tensor, w: Tensor) -> str | None:
        """The bias as int32 at the scale of the products."""
        assert x.quantization is not None and w.quantization is not None
        scales = np.asarray([float(x.scale) * s for s in w.quantization.scales])
        held = self._integer(name)
        if held is not None and held.data is not None and held.quantization is not None:
            given = np.asarray(held.quantization.scales)
            close = given.size in (1, scales.size) and np.allclose(given, scales, rtol=1e-5)
            if held.dtype is DType.INT32 and close and not any(held.quantization.zero_points):
                values = held.data.astype(np.float64)
            else:
                values = held.quantization.dequantize(held.data).astype(np.float64) / scales
        elif (data := self.graph.tensors[name].data) is not None:
            values = data.astype(np.float64) / scales
        else:
            return None
        values = np.rint(values)
        if (np.abs(values) > 2**31 - 1).any():
            return None
        quantization = (
            Quantization.per_tensor(float(scales[0]))
            if w.quantization.axis is None
            else Quantization.per_channel(scales, 0)
        )
        return self.builder.constant(name, values.astype(np.int32), quantization)


def _pads(attributes: Attributes) -> bool:
    """True for a padding whose value a quantization does not keep."""
    return isinstance(attributes, ops.Pad) and attributes.mode is ops.PadMode.CONSTANT and attributes.value != 0


def _both(first: Clamp, second: Clamp) -> Clamp | None:
    """One clamp for two in a row, or None when they exclude each other."""
    lows = [c.low for c in (first, second) if c.low is not None]
    highs = [c.high for c in (first, second) if c.high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    return None if low is not None and high is not None and low > high else Clamp(low, high)


def _fixed(attributes: Attributes) -> Quantization | None:
    """The int8 output format that TensorFlow Lite prescribes for some operators."""
    if isinstance(attributes, ops.Softmax):
        return _SOFTMAX
    if isinstance(attributes, ops.LogSoftmax):
        return _LOG_SOFTMAX
    if isinstance(attributes, ops.Unary):
        return _FIXED.get(attributes.op)
    return None
