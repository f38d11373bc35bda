"""A float graph and its quantized form, run side by side over all samples at once, layer after layer.

Techniques that reconstruct layers one after the other see, for each, what reaches it in both graphs; a layer that they
change is changed for everything behind it. The quantized side is computed in float32 with the rounded weights, and
every activation is rounded to its integers: up to the last bit what the integer executor computes, and much faster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from tinyopt.data import Samples
from tinyopt.execute import Executor
from tinyopt.execute.float import run_float
from tinyopt.graph import Array, DType, Graph, Operator, Quantization, Tensor, batch_problem, ops
from tinyopt.quantize.layers import LAYERS

_BYTES = 1 << 30
"""Activations that may be held at one time."""


@dataclass(frozen=True, eq=False)
class Constants:
    """Integer weights and bias of a layer, and the real numbers that they stand for."""

    weights: Array
    bias: Array | None
    weight_scales: Array
    """Broadcasts against the weights."""
    bias_scales: Array

    @property
    def real_weights(self) -> Array:
        result: Array = (self.weights * self.weight_scales).astype(np.float32)
        return result

    @property
    def real_bias(self) -> Array | None:
        return None if self.bias is None else (self.bias * self.bias_scales).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Layer:
    """What reaches a layer: ``x`` in the float graph, ``x_quantized`` in the quantized one, both real numbers
    [samples, …]; ``weights`` and ``bias`` of the float graph; ``constants`` of the quantized one."""

    operator: Operator
    x: Array
    x_quantized: Array
    weights: Array
    bias: Array | None
    constants: Constants
    compute: Callable[[Array, Array, Array | None], Array]
    """(x, weights, bias) → the result before the fused activation."""


def walk_problem(graph: Graph) -> str | None:
    """Why samples of a graph cannot be run together; None when they can."""
    if graph.states:
        return "its samples depend on each other through states"
    if any(graph.tensors[name].shape[:1] != (1,) for name in graph.inputs):
        return "an input has no leading axis of one"
    return batch_problem(graph)


def walk(
    graph: Graph,
    quantized: Graph,
    samples: Samples,
    refine: Callable[[Layer], Constants],
    *,
    layers: Iterable[str],
    limit: int,
) -> Graph:
    """The quantized graph with the constants that ``refine`` returns for each of ``layers``, in the graph's order.

    ``limit``: at most that many samples are used (fewer where memory would not suffice).
    """
    start = _batch(graph, limit)
    return _Walk(graph, quantized, samples, 0, start).run(refine, set(layers))


def simulate(quantized: Graph, samples: Samples) -> dict[str, Array]:
    """Outputs of a quantized graph for all samples, as real numbers [samples, …] without the leading axis of one.

    Samples run together where the graph allows it; else the integer executor takes one after the other.
    """
    if walk_problem(quantized) is not None:
        executor = Executor(quantized)
        rows = [executor({n: _fed(quantized.tensors[n], x) for n, x in sample.items()}) for sample in samples]
        return {n: np.stack([_read(quantized.tensors[n], row[n])[0] for row in rows]) for n in quantized.outputs}
    size = _batch(quantized, len(samples))
    parts: dict[str, list[Array]] = {name: [] for name in quantized.outputs}
    for start in range(0, len(samples), size):
        run = _Walk(None, quantized, samples, start, size)
        run.run(lambda layer: layer.constants, set())
        for name, part in parts.items():
            data = quantized.tensors[name].data
            part.append(run.rounded[name] if data is None else _read(quantized.tensors[name], data))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _batch(graph: Graph, limit: int) -> int:
    """Samples that fit into memory together, at most ``limit``."""
    # Every activation is float32 here.
    size = sum(4 * t.size for t in graph.tensors.values() if not t.is_constant)
    return max(1, min(limit, _BYTES // max(size, 1)))


def _fed(tensor: Tensor, values: Array) -> Array:
    form = tensor.quantization
    return values if form is None or values.dtype != np.float32 else form.quantize(values, tensor.dtype)


def _read(tensor: Tensor, values: Array) -> Array:
    return values if tensor.quantization is None else tensor.quantization.dequantize(values)


class _Walk:
    """``graph``: None runs the quantized side alone. The samples from ``start`` on, ``count`` of them."""

    def __init__(self, graph: Graph | None, quantized: Graph, samples: Samples, start: int, count: int) -> None:
        self.graph, self.quantized = graph or quantized, quantized
        inputs = {name: samples.inputs[name][start : start + count, 0] for name in quantized.inputs}
        self.values = dict(inputs)
        self.rounded = {name: _rounded(quantized.tensors[name], inputs[name]) for name in quantized.inputs}
        self.sources = {} if graph is None else {operator.name: operator for operator in graph.operators}

    def run(self, refine: Callable[[Layer], Constants], layers: set[str]) -> Graph:
        changed: list[Tensor] = []
        uses = Counter(n for o in self.sources.values() for n in set(o.inputs))
        rounded_uses = Counter(n for o in self.quantized.operators for n in set(o.inputs))
        for operator in self.quantized.operators:
            source = self.sources.get(operator.name)
            if source is not None and source.name in layers:
                layer = self._layer(source, operator)
                constants = refine(layer)
                changed += self._tensors(operator, constants)
                weights, bias = constants.real_weights, constants.real_bias
                result = layer.compute(layer.x_quantized, weights, bias)
                self._store(operator, [_clamped(operator, result)])
            else:
                self._store(operator, self._quantized_results(operator))
            if source is not None:
                arrays = [t.data if t.data is not None else self.values[t.name] for t in self.graph.ins(source)]
                results = run_float(source.attributes, arrays, self.graph.ins(source), self.graph.outs(source))
                self.values.update(zip(source.outputs, results))
                _release(self.values, set(source.inputs), uses)
            _release(self.rounded, set(operator.inputs) - self.quantized.kept, rounded_uses)
        return self.quantized.with_operators(self.quantized.operators, changed)

    def _layer(self, source: Operator, operator: Operator) -> Layer:
        x, weights, *bias = self.graph.ins(source)
        assert isinstance(source.attributes, LAYERS)
        plain = replace(source.attributes, activation=ops.NONE)
        ins, outs = self.graph.ins(source), self.graph.outs(source)

        def compute(values: Array, kernel: Array, offset: Array | None) -> Array:
            arrays = [values, kernel, *([] if offset is None else [offset])]
            return run_float(plain, arrays, ins[: len(arrays)], outs)[0]

        return Layer(
            source,
            self.values[x.name],
            self.rounded[operator.inputs[0]],
            weights.value,
            bias[0].value if bias else None,
            layer_integers(self.quantized, operator),
            compute,
        )

    def _tensors(self, operator: Operator, constants: Constants) -> list[Tensor]:
        ins = self.quantized.ins(operator)
        result = [replace(ins[1], data=constants.weights.astype(np.int8))]
        if constants.bias is not None:
            result.append(replace(ins[2], data=constants.bias.astype(ins[2].dtype.numpy)))
        return result

    def _store(self, operator: Operator, results: list[Array]) -> None:
        for tensor, result in zip(self.quantized.outs(operator), results):
            self.rounded[tensor.name] = _rounded(tensor, result)

    def _quantized_results(self, operator: Operator) -> list[Array]:
        ins, outs = self.quantized.ins(operator), self.quantized.outs(operator)
        if isinstance(operator.attributes, (ops.Quantize, ops.Dequantize)):
            return [self.rounded[operator.inputs[0]]]
        arrays = [self.rounded[t.name] if t.data is None else _real(t) for t in ins]
        if isinstance(operator.attributes, LAYERS) and ins[1].dtype is DType.INT8 and ins[1].is_constant:
            constants = layer_integers(self.quantized, operator)
            arrays[1] = constants.real_weights
            if constants.real_bias is not None:
                arrays[2] = constants.real_bias
        attributes = operator.attributes
        if isinstance(attributes, ops.Lstm):
            attributes = replace(attributes, quantization=None)
        floats = [_as_float(t) for t in ins]
        return run_float(attributes, arrays, floats, [_as_float(t) for t in outs])


def layer_integers(quantized: Graph, operator: Operator) -> Constants:
    """The integer constants of a quantized layer."""
    x, weights, *bias = quantized.ins(operator)
    form = weights.quantization
    assert form is not None
    scales = np.asarray(form.scales, np.float64)
    shape = [1] * weights.value.ndim
    if form.axis is not None:
        shape[form.axis] = len(scales)
    return Constants(weights.value, bias[0].value if bias else None, scales.reshape(shape), x.scale * scales)


def _clamped(operator: Operator, values: Array) -> Array:
    clamp = getattr(operator.attributes, "activation", ops.NONE)
    if clamp.low is None and clamp.high is None:
        return values
    result: Array = np.clip(values, clamp.low, clamp.high)
    return result


def _rounded(tensor: Tensor, values: Array) -> Array:
    """What is left of real numbers in the integers of a tensor."""
    form = tensor.quantization
    if form is None or tensor.dtype is DType.FLOAT32:
        return values
    return _dequantized(form, tensor.dtype, values)


def _dequantized(form: Quantization, dtype: DType, values: Array) -> Array:
    return form.dequantize(form.quantize(values, dtype))


def _real(tensor: Tensor) -> Array:
    return tensor.value if tensor.quantization is None else tensor.quantization.dequantize(tensor.value)


def _as_float(tensor: Tensor) -> Tensor:
    if tensor.quantization is None:
        return tensor
    return Tensor(tensor.name, tensor.shape, DType.FLOAT32)


def _release(values: dict[str, Array], names: Iterable[str], uses: Counter[str]) -> None:
    for name in names:
        uses[name] -= 1
        if uses[name] == 0:
            values.pop(name, None)
