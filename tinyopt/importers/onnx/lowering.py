"""From an ONNX graph to a tinyopt graph: node by node, constants evaluated on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper

from tinyopt.errors import ModelError, TinyoptError, Unsupported, UnsupportedOperatorsError
from tinyopt.graph import Array, DType, Graph, Quantization, Shape, ops
from tinyopt.importers.layers import Layers
from tinyopt.importers.onnx import movement, operators, quantized, recurrent
from tinyopt.importers.onnx.folding import fold
from tinyopt.importers.onnx.node import OPERATORS, Node
from tinyopt.importers.onnx.reader import opset, plain, read_tensor
from tinyopt.importers.values import CannotLower, Value, constant

__all__ = ["OnnxLowering", "movement", "operators", "recurrent"]

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_MAXIMUM_NODES = 200_000
_MAXIMUM_DEPTH = 12


class _Missing:
    """Stands for the result of a node that could not be lowered."""


_MISSING = _Missing()
_Scope = dict[str, Any]
"""Names that are visible in a graph or function body: values, None for an empty name, _MISSING."""


class OnnxLowering:
    """One import. ``channels_last``: for four-axis inputs, outputs. ``shapes``: input name → shape, where the file
    leaves a size open."""

    def __init__(
        self,
        model: Any,
        directory: Path | None,
        name: str,
        channels_last: tuple[bool, bool],
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self.model = model
        self.directory = directory
        self.builder = Layers(name)
        self.channels_last = channels_last
        self.shapes = shapes
        self.opset = opset(model)
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.unsupported: list[Unsupported] = []
        self.count = 0

    def run(self) -> Graph:
        graph = self.model.graph
        scope: _Scope = {"": None}
        self._constants(graph, scope)
        self._inputs(graph, scope)
        self._nodes(graph.node, scope, self.opset, {}, 0)
        producer = f" by {self.model.producer_name}" if self.model.producer_name else ""
        if self.unsupported:
            raise UnsupportedOperatorsError(
                f"model '{self.builder.graph.name}'", f"ONNX opset {self.opset}{producer}", self.unsupported
            )
        for output in graph.output:
            self._output(output.name, scope)
        self.builder.graph.metadata["source"] = f"ONNX opset {self.opset}{producer}"
        return self.builder.build()

    # ---- ends ----

    def _constants(self, graph: Any, scope: _Scope) -> None:
        if graph.sparse_initializer:
            raise ModelError("the model holds sparse constants; export it with dense weights")
        for tensor in graph.initializer:
            scope[tensor.name] = constant(read_tensor(tensor, self.directory), tensor.name)

    def _inputs(self, graph: Any, scope: _Scope) -> None:
        unknown = set(self.shapes) - {i.name for i in graph.input}
        if unknown:
            raise ModelError(f"input_shapes names {sorted(unknown)}; the inputs are {[i.name for i in graph.input]}")
        for info in graph.input:
            if info.name in scope:
                continue  # a constant that old files list as an input
            kind = info.type.tensor_type
            if info.type.WhichOneof("value") != "tensor_type":
                raise ModelError(f"input '{info.name}' is not a tensor")
            shape = self._shape(info.name, kind)
            dtype = _dtype(info.name, kind.elem_type)
            quantization = None
            if dtype in (DType.INT8, DType.UINT8, DType.INT16):
                quantization = self._input_quantization(info.name, graph, scope)
            last = self.channels_last[0] and len(shape) == 4
            scope[info.name] = self.builder.input(info.name, shape, dtype, quantization, channels_last=last)

    def _shape(self, name: str, kind: Any) -> Shape:
        if name in self.shapes:
            return tuple(int(d) for d in self.shapes[name])
        if not kind.HasField("shape"):
            raise ModelError(f"input '{name}' has no shape; give it with input_shapes={{'{name}': (1, ...)}}")
        sizes = []
        for axis, dimension in enumerate(kind.shape.dim):
            size = dimension.dim_value if dimension.WhichOneof("value") == "dim_value" else 0
            if size < 1 and axis == 0:
                size = 1  # an open batch
            if size < 1:
                label = dimension.dim_param or "?"
                raise ModelError(
                    f"axis {axis} of input '{name}' has no fixed size ('{label}'); devices need fixed shapes. "
                    f"Give them with input_shapes={{'{name}': (1, ...)}}"
                )
            sizes.append(int(size))
        return tuple(sizes)

    def _input_quantization(self, name: str, graph: Any, scope: _Scope) -> Quantization | None:
        def consumers(tensor: str) -> list[tuple[str, list[str]]]:
            # In a damaged file a text that is not UTF-8 is read as bytes; such a node is refused when it is lowered.
            return [(n.op_type, list(n.input)) for n in graph.node if tensor in n.input and isinstance(n.op_type, str)]

        def constants(tensor: str) -> Array | None:
            value = scope.get(tensor)
            if isinstance(value, Value):
                return value.data
            for node in graph.node:
                if node.op_type == "Constant" and tensor in node.output:
                    return self._attributes(node, {}).get("value")
            return None

        return quantized.input_quantization(name, consumers, constants)

    def _output(self, name: str, scope: _Scope) -> None:
        value = scope.get(name)
        if not isinstance(value, Value):
            raise ModelError(f"nothing produces the output '{name}'")
        self.builder.scope = name
        declared = next(o for o in self.model.graph.output if o.name == name).type.tensor_type.elem_type
        if value.data is None and declared == onnx.TensorProto.UINT8:
            held = self.builder.graph.tensor(value.tensor)
            if held.dtype is DType.INT8 and held.quantization is not None:
                unsigned = Quantization.per_tensor(held.scale, held.zero_point + 128)
                value = self.builder.elementwise(ops.Quantize(), value, quantization=unsigned, dtype=DType.UINT8)
        self.builder.output(value, name, channels_last=self.channels_last[1] and value.rank == 4)

    # ---- nodes ----

    def _nodes(self, nodes: Any, scope: _Scope, version: int, given: Mapping[str, Any], depth: int) -> None:
        """Lower nodes in order; ``given``: attribute values of the function call that this is the body of."""
        if depth > _MAXIMUM_DEPTH:
            raise ModelError("functions or branches are nested too deeply")
        for node in nodes:
            self.count += 1
            if self.count > _MAXIMUM_NODES:
                raise ModelError(f"the model has more than {_MAXIMUM_NODES} operators")
            try:
                results = self._node(node, scope, version, given, depth)
            except CannotLower as cause:
                self.unsupported.append(Unsupported(_kind(node), _label(node), str(cause)))
                results = [_MISSING] * len(node.output)
            except TinyoptError as error:
                if isinstance(error, UnsupportedOperatorsError) or str(error).startswith("operator "):
                    raise
                raise ModelError(f"operator '{_label(node)}' ({_kind(node)}): {error}") from None
            except Exception as error:  # attributes or shapes that do not fit, in ways that no check foresaw
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ModelError(
                    f"operator '{_label(node)}' ({_kind(node)}) has attributes or inputs that do not fit: {reason}"
                ) from None
            for name, result in zip(node.output, results):
                if name:
                    scope[name] = result

    def _node(self, node: Any, scope: _Scope, version: int, given: Mapping[str, Any], depth: int) -> Sequence[Any]:
        inputs = []
        for name in node.input:
            if name not in scope:
                raise ModelError(f"it reads '{name}', which nothing produces")
            inputs.append(scope[name])
        function = self.functions.get((node.domain, node.op_type))
        known = node.domain in _DOMAINS and (node.op_type in OPERATORS or node.op_type in ("Constant", "If"))
        if any(value is _MISSING for value in inputs):
            if not known and function is None and not _foldable(node):
                raise CannotLower("no such operator in the graph")
            return [_MISSING] * len(node.output)
        attributes = self._attributes(node, given)
        self.builder.scope = node.name or (node.output[0] if node.output else node.op_type)
        if function is not None:
            return self._call(function, inputs, attributes, depth)
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Constant":
                return [_constant(attributes, node.output[0] if node.output else "")]
            if node.op_type == "If":
                return self._branch(inputs[0], attributes, scope, version, depth)
            folded = self._folded(node, inputs, attributes)
            if folded is not None:
                return folded
        if not known:
            raise CannotLower("no such operator in the graph")
        call = Node(node.op_type, self.builder.scope, inputs, attributes, version, list(node.output))
        result = OPERATORS[node.op_type](self.builder, call)
        return [result] if isinstance(result, Value) else list(result)

    def _folded(self, node: Any, inputs: Sequence[Value | None], attributes: Mapping[str, Any]) -> list[Any] | None:
        values = [v for v in inputs if v is not None]
        if not values or any(v.data is None or v.quantization is not None for v in values):
            return None
        result = fold(node.op_type, [None if v is None else v.data for v in inputs], attributes)
        if result is NotImplemented:
            return None
        return [constant(plain(np.asarray(result), node.op_type), node.output[0])]

    def _call(self, function: Any, inputs: Sequence[Any], attributes: Mapping[str, Any], depth: int) -> list[Any]:
        """The body of a model-local function."""
        scope: _Scope = {"": None, **dict(zip(function.input, [*inputs, *[None] * len(function.input)]))}
        defaults = {a.name: helper.get_attribute_value(a) for a in function.attribute_proto}
        versions = [int(i.version) for i in function.opset_import if i.domain in ("", "ai.onnx")]
        self._nodes(function.node, scope, max(versions, default=self.opset), {**defaults, **attributes}, depth + 1)
        return [scope.get(name, _MISSING) for name in function.output]

    def _branch(
        self, condition: Value | None, attributes: Mapping[str, Any], scope: _Scope, version: int, depth: int
    ) -> list[Any]:
        """An If whose condition is known: the branch is taken now."""
        if condition is None or condition.data is None or condition.size != 1:
            raise CannotLower("a condition that depends on the input")
        body = attributes["then_branch" if bool(condition.data.reshape(-1)[0]) else "else_branch"]
        inner = dict(scope)
        self._constants(body, inner)
        self._nodes(body.node, inner, version, {}, depth + 1)
        return [inner.get(output.name, _MISSING) for output in body.output]

    def _attributes(self, node: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in given:
                    result[attribute.name] = given[attribute.ref_attr_name]
            elif attribute.type == AttributeProto.TENSOR:
                result[attribute.name] = read_tensor(attribute.t, self.directory)
            else:
                result[attribute.name] = helper.get_attribute_value(attribute)
        return result


def _foldable(node: Any) -> bool:
    from tinyopt.importers.onnx.folding import FOLDS

    return node.op_type in FOLDS


def _kind(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)


def _label(node: Any) -> str:
    return str(node.name or (node.output[0] if node.output else ""))


def _constant(attributes: Mapping[str, Any], name: str) -> Value:
    for key, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in attributes:
            return constant(np.asarray(attributes[key], kind), name)
    if not isinstance(attributes.get("value"), np.ndarray):
        raise CannotLower("a constant that is not a tensor of numbers")
    return constant(attributes["value"], name)


def _dtype(name: str, kind: int) -> DType:
    try:
        text = np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
    except Exception:
        text = f"type {kind}"
    text = "float32" if text in ("float16", "float64", "bfloat16") else text
    try:
        return DType(text)
    except ValueError:
        raise ModelError(f"input '{name}' has element type {text}, which is not supported") from None
