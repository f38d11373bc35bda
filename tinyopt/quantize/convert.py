"""Writing the quantized graph: integer operators, their constants, and changes of format where they meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, DType, Graph, Operator, Quantization, State, Tensor, ops
from tinyopt.quantize.formats import MOVED, Format, Formats
from tinyopt.quantize.parameters import layer_constants, tensor_constant
from tinyopt.quantize.weights import Int8, WeightFormat


def convert(
    graph: Graph,
    operators: Sequence[Operator],
    formats: Formats,
    notes: Sequence[str],
    *,
    weights: Mapping[str, WeightFormat],
    per_channel: bool,
    float_io: bool,
) -> Graph:
    """The graph with ``operators`` as integer operators in the given formats; ``notes`` are added to its own.

    ``weights``: layer → the format of its weights; int8 where it is not named. Operators and activations keep their
    names, so that both graphs can be compared tensor by tensor.
    """
    return _Converter(graph, operators, formats, weights, per_channel, float_io).run(notes)


class _Converter:
    def __init__(
        self,
        graph: Graph,
        operators: Sequence[Operator],
        formats: Formats,
        weights: Mapping[str, WeightFormat],
        per_channel: bool,
        float_io: bool,
    ) -> None:
        self.graph, self.formats, self.weights = graph, formats, weights
        self.per_channel, self.float_io = per_channel, float_io
        self.chosen = {operator.name for operator in operators}
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.integer: dict[str, str] = {}
        """Float activation of the source → its integer tensor."""
        self.real: dict[str, str] = {}
        """Float activation of the source → its float32 tensor."""
        self.requantized: dict[tuple[str, Format], str] = {}

    def run(self, notes: Sequence[str]) -> Graph:
        graph = self.graph
        integer_outputs = {n for o in graph.operators if o.name in self.chosen for n in o.outputs}
        for name in graph.inputs:
            tensor = graph.tensors[name]
            if tensor.dtype is DType.FLOAT32 and not self.float_io:
                self._declare_integer(name, name)
            else:
                self._declare_same(tensor)
        states = self._states(integer_outputs)
        for operator in graph.operators:
            if operator.name in self.chosen:
                self._integer_operator(operator)
            else:
                inputs = tuple(self._as_float(name) for name in operator.inputs)
                for tensor in graph.outs(operator):
                    self._declare_same(tensor)
                self.operators.append(replace(operator, inputs=inputs))
        outputs = tuple(self._output(name) for name in graph.outputs)
        finished = tuple(replace(s, write=self._state_value(s)) for s in states)
        lines = [*graph.metadata.get("notes", "").splitlines(), *notes]
        metadata = {**graph.metadata, **({"notes": "\n".join(dict.fromkeys(lines))} if lines else {})}
        inputs = graph.inputs
        result = Graph(graph.name, self.tensors, tuple(self.operators), inputs, outputs, finished, metadata)
        return result.with_operators(result.operators)

    # ---- tensors ----

    def _new_name(self, stem: str) -> str:
        """A name that neither graph uses."""
        name, number = stem, 0
        while name in self.tensors or name in self.graph.tensors:
            number += 1
            name = f"{stem}_{number}"
        return name

    def _add(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def _declare_same(self, tensor: Tensor) -> None:
        self._add(tensor)
        if tensor.dtype is DType.FLOAT32:
            self.real[tensor.name] = tensor.name

    def _declare_integer(self, source: str, name: str) -> None:
        tensor, wanted = self.graph.tensors[source], self.formats[source]
        self._add(Tensor(name, tensor.shape, wanted.dtype, None, wanted.quantization))
        self.integer[source] = name

    def _quantization(self, name: str) -> Quantization:
        quantization = self.tensors[name].quantization
        assert quantization is not None
        return quantization

    def _as_float(self, name: str) -> str:
        """The float32 (or index) form of a tensor of the source graph."""
        tensor = self.graph.tensors[name]
        if tensor.is_constant:
            self.tensors.setdefault(name, tensor)
            return name
        if tensor.dtype is not DType.FLOAT32:
            return name
        if name not in self.real:
            stem = name if name not in self.tensors else self._new_name(f"{name}_float")
            self.real[name] = self._add(Tensor(stem, tensor.shape, DType.FLOAT32))
            operator = Operator(f"{stem}_dequantize", ops.Dequantize(), (self.integer[name],), (stem,))
            self.operators.append(operator)
        return self.real[name]

    def _as_integer(self, name: str, wanted: Format | None = None) -> str:
        """The integer form of an activation of the source graph, in its own format or another one."""
        own = self.formats[name]
        if name not in self.integer:
            target = self._new_name(f"{name}_{own.dtype.value}")
            self._declare_integer(name, target)
            self.operators.append(Operator(f"{target}_quantize", ops.Quantize(), (self.real[name],), (target,)))
        if wanted is None or wanted == own:
            return self.integer[name]
        key = (name, wanted)
        if key not in self.requantized:
            stem = self._new_name(f"{name}_requantized")
            shape = self.graph.tensors[name].shape
            self.requantized[key] = self._add(Tensor(stem, shape, wanted.dtype, None, wanted.quantization))
            self.operators.append(Operator(stem, ops.Quantize(), (self.integer[name],), (stem,)))
        return self.requantized[key]

    def _constant(self, stem: str, data: Array, quantization: Quantization | None) -> str:
        return self._add(Tensor.constant(self._new_name(f"{stem}_{data.dtype.name}"), data, quantization))

    def _output(self, name: str) -> str:
        tensor = self.graph.tensors[name]
        if tensor.dtype is not DType.FLOAT32 or tensor.is_constant:
            return self._as_float(name)
        return self._as_float(name) if self.float_io or self.integer.get(name) != name else name

    # ---- states ----

    def _states(self, integer_outputs: set[str]) -> list[State]:
        """States become integer when an integer operator reads or writes them."""
        states = []
        for state in self.graph.states:
            tensor = self.graph.tensors[state.read]
            readers = {o.name for o in self.graph.consumers.get(state.read, ())}
            touched = bool(readers & self.chosen) or state.write in integer_outputs
            if tensor.dtype is not DType.FLOAT32 or not touched:
                self._declare_same(tensor)
                states.append(state)
                continue
            wanted = self.formats[state.read]
            self._declare_integer(state.read, state.read)
            initial = wanted.quantization.quantize(state.initial, wanted.dtype)
            states.append(replace(state, initial=initial))
        return states

    def _state_value(self, state: State) -> str:
        """The tensor that holds the new value of a state, in the state's format."""
        source = next(s for s in self.graph.states if s.name == state.name)
        tensor = self.graph.tensors[source.write]
        if state.read not in self.integer:
            return self._as_float(source.write)
        wanted = self.formats[state.read]
        if tensor.data is not None:
            return self._constant(
                tensor.name, wanted.quantization.quantize(tensor.data, wanted.dtype), wanted.quantization
            )
        return self._as_integer(source.write, wanted)

    # ---- operators ----

    def _integer_operator(self, operator: Operator) -> None:
        a = operator.attributes
        if isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)):
            inputs = self._layer_inputs(operator)
        elif isinstance(a, (ops.Lstm, ops.Gru)):
            inputs = self._recurrent_inputs(operator, a)
            if isinstance(a, ops.Lstm):
                exponent = int(np.log2(self.formats[operator.outputs[2]].quantization.scale))
                a = replace(a, quantization=ops.LstmQuantization(exponent))
        else:
            inputs = tuple(self._input(operator, position) for position in range(len(operator.inputs)))
        outputs = []
        for tensor in self.graph.outs(operator):
            if tensor.dtype is not DType.FLOAT32:
                self._add(tensor)
                outputs.append(tensor.name)
                continue
            name = tensor.name
            if self.float_io and name in self.graph.outputs:
                name = self._new_name(f"{name}_{self.formats[tensor.name].dtype.value}")
            self._declare_integer(tensor.name, name)
            outputs.append(name)
        self.operators.append(replace(operator, attributes=a, inputs=inputs, outputs=tuple(outputs)))

    def _input(self, operator: Operator, position: int) -> str:
        tensor = self.graph.ins(operator)[position]
        a = operator.attributes
        choice = isinstance(a, ops.Binary) and a.op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM)
        shared = isinstance(a, ops.Concat) or choice
        target = self.formats[operator.outputs[0]] if shared or isinstance(a, ops.Gather) else None
        if tensor.dtype is not DType.FLOAT32:
            return self._as_float(tensor.name)
        if tensor.data is not None:
            if target is not None:
                return self._constant(
                    tensor.name, target.quantization.quantize(tensor.data, target.dtype), target.quantization
                )
            return self._constant(tensor.name, *tensor_constant(tensor.data, self.formats.dtype))
        if (operator.name, position) in self.formats.requantized:
            return self._as_integer(tensor.name, target)
        own = self.formats[tensor.name]
        if own.dtype is not self.formats.dtype and not isinstance(
            a, MOVED
        ):  # a recurrent state that something else reads
            return self._as_integer(tensor.name, self.formats.as_int8(tensor.name))
        return self._as_integer(tensor.name)

    def _layer_inputs(self, operator: Operator) -> tuple[str, ...]:
        ins = self.graph.ins(operator)
        x = self._input(operator, 0)
        axis = 3 if isinstance(operator.attributes, ops.DepthwiseConv2d) else 0
        constants = layer_constants(
            ins[1].value,
            ins[2].value if len(ins) > 2 else None,
            axis,
            self._quantization(x),
            activations=self.tensors[x].dtype,
            weight_format=self.weights.get(operator.name, Int8()),
            per_channel=self.per_channel,
            output_scale=self.formats[operator.outputs[0]].quantization.scale,
        )
        names = [x, self._constant(ins[1].name, constants.weights, constants.weight_quantization)]
        if constants.bias is not None:
            names.append(self._constant(ins[2].name, constants.bias, constants.bias_quantization))
        return tuple(names)

    def _recurrent_inputs(self, operator: Operator, a: ops.Lstm | ops.Gru) -> tuple[str, ...]:
        _, weights, recurrent, *rest = self.graph.ins(operator)
        biases = rest[: 1 if isinstance(a, ops.Lstm) else 2]
        initial = rest[len(biases) :]
        names = [self._input(operator, 0)]
        sources = (self._quantization(names[0]), self.formats[operator.outputs[0]].quantization)
        pairs = ((weights, biases[0]), (recurrent, biases[1] if len(biases) > 1 else None))
        matrices, vectors = [], []
        for source, (matrix, bias) in zip(sources, pairs):
            c = layer_constants(
                matrix.value,
                None if bias is None else bias.value,
                0,
                source,
                weight_format=self.weights.get(operator.name, Int8()),
                per_channel=self.per_channel,
            )
            matrices.append(self._constant(matrix.name, c.weights, c.weight_quantization))
            if bias is not None and c.bias is not None:
                vectors.append(self._constant(bias.name, c.bias, c.bias_quantization))
        names += matrices + vectors
        for tensor, output in zip(initial, operator.outputs[1:]):
            wanted = self.formats[output]
            if tensor.data is not None:
                data = wanted.quantization.quantize(tensor.data, wanted.dtype)
                names.append(self._constant(tensor.name, data, wanted.quantization))
            else:
                names.append(self._as_integer(tensor.name, wanted))
        return tuple(names)
