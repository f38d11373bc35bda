"""Write a graph as a TFLite file, so that other interpreters can judge tinyopt's own executors.

``write_tflite`` serves every operator that TFLite has; an operator or a padding that the format cannot express raises
``NotInTflite``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from support.tflite_file import TYPES, FileSubgraph, serialise
from tinyopt.graph import DType, Graph, Operator, Tensor, ops

A = TypeVar("A", bound=ops.Attributes)
_SAME, _VALID = 0, 1
_ACTIVATIONS = {ops.NONE: 0, ops.RELU: 1, ops.RELU_N1_TO_1: 2, ops.RELU6: 3}


class NotInTflite(ValueError):
    """The graph uses something that the TFLite format cannot express."""


def write_tflite(graph: Graph) -> bytes:
    """The bytes of a TFLite file that computes the graph."""
    writer = _GraphWriter(graph)
    for operator in graph.operators:
        rule = _RULES.get(type(operator.attributes))
        if rule is None:
            raise NotInTflite(f"TFLite has no {operator.kind}")
        rule(writer, operator, operator.attributes)
    return serialise(writer.finish())


_RULES: dict[type[ops.Attributes], Callable[[Any, Operator, Any], None]] = {}


def _rule(kind: type[A]) -> Callable[[Callable[[_GraphWriter, Operator, A], None]], Any]:
    def register(function: Callable[[_GraphWriter, Operator, A], None]) -> Any:
        _RULES[kind] = function
        return function

    return register


class _GraphWriter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.main = FileSubgraph()
        self.init = FileSubgraph("NoOp")
        self.indices: dict[str, int] = {}
        self.handles: dict[str, int] = {}
        self.main.inputs = [self[name] for name in graph.inputs]
        if graph.states:
            self.main.operator("CALL_ONCE", [], [], "CallOnceOptions", init_subgraph_index=1)
        for state in graph.states:
            handle = self._handle(self.main, state.name)
            self.handles[state.name] = handle
            self.main.operator("READ_VARIABLE", [handle], [self[state.read]], "ReadVariableOptions")
            there = self._handle(self.init, state.name)
            tensor = graph.tensors[state.read]
            value = self.init.constant(f"{state.name}/initial", state.initial, **_quantization(tensor))
            self.init.operator("ASSIGN_VARIABLE", [there, value], [], "AssignVariableOptions")

    @staticmethod
    def _handle(subgraph: FileSubgraph, name: str) -> int:
        handle = subgraph.add(f"{name}/handle", (), "resource")
        subgraph.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", shared_name=name)
        return handle

    def finish(self) -> list[FileSubgraph]:
        for state in self.graph.states:
            if state.write != state.read:
                operands = [self.handles[state.name], self[state.write]]
                self.main.operator("ASSIGN_VARIABLE", operands, [], "AssignVariableOptions")
        self.main.outputs = [self[name] for name in self.graph.outputs]
        return [self.main, self.init] if self.graph.states else [self.main]

    def __getitem__(self, name: str) -> int:
        """The file's index of a tensor of the graph."""
        if name not in self.indices:
            tensor = self.graph.tensors[name]
            self.indices[name] = self.main.add(
                name, tensor.shape, tensor.dtype.value, tensor.data, **_quantization(tensor)
            )
        return self.indices[name]

    def int32(self, name: str, values: Any) -> int:
        return self.main.constant(name, np.asarray(values, np.int32))

    def like(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> int:
        """A new activation with the type and quantization of ``tensor``."""
        return self.main.add(name, shape, tensor.dtype.value, **_quantization(tensor))

    def emit(self, operator: Operator, code: str, options: str | None = None, **values: Any) -> None:
        """The operator with exactly the graph's inputs and outputs."""
        self.main.operator(
            code, [self[n] for n in operator.inputs], [self[n] for n in operator.outputs], options, **values
        )


def _quantization(tensor: Tensor) -> dict[str, Any]:
    q = tensor.quantization
    if q is None:
        return {}
    return {"scales": q.scales, "zero_points": q.zero_points, "axis": q.axis or 0}


def _activation(clamp: ops.Clamp) -> int:
    if clamp not in _ACTIVATIONS:
        raise NotInTflite(f"TFLite has no fused {clamp}")
    return _ACTIVATIONS[clamp]


def same_padding(size: int, reach: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after, for an input of ``size`` and a window that spans ``reach``."""
    out = -(-size // stride)
    total = max((out - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _padding_mode(x: tuple[int, ...], y: tuple[int, ...], a: Any, kernel: tuple[int, int]) -> int | None:
    """SAME or VALID, or None where neither gives this padding and output."""
    p = a.padding
    if not p.any:
        return _VALID
    dilation = getattr(a, "dilation", (1, 1))
    for axis, padding in ((0, (p.top, p.bottom)), (1, (p.left, p.right))):
        stride, size = a.stride[axis], x[1 + axis]
        if y[1 + axis] != -(-size // stride):
            return None
        if same_padding(size, (kernel[axis] - 1) * dilation[axis] + 1, stride) != padding:
            return None
    return _SAME


def _window(writer: _GraphWriter, operator: Operator, a: Any, kernel: tuple[int, int]) -> tuple[list[int], int]:
    """Input indices and padding mode of a convolution, after a PAD operator where the format needs one."""
    graph = writer.graph
    x, y = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    inputs = [writer[name] for name in operator.inputs]
    mode = _padding_mode(x.shape, y.shape, a, kernel)
    if mode is None:
        p = a.padding
        pads = [[0, 0], [p.top, p.bottom], [p.left, p.right], [0, 0]]
        shape = tuple(d + sum(b) for d, b in zip(x.shape, pads))
        padded = writer.like(f"{operator.name}/padded", x, shape)
        writer.main.operator("PAD", [inputs[0], writer.int32(f"{operator.name}/pads", pads)], [padded], "PadOptions")
        inputs[0], mode = padded, _VALID
    return inputs, mode


@_rule(ops.Conv2d)
def _conv2d(w: _GraphWriter, o: Operator, a: ops.Conv2d) -> None:
    weights = w.graph.tensors[o.inputs[1]]
    inputs, mode = _window(w, o, a, (weights.shape[1], weights.shape[2]))
    w.main.operator(
        "CONV_2D",
        inputs,
        [w[o.outputs[0]]],
        "Conv2DOptions",
        padding=mode,
        stride_h=a.stride[0],
        stride_w=a.stride[1],
        dilation_h_factor=a.dilation[0],
        dilation_w_factor=a.dilation[1],
        fused_activation_function=_activation(a.activation),
    )


@_rule(ops.DepthwiseConv2d)
def _depthwise(w: _GraphWriter, o: Operator, a: ops.DepthwiseConv2d) -> None:
    weights = w.graph.tensors[o.inputs[1]]
    inputs, mode = _window(w, o, a, (weights.shape[1], weights.shape[2]))
    w.main.operator(
        "DEPTHWISE_CONV_2D",
        inputs,
        [w[o.outputs[0]]],
        "DepthwiseConv2DOptions",
        padding=mode,
        stride_h=a.stride[0],
        stride_w=a.stride[1],
        dilation_h_factor=a.dilation[0],
        dilation_w_factor=a.dilation[1],
        depth_multiplier=a.multiplier,
        fused_activation_function=_activation(a.activation),
    )


@_rule(ops.TransposeConv2d)
def _transpose_conv2d(w: _GraphWriter, o: Operator, a: ops.TransposeConv2d) -> None:
    if a.dilation != (1, 1):
        raise NotInTflite("TFLite has no dilated TRANSPOSE_CONV")
    x, weights = (w.graph.tensors[n] for n in o.inputs[:2])
    y = w.graph.tensors[o.outputs[0]]
    modes = []
    for mode in (_SAME, _VALID):
        fits = True
        for axis, before in ((0, a.padding.top), (1, a.padding.left)):
            out, stride, kernel = y.shape[1 + axis], a.stride[axis], weights.shape[1 + axis]
            steps = -(-out // stride) if mode == _SAME else (out - kernel + stride) // stride
            fits &= steps == x.shape[1 + axis] and max((steps - 1) * stride + kernel - out, 0) // 2 == before
        if fits:
            modes.append(mode)
    if not modes:
        raise NotInTflite(f"TRANSPOSE_CONV cannot express the padding {a.padding}")
    shape = w.int32(f"{o.name}/shape", y.shape)
    order = [shape, w[o.inputs[1]], w[o.inputs[0]], *(w[n] for n in o.inputs[2:])]
    w.main.operator(
        "TRANSPOSE_CONV",
        order,
        [w[y.name]],
        "TransposeConvOptions",
        version=3 if len(o.inputs) > 2 else 1,
        padding=modes[-1],
        stride_h=a.stride[0],
        stride_w=a.stride[1],
        fused_activation_function=_activation(a.activation),
    )


@_rule(ops.FullyConnected)
def _fully_connected(w: _GraphWriter, o: Operator, a: ops.FullyConnected) -> None:
    inputs = [w[n] for n in o.inputs] + ([-1] if len(o.inputs) == 2 else [])
    rank = len(w.graph.tensors[o.inputs[0]].shape)
    w.main.operator(
        "FULLY_CONNECTED",
        inputs,
        [w[o.outputs[0]]],
        "FullyConnectedOptions",
        fused_activation_function=_activation(a.activation),
        keep_num_dims=rank != 2,
    )


@_rule(ops.MatMul)
def _matmul(w: _GraphWriter, o: Operator, a: ops.MatMul) -> None:
    w.emit(o, "BATCH_MATMUL", "BatchMatMulOptions", adj_x=a.transpose_a, adj_y=a.transpose_b)


@_rule(ops.Binary)
def _binary(w: _GraphWriter, o: Operator, a: ops.Binary) -> None:
    if a.op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM):
        if a.activation != ops.NONE:
            raise NotInTflite(f"{a.op.value} has no fused activation")
        w.emit(o, a.op.value.upper(), "MaximumMinimumOptions")
        return
    table = a.op.value.capitalize() + "Options"
    w.emit(o, a.op.value.upper(), table, fused_activation_function=_activation(a.activation))


@_rule(ops.Unary)
def _unary(w: _GraphWriter, o: Operator, a: ops.Unary) -> None:
    kind = ops.UnaryKind
    if a.op in (kind.GELU, kind.GELU_TANH):
        w.emit(o, "GELU", "GeluOptions", approximate=a.op is kind.GELU_TANH)
    elif a.op is kind.LEAKY_RELU:
        w.emit(o, "LEAKY_RELU", "LeakyReluOptions", alpha=a.alpha)
    elif a.op in (kind.HARD_SIGMOID, kind.SILU, kind.SOFTPLUS, kind.ERF, kind.SIGN, kind.SIGNUM) or (
        a.op is kind.ELU and a.alpha != 1.0
    ):
        raise NotInTflite(f"TFLite has no {o.kind} (alpha={a.alpha})")
    else:
        w.emit(o, a.op.value.upper())


@_rule(ops.Clip)
def _clip(w: _GraphWriter, o: Operator, a: ops.Clip) -> None:
    codes = {ops.RELU: "RELU", ops.RELU6: "RELU6", ops.RELU_N1_TO_1: "RELU_N1_TO_1"}
    if a.clamp not in codes:
        raise NotInTflite(f"TFLite has no {a.clamp}")
    w.emit(o, codes[a.clamp])


@_rule(ops.Prelu)
def _prelu(w: _GraphWriter, o: Operator, a: ops.Prelu) -> None:
    w.emit(o, "PRELU")


def _pool(w: _GraphWriter, o: Operator, a: Any) -> None:
    x, y = w.graph.tensors[o.inputs[0]], w.graph.tensors[o.outputs[0]]
    mode = _padding_mode(x.shape, y.shape, a, a.kernel)
    if mode is None:
        raise NotInTflite(f"pooling cannot express the padding {a.padding}")
    w.emit(
        o,
        "MAX_POOL_2D" if isinstance(a, ops.MaxPool2d) else "AVERAGE_POOL_2D",
        "Pool2DOptions",
        padding=mode,
        stride_h=a.stride[0],
        stride_w=a.stride[1],
        filter_height=a.kernel[0],
        filter_width=a.kernel[1],
        fused_activation_function=_activation(a.activation),
    )


_RULES[ops.MaxPool2d] = _pool
_RULES[ops.AveragePool2d] = _pool


def _with_constant(w: _GraphWriter, o: Operator, code: str, name: str, values: Any, *options: Any, **more: Any) -> None:
    """An operator of one input whose parameter is a second, constant int32 input."""
    constant = w.int32(f"{o.name}/{name}", values)
    w.main.operator(code, [w[o.inputs[0]], constant], [w[n] for n in o.outputs], *options, **more)


@_rule(ops.Reduce)
def _reduce(w: _GraphWriter, o: Operator, a: ops.Reduce) -> None:
    code = {"mean": "MEAN", "sum": "SUM", "max": "REDUCE_MAX", "min": "REDUCE_MIN"}[a.op.value]
    _with_constant(w, o, code, "axes", a.axes, "ReducerOptions", keep_dims=a.keep_dims)


@_rule(ops.Softmax)
def _softmax(w: _GraphWriter, o: Operator, a: ops.Softmax) -> None:
    w.emit(o, "SOFTMAX", "SoftmaxOptions", beta=a.beta)


@_rule(ops.LogSoftmax)
def _log_softmax(w: _GraphWriter, o: Operator, a: ops.LogSoftmax) -> None:
    w.emit(o, "LOG_SOFTMAX", "LogSoftmaxOptions")


@_rule(ops.ArgMax)
def _argmax(w: _GraphWriter, o: Operator, a: ops.ArgMax) -> None:
    y = w.graph.tensors[o.outputs[0]]
    axis = w.main.constant(f"{o.name}/axis", np.asarray(a.axis, np.int32))
    target = w[y.name]
    if a.keep_dims:
        short = tuple(d for i, d in enumerate(y.shape) if i != a.axis)
        target = w.like(f"{o.name}/flat", y, short)
    w.main.operator("ARG_MAX", [w[o.inputs[0]], axis], [target], "ArgMaxOptions", output_type=TYPES[a.dtype])
    if a.keep_dims:
        shape = w.int32(f"{o.name}/shape", y.shape)
        w.main.operator("RESHAPE", [target, shape], [w[y.name]], "ReshapeOptions", new_shape=list(y.shape))


@_rule(ops.Reshape)
def _reshape(w: _GraphWriter, o: Operator, a: ops.Reshape) -> None:
    _with_constant(w, o, "RESHAPE", "shape", a.shape, "ReshapeOptions", new_shape=list(a.shape))


@_rule(ops.Transpose)
def _transpose(w: _GraphWriter, o: Operator, a: ops.Transpose) -> None:
    _with_constant(w, o, "TRANSPOSE", "perm", a.perm, "TransposeOptions")


@_rule(ops.BroadcastTo)
def _broadcast_to(w: _GraphWriter, o: Operator, a: ops.BroadcastTo) -> None:
    _with_constant(w, o, "BROADCAST_TO", "shape", a.shape, "BroadcastToOptions")


@_rule(ops.Concat)
def _concat(w: _GraphWriter, o: Operator, a: ops.Concat) -> None:
    w.emit(o, "CONCATENATION", "ConcatenationOptions", axis=a.axis)


@_rule(ops.Split)
def _split(w: _GraphWriter, o: Operator, a: ops.Split) -> None:
    axis = w.main.constant(f"{o.name}/axis", np.asarray(a.axis, np.int32))
    x, outputs = w[o.inputs[0]], [w[n] for n in o.outputs]
    if len(set(a.sizes)) == 1:
        w.main.operator("SPLIT", [axis, x], outputs, "SplitOptions", num_splits=len(a.sizes))
    else:
        sizes = w.int32(f"{o.name}/sizes", a.sizes)
        w.main.operator("SPLIT_V", [x, sizes, axis], outputs, "SplitVOptions", num_splits=len(a.sizes))


@_rule(ops.Slice)
def _slice(w: _GraphWriter, o: Operator, a: ops.Slice) -> None:
    x, y = w[o.inputs[0]], w[o.outputs[0]]
    begin = w.int32(f"{o.name}/begin", a.begin)
    if all(stride == 1 for stride in a.stride):
        w.main.operator("SLICE", [x, begin, w.int32(f"{o.name}/size", a.size)], [y], "SliceOptions")
        return
    ends, mask = [], 0
    for axis, (start, size, stride) in enumerate(zip(a.begin, a.size, a.stride)):
        end = start + size * stride
        if end < 0:  # a negative end would count from the back
            mask |= 1 << axis
            end = 0
        ends.append(end)
    constants = [w.int32(f"{o.name}/end", ends), w.int32(f"{o.name}/stride", a.stride)]
    w.main.operator("STRIDED_SLICE", [x, begin, *constants], [y], "StridedSliceOptions", end_mask=mask)


@_rule(ops.Pad)
def _pad(w: _GraphWriter, o: Operator, a: ops.Pad) -> None:
    pads = np.stack([a.before, a.after], axis=1)
    if a.mode is ops.PadMode.REFLECT:
        _with_constant(w, o, "MIRROR_PAD", "pads", pads, "MirrorPadOptions", mode=0)
    elif a.mode is not ops.PadMode.CONSTANT:
        raise NotInTflite(f"TFLite has no padding mode {a.mode.value}")
    elif a.value == 0.0:
        _with_constant(w, o, "PAD", "pads", pads, "PadOptions")
    else:
        x = w.graph.tensors[o.inputs[0]]
        value = np.asarray([a.value], np.float32)
        if x.dtype is not DType.FLOAT32:
            value = x.quantization.quantize(value, x.dtype) if x.quantization else value.astype(x.dtype.numpy)
        fill = w.main.constant(f"{o.name}/value", value, **_quantization(x))
        operands = [w[x.name], w.int32(f"{o.name}/pads", pads), fill]
        w.main.operator("PADV2", operands, [w[o.outputs[0]]], "PadV2Options")


@_rule(ops.Gather)
def _gather(w: _GraphWriter, o: Operator, a: ops.Gather) -> None:
    w.emit(o, "GATHER", "GatherOptions", axis=a.axis)


@_rule(ops.Resize2d)
def _resize(w: _GraphWriter, o: Operator, a: ops.Resize2d) -> None:
    nearest = a.method is ops.ResizeMethod.NEAREST
    _with_constant(
        w,
        o,
        "RESIZE_NEAREST_NEIGHBOR" if nearest else "RESIZE_BILINEAR",
        "size",
        a.size,
        "ResizeNearestNeighborOptions" if nearest else "ResizeBilinearOptions",
        align_corners=a.align_corners,
        half_pixel_centers=a.half_pixel_centers,
    )


@_rule(ops.Quantize)
def _quantize(w: _GraphWriter, o: Operator, a: ops.Quantize) -> None:
    w.emit(o, "QUANTIZE", "QuantizeOptions")


@_rule(ops.Dequantize)
def _dequantize(w: _GraphWriter, o: Operator, a: ops.Dequantize) -> None:
    w.emit(o, "DEQUANTIZE", "DequantizeOptions")


@_rule(ops.Cast)
def _cast(w: _GraphWriter, o: Operator, a: ops.Cast) -> None:
    source = w.graph.tensors[o.inputs[0]].dtype.value
    w.emit(o, "CAST", "CastOptions", in_data_type=TYPES[source], out_data_type=TYPES[a.dtype])


def _gate_scales(tensor: Tensor) -> list[dict[str, Any]]:
    """Quantization fields of the four parts of a tensor that is stacked by gate."""
    q = tensor.quantization
    if q is None:
        return [{}] * 4
    per_gate = [set(part) for part in np.split(np.broadcast_to(np.float64(q.scales), tensor.shape[0]), 4)]
    if any(len(scales) > 1 for scales in per_gate):
        raise NotInTflite("an LSTM of TFLite has one scale per gate")
    return [{"scales": tuple(scales), "zero_points": (0,), "axis": 0} for scales in per_gate]


@_rule(ops.Lstm)
def _lstm(w: _GraphWriter, o: Operator, a: ops.Lstm) -> None:
    """A forward LSTM. The states become variable tensors, which start at zero and live on between inferences.

    The format has one weight tensor per gate, each with one scale.
    """
    graph = w.graph
    if a.reverse:
        raise NotInTflite("an LSTM of TFLite runs forward")
    x, weights, recurrent, bias, h0, c0 = (graph.tensors[n] for n in o.inputs)
    inputs = [w[x.name]]
    for name, tensor in (("w", weights), ("r", recurrent), ("", None), ("b", bias)):
        if tensor is None:
            inputs += [-1, -1, -1]
            continue
        for gate, (rows, scales) in enumerate(zip(np.split(tensor.value, 4), _gate_scales(tensor))):
            inputs.append(w.main.constant(f"{o.name}/{name}{gate}", rows, **scales))
    inputs += [-1, -1]
    for name, tensor in (("h", h0), ("c", c0)):
        zero = tensor.quantization.zero_point if tensor.quantization else 0
        if tensor.data is None or (tensor.data != zero).any():
            raise NotInTflite("an LSTM of TFLite starts from zero")
        variable = w.main.add(
            f"{o.name}/{name}", tensor.shape, tensor.dtype.value, is_variable=True, **_quantization(tensor)
        )
        inputs.append(variable)
    inputs += [-1, -1, -1, -1]
    w.main.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        inputs,
        [w[o.outputs[0]]],
        "UnidirectionalSequenceLSTMOptions",
        fused_activation_function=4,
        cell_clip=a.cell_clip,
        time_major=False,
    )
