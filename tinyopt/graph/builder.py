"""A builder for graphs: importers, passes and tests add operators; shapes and names are worked out here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinyopt.graph.graph import Graph, Operator, State
from tinyopt.graph.ops import ArgMax, Attributes, Cast, Dequantize
from tinyopt.graph.shapes import infer_shapes
from tinyopt.graph.types import Array, DType, Quantization, Shape, Tensor


class GraphBuilder:
    """Collects tensors and operators; ``build`` makes the immutable, verified graph."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tensors: dict[str, Tensor] = {}
        self._operators: list[Operator] = []
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._states: list[State] = []
        self._operator_names: set[str] = set()
        self.metadata: dict[str, str] = {}

    def note(self, text: str) -> None:
        """Add a line that the user is shown after the import (once)."""
        notes = self.metadata.get("notes", "").splitlines()
        if text not in notes:
            self.metadata["notes"] = "\n".join([*notes, text])

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def unique(self, stem: str) -> str:
        """``stem``, or ``stem_1``, ``stem_2``, … when it is taken."""
        stem = stem or "t"
        name, number = stem, 0
        while name in self._tensors:
            number += 1
            name = f"{stem}_{number}"
        return name

    def add_tensor(self, tensor: Tensor) -> str:
        tensor = tensor.renamed(self.unique(tensor.name))
        self._tensors[tensor.name] = tensor
        return tensor.name

    def input(self, name: str, shape: Shape, dtype: DType, quantization: Quantization | None = None) -> str:
        name = self.add_tensor(Tensor(name, shape, dtype, None, quantization))
        self._inputs.append(name)
        return name

    def constant(self, name: str, data: Array, quantization: Quantization | None = None) -> str:
        return self.add_tensor(Tensor.constant(name, np.asarray(data), quantization))

    def state(
        self, name: str, initial: Array, quantization: Quantization | None = None, *, read: str | None = None
    ) -> str:
        """Declare a state; returns the tensor it is read from. Finish it with ``assign``."""
        tensor = Tensor(read or name, tuple(initial.shape), DType.of(initial), None, quantization)
        read_name = self.add_tensor(tensor)
        self._states.append(State(name, read_name, read_name, initial))
        return read_name

    def assign(self, name: str, write: str) -> None:
        """After the inference, the state ``name`` takes the value of the tensor ``write``."""
        self._states = [State(s.name, s.read, write, s.initial) if s.name == name else s for s in self._states]

    def add(
        self,
        attributes: Attributes,
        inputs: Sequence[str],
        *,
        name: str = "",
        output: str | Sequence[str] | None = None,
        dtype: DType | None = None,
        quantization: Quantization | Sequence[Quantization | None] | None = None,
    ) -> str:
        """Add an operator and return the name of its first output (see ``add_multi`` for several)."""
        outputs = [output] if isinstance(output, str) else output
        quantizations = (
            [quantization] if isinstance(quantization, Quantization) or quantization is None else list(quantization)
        )
        return self.add_multi(attributes, inputs, name, outputs, dtype, quantizations)[0]

    def add_multi(
        self,
        attributes: Attributes,
        inputs: Sequence[str],
        name: str = "",
        outputs: Sequence[str] | None = None,
        dtype: DType | Sequence[DType] | None = None,
        quantizations: Sequence[Quantization | None] = (None,),
    ) -> list[str]:
        """Add an operator; returns all output names. The last quantization serves all further outputs.

        ``dtype``: one for all outputs, or one each.
        """
        shapes = infer_shapes(attributes, [self._tensors[i].shape for i in inputs])
        operator_name = self._operator_name(name or (outputs[0] if outputs else attributes.kind.lower()))
        if dtype is None or isinstance(dtype, DType):
            kinds = [dtype or self._output_dtype(attributes, inputs)] * len(shapes)
        else:
            kinds = list(dtype)
        names = []
        for index, shape in enumerate(shapes):
            stem = outputs[index] if outputs else (operator_name if len(shapes) == 1 else f"{operator_name}_{index}")
            quantization = quantizations[min(index, len(quantizations) - 1)]
            names.append(self.add_tensor(Tensor(stem, shape, kinds[index], None, quantization)))
        self._operators.append(Operator(operator_name, attributes, tuple(inputs), tuple(names)))
        return names

    def _operator_name(self, stem: str) -> str:
        name, number = stem, 0
        while name in self._operator_names:
            number += 1
            name = f"{stem}_{number}"
        self._operator_names.add(name)
        return name

    def _output_dtype(self, attributes: Attributes, inputs: Sequence[str]) -> DType:
        if isinstance(attributes, (ArgMax, Cast)):
            return DType(attributes.dtype)
        if isinstance(attributes, Dequantize):
            return DType.FLOAT32
        return self._tensors[inputs[0]].dtype

    def output(self, name: str) -> None:
        self._outputs.append(name)

    def build(self, metadata: Mapping[str, str] | None = None) -> Graph:
        """The finished graph.

        Raises:
            GraphError: when it breaks a rule of the representation.
        """
        return Graph(
            self.name,
            self._tensors,
            tuple(self._operators),
            tuple(self._inputs),
            tuple(self._outputs),
            tuple(self._states),
            {**self.metadata, **(metadata or {})},
        )
