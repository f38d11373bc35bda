"""A quantized graph with its real values: the float network that an int8 file approximates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import Array, DType, Graph, Operator, State, Tensor, ops

_BIASED = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)


def dequantize_graph(graph: Graph) -> Graph:
    """The float32 graph of an int8 graph: weights and biases as the real numbers that they stand for, every activation
    float32, Quantize and Dequantize gone. Tensors keep their names, so that both graphs can be compared.

    The results differ from the quantized graph's by its roundings, and where an int8 range cut values off that no
    activation of the graph does. A float graph is returned as it is.

    Raises:
        ModelError: when an integer constant has no real value (no quantization parameters where they are needed).
    """
    if not graph.is_quantized and all(t.quantization is None for t in graph.tensors.values()):
        return graph
    same_as: dict[str, str] = {}
    kept: list[Operator] = []
    biases = _bias_scales(graph)
    for operator in graph.operators:
        if isinstance(operator.attributes, (ops.Quantize, ops.Dequantize)):
            source = operator.inputs[0]
            same_as[operator.outputs[0]] = same_as.get(source, source)
            continue
        attributes = operator.attributes
        if isinstance(attributes, ops.Lstm):
            attributes = replace(attributes, quantization=None)
        if isinstance(attributes, ops.DynamicRange):
            attributes = attributes.layer
        inputs = tuple(same_as.get(name, name) for name in operator.inputs)
        kept.append(replace(operator, attributes=attributes, inputs=inputs))
    tensors = [_float_tensor(tensor, biases.get(name)) for name, tensor in graph.tensors.items()]
    states = tuple(
        replace(s, write=same_as.get(s.write, s.write), initial=_float_initial(graph, s)) for s in graph.states
    )
    outputs = tuple(same_as.get(name, name) for name in graph.outputs)
    notes = [*graph.metadata.get("notes", "").splitlines(), "made from a quantized model: its weights are rounded"]
    result = graph.with_operators(kept, tensors, outputs=outputs, states=states)
    return replace(result, metadata={**graph.metadata, "notes": "\n".join(dict.fromkeys(notes))})


def _float_tensor(tensor: Tensor, bias_scale: Array | None) -> Tensor:
    if tensor.data is not None and bias_scale is not None and tensor.dtype is not DType.FLOAT32:
        value = (tensor.data.astype(np.float64) * bias_scale).astype(np.float32)
        return Tensor.constant(tensor.name, value)
    if tensor.quantization is None:
        return tensor
    if tensor.data is not None:
        return Tensor.constant(tensor.name, tensor.quantization.dequantize(tensor.data))
    return Tensor(tensor.name, tensor.shape, DType.FLOAT32)


def _float_initial(graph: Graph, state: State) -> Array:
    quantization = graph.tensors[state.read].quantization
    return state.initial if quantization is None else quantization.dequantize(state.initial)


def _bias_scales(graph: Graph) -> dict[str, Array]:
    """Integer biases → the real value of one, per channel: input scale times weight scale, in double precision."""
    scales: dict[str, Array] = {}
    for operator in graph.operators:
        a, ins = operator.attributes, graph.ins(operator)
        found: list[tuple[Tensor, Tensor, Tensor]] = []  # bias, input, weights
        if isinstance(a, _BIASED) and len(ins) > 2:
            found.append((ins[2], ins[0], ins[1]))
        if isinstance(a, (ops.Lstm, ops.Gru)):
            found.append((ins[3], ins[0], ins[1]))
        if isinstance(a, ops.Gru):
            found.append((ins[4], graph.outs(operator)[0], ins[2]))
        for bias, x, weights in found:
            if bias.dtype is DType.FLOAT32:
                continue
            if x.quantization is None or weights.quantization is None:
                raise ModelError(f"the integer bias '{bias.name}' has no scale: '{x.name}' is not quantized")
            scale = np.float64(x.scale) * np.asarray(weights.quantization.scales, np.float64)
            if bias.name in scales and not np.array_equal(scales[bias.name], scale):
                raise ModelError(f"the bias '{bias.name}' is shared by layers of different scales")
            scales[bias.name] = scale
    return scales
