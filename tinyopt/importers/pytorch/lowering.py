"""From an exported program to a graph: node by node, constants evaluated on the way."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from tinyopt.errors import GraphError, ModelError, TinyoptError, Unsupported, UnsupportedOperatorsError
from tinyopt.graph import Graph
from tinyopt.importers.layers import Layers
from tinyopt.importers.patterns import fuse_activations
from tinyopt.importers.pytorch import movement
from tinyopt.importers.pytorch.export import first_line, functional
from tinyopt.importers.pytorch.operators import OPERATORS
from tinyopt.importers.pytorch.registry import Arguments
from tinyopt.importers.signs import fuse_signs
from tinyopt.importers.values import MAXIMUM_ELEMENTS, CannotLower, Value, constant

_IGNORED = {"_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range", "sym_size"}
_NOT_CONSTANT = {
    "rand",
    "randn",
    "randint",
    "rand_like",
    "randn_like",
    "bernoulli",
    "from_file",
    "normal",
    "empty",
}


class _Missing:
    """Stands for the result of an operator that could not be lowered."""


def lower_program(program: ExportedProgram, name: str, *, channels_last: tuple[bool, bool]) -> Graph:
    """A graph from a program with static shapes; ``channels_last``: for four-axis inputs, outputs.

    Operators without a lowering are decomposed by torch into simpler ones, as often as that helps.

    Raises:
        UnsupportedOperatorsError: with every operator that remains.
        ModelError: when a constant or shape cannot be used.
    """
    program = functional(program)
    for overload in _without_lowering(program):
        program = _decomposed(program, overload)
    return _Lowering(program, name, channels_last).run()


def _decomposed(program: ExportedProgram, overload: torch._ops.OpOverload) -> ExportedProgram:
    """The program with an operator replaced by simpler ones, or unchanged where those are not all known either."""
    before = set(_without_lowering(program))
    simpler, pending = program, [overload]
    for _ in range(3):
        simpler = functional(simpler, pending)
        pending = [op for op in _without_lowering(simpler) if op is overload or op not in before]
        if not pending:
            return simpler
    return program


def _short(target: Any) -> str:
    """``aten.conv2d.padding`` → ``conv2d``."""
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.removeprefix("aten::")
    return getattr(target, "__name__", str(target))


def _without_lowering(program: ExportedProgram) -> list[torch._ops.OpOverload]:
    """Operators that depend on an input and have no lowering; those on constants are evaluated by torch."""
    signature = program.graph_signature
    varying = {str(name) for name in (*signature.user_inputs, *_mutated(program))}
    found: set[torch._ops.OpOverload] = set()
    for node in program.graph.nodes:
        if node.op != "call_function" or not any(n.name in varying for n in node.all_input_nodes):
            continue
        varying.add(node.name)
        short = _short(node.target)
        if isinstance(node.target, torch._ops.OpOverload) and short not in OPERATORS and short not in _IGNORED:
            found.add(node.target)
    return sorted(found, key=str)


def _mutated(program: ExportedProgram) -> list[str]:
    """Placeholders of buffers that the model changes."""
    targets = set(program.graph_signature.buffers_to_mutate.values())
    return [name for name, target in program.graph_signature.inputs_to_buffers.items() if target in targets]


class _Lowering:
    def __init__(self, program: ExportedProgram, name: str, channels_last: tuple[bool, bool]) -> None:
        self.program = program
        self.builder = Layers(name)
        self.channels_last = channels_last
        self.values: dict[str, Any] = {}
        self.unsupported: list[Unsupported] = []
        self.states: dict[str, str] = {}

    def run(self) -> Graph:
        self._inputs()
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self.values[node.name] = self._node(node)
        if self.unsupported:
            raise UnsupportedOperatorsError(
                f"model '{self.builder.graph.name}'", f"PyTorch {torch.__version__}", self.unsupported
            )
        self._outputs()
        self.builder.graph.metadata["source"] = f"PyTorch {torch.__version__} export"
        return fuse_activations(fuse_signs(self.builder.build()))

    # ---- ends ----

    def _inputs(self) -> None:
        mutated = set(self.program.graph_signature.buffers_to_mutate.values())
        nodes = {node.name: node for node in self.program.graph.nodes if node.op == "placeholder"}
        state_dict: Mapping[str, Any] = self.program.state_dict
        for spec in self.program.graph_signature.input_specs:
            key = getattr(spec.arg, "name", "")
            if spec.kind is InputKind.USER_INPUT:
                self._input(nodes[key])
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                target = spec.target or ""
                found = state_dict.get(target)
                tensor = self.program.constants[target] if found is None else found
                value = _from_torch(tensor, target)
                if target in mutated:
                    assert value.data is not None
                    self.states[target] = target
                    value = self.builder.state(target, value.data)
                self.values[key] = value
            else:
                raise ModelError(
                    f"the exported program needs an input of kind {spec.kind.name}, which is not supported"
                )

    def _input(self, node: Node) -> None:
        meta = node.meta.get("val")
        if not isinstance(meta, torch.Tensor):
            self.values[node.name] = meta  # a number or None that was baked in
            return
        shape = tuple(int(d) for d in meta.shape)
        if any(d < 1 for d in shape):
            raise ModelError(f"input '{node.name}' has shape {list(shape)}")
        try:
            dtype = movement.graph_dtype(meta.dtype)
        except CannotLower as error:
            raise ModelError(f"input '{node.name}' has {error}, which is not supported") from None
        if dtype.value != str(meta.dtype).removeprefix("torch."):
            self.builder.graph.note(f"input '{node.name}' is {meta.dtype} in the model and float32 here")
        last = self.channels_last[0] and len(shape) == 4
        self.values[node.name] = self.builder.input(node.name, shape, dtype, channels_last=last)

    def _outputs(self) -> None:
        specs = self.program.graph_signature.output_specs
        users = [s for s in specs if s.kind is OutputKind.USER_OUTPUT and isinstance(self._value(s), Value)]
        for index, spec in enumerate(users):
            value = self._value(spec)
            name = "output" if len(users) == 1 else f"output_{index}"
            self.builder.output(value, name, channels_last=self.channels_last[1] and value.rank == 4)
        for spec in specs:
            if spec.kind is OutputKind.BUFFER_MUTATION and spec.target in self.states:
                value = self._value(spec)
                assert isinstance(value, Value)
                self.builder.assign(self.states[spec.target], value)
        if not users:
            raise ModelError(f"model '{self.builder.graph.name}' returns no tensor")

    def _value(self, spec: Any) -> Any:
        return self.values.get(getattr(spec.arg, "name", ""))

    # ---- nodes ----

    def _resolve(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return self.values[argument.name]
        if isinstance(argument, (list, tuple)):
            return [self._resolve(item) for item in argument]
        return argument

    def _node(self, node: Node) -> Any:
        args = [self._resolve(a) for a in node.args]
        kwargs = {key: self._resolve(a) for key, a in node.kwargs.items()}
        flat = _flatten([*args, *kwargs.values()])
        if any(isinstance(v, _Missing) for v in flat):
            return _Missing()
        if node.target is operator.getitem:
            sequence, index = args
            return sequence[index] if isinstance(sequence, list) else sequence
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            if callable(target) and not any(isinstance(v, Value) for v in flat):
                return target(*args)  # arithmetic on sizes
            return self._fail(node, "it is not an ATen operator")
        short = _short(target)
        if short in _IGNORED:
            return None
        self.builder.scope = _scope(node)
        try:
            if short not in _NOT_CONSTANT and all(v.is_constant for v in flat if isinstance(v, Value)):
                return self._evaluate(node, target, args, kwargs)
            lowering = OPERATORS.get(short)
            if lowering is None:
                return self._fail(node, "no such operator in the graph")
            result = lowering(self.builder, _bind(target, args, kwargs, node))
        except CannotLower as reason:
            return self._fail(node, str(reason))
        except GraphError as error:
            raise ModelError(f"'{node.name}' ({target}): {error}") from None
        except TinyoptError:
            raise
        except Exception as error:  # arguments that do not fit, in ways that no check foresaw
            raise ModelError(f"'{node.name}' ({target}) has arguments that do not fit: {first_line(error)}") from None
        # An operator with one result may have been written by a lowering that always gives several.
        single = isinstance(node.meta.get("val"), torch.Tensor)
        return result[0] if single and isinstance(result, list) else result

    def _fail(self, node: Node, reason: str) -> _Missing:
        self.unsupported.append(Unsupported(str(node.target), _scope(node), reason))
        return _Missing()

    def _evaluate(self, node: Node, target: torch._ops.OpOverload, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Compute an operator on constants, with torch itself."""
        sizes = [m.numel() for m in _flatten([node.meta.get("val")]) if isinstance(m, torch.Tensor)]
        if any(size > MAXIMUM_ELEMENTS for size in sizes):
            raise ModelError(f"constant '{node.name}' is larger than tinyopt takes")
        with torch.no_grad():
            result = target(*_to_torch(args), **{k: v for k, v in _to_torch(kwargs).items() if k != "device"})
        return _wrap(result, node.name)


