"""A float graph as a trainable ``torch.nn.Module``, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyopt.bridge.dequantize import dequantize_graph
from tinyopt.bridge.functional import FUNCTIONS
from tinyopt.bridge.hooks import ActivationHooks
from tinyopt.bridge.names import attribute_names
from tinyopt.errors import DataError, GraphError, ModelError
from tinyopt.graph import DType, Graph, Operator, batch_problem, for_batch, ops
from tinyopt.graph.ops import Attributes, BinaryKind

_TRAINED: dict[type[Attributes], frozenset[int]] = {
    **dict.fromkeys((ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected), frozenset((1, 2))),
    ops.MatMul: frozenset((0, 1)),
    ops.BatchNorm: frozenset((1, 2)),
    ops.LayerNorm: frozenset((1, 2)),
    ops.Prelu: frozenset((1,)),
    ops.Gather: frozenset((0,)),
    ops.Lstm: frozenset((1, 2, 3)),
    ops.Gru: frozenset((1, 2, 3, 4)),
}
"""Inputs that training changes where they are float constants."""

_TRAINED_BINARY = (BinaryKind.ADD, BinaryKind.SUB, BinaryKind.MUL)
_PASSED_ON = (ops.Reshape, ops.Transpose, ops.BroadcastTo)
_SIZED = (ops.Reshape, ops.BroadcastTo, ops.Slice)
"""Operators whose attributes hold the batch."""


def to_torch(graph: Graph) -> GraphModule:
    """The float graph as a module to train; ``to_graph`` is the way back. Layers with run-time ranges become float
    layers with the values of their int8 weights.

    Raises:
        ModelError: when the graph is quantized (see ``dequantize_graph``).
    """
    return GraphModule(graph if graph.is_quantized else dequantize_graph(graph))


def to_graph(module: GraphModule) -> Graph:
    """The graph of a module with its present constants: parametrizations (masks, fake quantization) are applied.

    Constants that did not change are the very same tensors; the structure is the graph's that the module was made from.

    Raises:
        ModelError: when a constant became NaN or infinite.
    """
    changed = dict(module.graph.tensors)
    for name in module.constant_names:
        tensor = module.graph.tensors[name]
        value = module.constant(name).detach().cpu().contiguous().numpy().astype(tensor.dtype.numpy, copy=False)
        if value.shape != tensor.shape:
            raise ModelError(f"'{name}' has become {list(value.shape)}; the graph declares {list(tensor.shape)}")
        if not np.isfinite(value).all():
            raise ModelError(f"training left NaN or infinite values in '{name}'; lower the learning rate")
        if not np.array_equal(value, tensor.value):
            changed[name] = replace(tensor, data=value.copy())
    return replace(module.graph, tensors=changed)


class _Constants(nn.Module):
    """Holds the constants: parameters and buffers by attribute name. Parametrizations are registered here."""


class GraphModule(nn.Module):
    """A float graph whose constants are parameters.

    ``forward`` takes one tensor per input of the graph, in its order and layout (NHWC), with any number of samples
    along axis 0 in place of the graph's one, and returns the output (a tuple when there are several). The results are
    the float executor's. Graphs whose operators work along axis 0 are run sample by sample. States hold their initial
    values at the start of every sample; ``sequence`` carries them over steps, for streaming networks.

    What layers multiply with or add is a parameter: weights, biases, scales of normalisations, slopes, embedding
    tables, constant operands of additions and multiplications with more than one element. All other float constants
    (running statistics, initial values, scalars) are buffers. Both live in ``module.weights`` under the name of their
    tensor (``attribute``: with dots replaced), in graph layout.

    Extension points:

    - ``module.parametrize(tensor, transform)`` puts a ``torch.nn.utils.parametrize`` transformation on a constant: the
      forward pass and ``to_graph`` see its result, the optimiser trains what is behind it;
    - ``module.activation_hooks[tensor] = callable`` transforms an activation;
    - ``module.features(inputs, names)`` returns activations beside the outputs.

    Batch norms use the statistics of the batch in training and update the running ones: ``batch_norm_momentum`` is the
    share of the newest batch; None keeps the statistics as they are and uses them, in training too.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        _check(graph)
        self.graph = graph
        self.batch_norm_momentum: float | None = 0.1
        self.activation_hooks = ActivationHooks(graph)
        self.weights = _Constants()
        read = {name for operator in graph.operators for name in operator.inputs} | set(graph.outputs)
        self.constant_names: tuple[str, ...] = tuple(t.name for t in graph.constants() if t.name in read)
        self._attributes = attribute_names(self.constant_names)
        self._trained = _trained(graph)
        for name, attribute in self._attributes.items():
            value = torch.from_numpy(np.array(graph.tensors[name].value))
            if name in self._trained:
                self.weights.register_parameter(attribute, nn.Parameter(value))
            else:
                self.weights.register_buffer(attribute, value)
        self.states = _Constants()
        self._state_attributes = attribute_names(state.read for state in graph.states)
        for state in graph.states:
            initial = torch.from_numpy(np.array(state.initial))
            self.states.register_buffer(self._state_attributes[state.read], initial)
        self._obstacle = batch_problem(
            replace(graph, states=(), inputs=tuple(graph.inputs) + tuple(s.read for s in graph.states))
        )
        self._varying = _varying(graph)
        self._attributes_for: dict[int, list[Attributes]] = {}
        self._last_use = _last_uses(graph)

    # ---- constants ----

    def attribute(self, tensor_name: str) -> str:
        """The name of a constant inside ``module.weights``.

        Raises:
            GraphError: when the graph has no such constant.
        """
        try:
            return self._attributes[tensor_name]
        except KeyError:
            raise GraphError(f"graph '{self.graph.name}' has no constant '{tensor_name}'") from None

    @property
    def parameter_names(self) -> Mapping[str, str]:
        """Tensor name of each constant that is trained → its attribute in ``module.weights``."""
        return MappingProxyType({name: a for name, a in self._attributes.items() if name in self._trained})

    def constant(self, tensor_name: str) -> Tensor:
        """The present value of a constant, in graph layout, as the forward pass sees it."""
        value: Tensor = getattr(self.weights, self.attribute(tensor_name))
        return value

    def parametrize(self, tensor_name: str, transform: nn.Module) -> None:
        """Transform a constant before every use (see ``torch.nn.utils.parametrize``); several are applied in turn."""
        parametrize.register_parametrization(self.weights, self.attribute(tensor_name), transform)

    def remove_parametrizations(self, tensor_name: str, *, keep_result: bool = True) -> None:
        """Take the transformations of a constant away; it keeps their result, or the value behind them."""
        parametrize.remove_parametrizations(self.weights, self.attribute(tensor_name), leave_parametrized=keep_result)

    # ---- running ----

    @property
    def stackable(self) -> bool:
        """Whether samples run together; else one after the other."""
        return self._obstacle is None

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs for stacked samples: one tensor [batch, …] per input of the graph in, one per output out.

        Raises:
            DataError: when the number of inputs or a shape does not fit.
        """
        values = self._run(inputs, self.graph.outputs)
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def features(self, inputs: Tensor | Sequence[Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """Activations (or outputs) by tensor name, each [batch, …], from one forward pass; gradients flow through.

        Operators that none of them depends on are not computed.

        Raises:
            GraphError: when the graph has no tensor of that name.
        """
        wanted = tuple(names)
        for name in wanted:
            self.graph.tensor(name)
        return self._run((inputs,) if isinstance(inputs, Tensor) else tuple(inputs), wanted)

    def sequence(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """A streaming network over a sequence, unrolled: gradients flow through the states (backpropagation through
        time). Inputs [batch, steps, …], outputs [batch, steps, …]; … is the graph's shape without its batch axis.

        Raises:
            DataError: when a shape does not fit, or inputs differ in their number of steps.
            ModelError: when the graph's operators work along the batch axis.
        """
        steps = {x.shape[1] if x.ndim > 1 else 0 for x in inputs}
        if len(steps) != 1 or 0 in steps:
            raise DataError(
                f"the inputs of a sequence are [batch, steps, …] of as many steps, got {sorted(steps)} steps"
            )
        if self._obstacle is not None:
            raise ModelError(f"'{self.graph.name}' cannot run sequences: {self._obstacle}")
        wanted = tuple(dict.fromkeys([*self.graph.outputs, *(state.write for state in self.graph.states)]))
        states: dict[str, Tensor] | None = None
        rows: list[dict[str, Tensor]] = []
        for step in range(steps.pop()):
            now = tuple(x[:, step] for x in inputs)
            values = self._pass(now, wanted, self._batch(now), states)
            states = {state.read: values[state.write] for state in self.graph.states}
            rows.append(values)
        outputs = tuple(torch.stack([row[name] for row in rows], 1) for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def logits(self, *inputs: Tensor) -> Tensor:
        """The first output before a softmax at the end of the graph, as cross-entropy wants it; of the output's shape.
        Without a softmax, the output itself."""
        name, scale = self.logits_tensor
        value = self.features(inputs, [name])[name]
        shape = self.graph.tensors[self.graph.outputs[0]].shape
        if value.shape[1:] != shape[1:]:
            value = value.reshape(-1, *shape[1:])
        return value if scale == 1 else value * scale

    @property
    def logits_tensor(self) -> tuple[str, float]:
        """The tensor that the final softmax of the first output reads and what it is multiplied by; the output itself
        where there is no softmax. Reshapes may follow the softmax."""
        producer = self.graph.producers.get(self.graph.outputs[0])
        while producer is not None and isinstance(producer.attributes, ops.Reshape):
            producer = self.graph.producers.get(producer.inputs[0])
        if producer is not None and isinstance(producer.attributes, ops.Softmax):
            return producer.inputs[0], producer.attributes.beta
        return self.graph.outputs[0], 1.0

    def _run(self, inputs: tuple[Tensor, ...], wanted: tuple[str, ...]) -> dict[str, Tensor]:
        batch = self._batch(inputs)
        if batch == 1 or self.stackable:
            return self._pass(inputs, wanted, batch)
        if self.training and any(isinstance(o.attributes, ops.BatchNorm) for o in self.graph.operators):
            raise ModelError(f"'{self.graph.name}' cannot be trained in batches with its batch norms: {self._obstacle}")
        parts = [self._pass(tuple(x[i : i + 1] for x in inputs), wanted, 1) for i in range(batch)]
        return {name: torch.cat([part[name].reshape(part[name].shape or (1,)) for part in parts]) for name in wanted}

    def _batch(self, inputs: tuple[Tensor, ...]) -> int:
        names = self.graph.inputs
        if len(inputs) != len(names):
            raise DataError(f"'{self.graph.name}' has {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")
        sizes = set()
        for name, x in zip(names, inputs):
            shape = self.graph.tensors[name].shape
            stacked = shape[:1] == (1,) and x.ndim == len(shape) and x.shape[1:] == shape[1:]
            if not stacked and tuple(x.shape) != shape:
                wanted = ["batch", *shape[1:]] if shape[:1] == (1,) else shape
                raise DataError(f"input '{name}' must be [{', '.join(map(str, wanted))}], got {list(x.shape)}")
            sizes.add(x.shape[0] if shape[:1] == (1,) else 1)
        if len(sizes) > 1:
            raise DataError(f"the inputs of '{self.graph.name}' hold different numbers of samples: {sorted(sizes)}")
        return int(sizes.pop()) if sizes else 1

    def _initial(self, batch: int) -> dict[str, Tensor]:
        """State tensor → its value before the first step, for a batch."""
        values: dict[str, Tensor] = {name: getattr(self.states, a) for name, a in self._state_attributes.items()}
        if batch == 1:
            return values
        return {name: value.expand(batch, *value.shape[1:]) for name, value in values.items()}

    def _pass(
        self, inputs: tuple[Tensor, ...], wanted: tuple[str, ...], batch: int, states: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """One pass over the operators that ``wanted`` depends on; ``states``: state tensor → value (initial)."""
        hooks = self.activation_hooks
        constants: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {n: hooks(n, x) for n, x in zip(self.graph.inputs, inputs)}
        given = self._initial(batch) if states is None else states
        values.update({name: hooks(name, x) for name, x in given.items()})

        def value(name: str) -> Tensor:
            if name in values:
                return values[name]
            if name not in constants:
                constants[name] = self.constant(name)
            return constants[name]

        needed = self._needed(wanted)
        free_early = not torch.is_grad_enabled()
        for index, (operator, attributes) in enumerate(zip(self.graph.operators, self._for_batch(batch))):
            if index not in needed:
                continue
            results = self._compute(operator, attributes, [value(name) for name in operator.inputs])
            for name, result in zip(operator.outputs, results):
                values[name] = hooks(name, result)
            if free_early:
                for name in self._last_use[index]:
                    if name not in wanted:
                        values.pop(name, None)
        return {name: value(name) for name in wanted}

    def _compute(self, operator: Operator, attributes: Attributes, inputs: list[Tensor]) -> list[Tensor]:
        if isinstance(attributes, ops.BatchNorm) and self.training and self.batch_norm_momentum is not None:
            x, gamma, beta, mean, variance = inputs
            constant = all(self.graph.tensors[name].is_constant for name in operator.inputs[3:])
            if constant and x.numel() > x.shape[-1]:
                momentum = self.batch_norm_momentum
                y = F.batch_norm(x.movedim(-1, 1), mean, variance, gamma, beta, True, momentum, attributes.epsilon)
                return [y.movedim(1, -1)]
        return FUNCTIONS[type(attributes)](attributes, inputs)

    def _for_batch(self, batch: int) -> list[Attributes]:
        if batch not in self._attributes_for:
            if len(self._attributes_for) > 8:
                self._attributes_for.clear()
            self._attributes_for[batch] = [
                for_batch(o.attributes, batch)
                if isinstance(o.attributes, _SIZED) and o.inputs[0] in self._varying
                else o.attributes
                for o in self.graph.operators
            ]
        return self._attributes_for[batch]

    def _needed(self, wanted: tuple[str, ...]) -> set[int]:
        names = set(wanted)
        needed: set[int] = set()
        for index in range(len(self.graph.operators) - 1, -1, -1):
            operator = self.graph.operators[index]
            if not names.isdisjoint(operator.outputs):
                needed.add(index)
                names.update(operator.inputs)
        return needed

    def extra_repr(self) -> str:
        return f"{self.graph.name}: {len(self.graph.operators)} operators, {len(self.parameter_names)} parameters"

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        # The graph is immutable and its mappings cannot be copied: the copy shares it.
        import copy

        memo[id(self.graph)] = self.graph
        result = self.__class__.__new__(self.__class__)
        memo[id(self)] = result
        result.__dict__.update({key: copy.deepcopy(value, memo) for key, value in self.__dict__.items()})
        return result


def _check(graph: Graph) -> None:
    for operator in graph.operators:
        if isinstance(operator.attributes, (ops.Quantize, ops.Dequantize)):
            raise ModelError(
                f"'{graph.name}' has quantized operators ('{operator.name}'); give the float model, or make one with "
                "tinyopt.bridge.dequantize_graph"
            )
        tensors = (*graph.ins(operator), *graph.outs(operator))
        quantized = next((t for t in tensors if t.quantization is not None), None)
        if quantized is not None:
            raise ModelError(
                f"'{quantized.name}' is quantized; give the float model, or make one with "
                "tinyopt.bridge.dequantize_graph"
            )
        if type(operator.attributes) not in FUNCTIONS:
            raise ModelError(f"operator '{operator.name}' ({operator.kind}) cannot be trained")


def _trained(graph: Graph) -> set[str]:
    """Constants that training changes."""
    result: set[str] = set()

    def visit(name: str) -> bool:
        for operator in graph.consumers.get(name, ()):
            a = operator.attributes
            places = [i for i, read in enumerate(operator.inputs) if read == name]
            if isinstance(a, ops.Binary):
                found = a.op in _TRAINED_BINARY and graph.tensors[name].size > 1
            elif isinstance(a, _PASSED_ON):
                found = visit(operator.outputs[0])
            else:
                found = not _TRAINED.get(type(a), frozenset()).isdisjoint(places)
            if found:
                return True
        return False

    for tensor in graph.constants():
        if tensor.dtype is DType.FLOAT32 and visit(tensor.name):
            result.add(tensor.name)
    return result


def _varying(graph: Graph) -> set[str]:
    """Tensors that depend on an input."""
    result = set(graph.given)
    for operator in graph.operators:
        if not result.isdisjoint(operator.inputs):
            result.update(operator.outputs)
    return result


def _last_uses(graph: Graph) -> list[list[str]]:
    """For each operator, the activations that no later one reads."""
    last: dict[str, int] = {}
    for index, operator in enumerate(graph.operators):
        for name in (*operator.inputs, *operator.outputs):
            last[name] = index
    result: list[list[str]] = [[] for _ in graph.operators]
    for name, index in last.items():
        result[index].append(name)
    return result