def _scope(node: Node) -> str:
    """The module's path in the model, as far as it is known: ``features.0.conv``."""
    stack = node.meta.get("nn_module_stack")
    if stack:
        path = str(list(stack.values())[-1][0]).replace("L['self'].", "").replace("L['self']", "").strip(".")
        if path:
            return path
    return node.name


def _bind(target: torch._ops.OpOverload, args: list[Any], kwargs: dict[str, Any], node: Node) -> Arguments:
    values: dict[str, Any] = {}
    for index, argument in enumerate(target._schema.arguments):
        if index < len(args):
            values[argument.name] = args[index]
        else:
            default = argument.default_value if argument.has_default_value() else None
            values[argument.name] = kwargs.get(argument.name, default)
    meta = node.meta.get("val")
    shape = tuple(int(d) for d in meta.shape) if isinstance(meta, torch.Tensor) else None
    return Arguments(values, shape)


def _flatten(items: Any) -> list[Any]:
    result = []
    for item in items:
        result += _flatten(item) if isinstance(item, (list, tuple)) else [item]
    return result


def _from_torch(tensor: torch.Tensor, name: str) -> Value:
    if tensor.is_sparse or tensor.is_quantized:
        raise ModelError(f"parameter '{name}' is sparse or quantized by torch; pass the model with dense float weights")
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(torch.float32)
    elif tensor.dtype.is_complex:
        raise CannotLower("complex numbers")
    return constant(np.array(tensor.numpy()), name)


def _to_torch(item: Any) -> Any:
    if isinstance(item, Value):
        return torch.from_numpy(np.array(item.real))
    if isinstance(item, list):
        return [_to_torch(i) for i in item]
    if isinstance(item, dict):
        return {key: _to_torch(i) for key, i in item.items()}
    return item


def _wrap(result: Any, name: str) -> Any:
    if isinstance(result, torch.Tensor):
        return _from_torch(result, name)
    if isinstance(result, (list, tuple)):
        return [_wrap(item, name) for item in result]
    return result
