"""Anything that gives scores, as a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tinyopt.bridge import GraphModule, dequantize_graph, to_torch
from tinyopt.errors import DataError
from tinyopt.graph import Array, Graph

TeacherLike: TypeAlias = "Graph | str | Path | nn.Module | Callable[..., Tensor] | Teacher | Sequence[TeacherLike]"
"""A graph, a model file, a torch module, or a function from batches of inputs to scores (or probabilities); several of
them teach the mean of their probabilities (Hinton et al. 2015)."""


class Teacher:
    """Scores and activations of a trained network, without gradients.

    ``module``: a ``GraphModule`` where the teacher is a graph, so that activations can be named; else any callable on
    the batches of the student's inputs.
    """

    def __init__(self, source: TeacherLike) -> None:
        self.module: Callable[..., Tensor | tuple[Tensor, ...]]
        self.members: tuple[Teacher, ...] = ()
        if isinstance(source, Teacher):
            self.module, self.members = source.module, source.members
        elif isinstance(source, (str, Path)):
            from tinyopt.importers import load

            self.module = _module(load(Path(source)))
        elif isinstance(source, Graph):
            self.module = _module(source)
        elif isinstance(source, Sequence):
            if not source:
                raise DataError("give at least one teacher")
            self.members = tuple(Teacher(one) for one in source)
            self.module = self._mean
        else:
            self.module = source
        if isinstance(self.module, nn.Module):
            self.module.eval()

    @property
    def graph(self) -> Graph | None:
        """The teacher's graph; None for other modules and functions."""
        return self.module.graph if isinstance(self.module, GraphModule) else None

    def __call__(self, inputs: tuple[Tensor, ...], names: Sequence[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores [batch, classes] before any softmax, and activations by name."""
        with torch.no_grad():
            if isinstance(self.module, nn.Module):
                self.module.to(inputs[0].device)
                self.module.eval()
            if isinstance(self.module, GraphModule):
                return scores_and_features(self.module, inputs, names)
            result = self.module(*inputs)
            first: Tensor = result[0] if isinstance(result, tuple) else result
            return _logits(torch.as_tensor(first).reshape(len(inputs[0]), -1).float()), {}

    def _mean(self, *inputs: Tensor) -> Tensor:
        """Probabilities [batch, classes] of all members together."""
        return torch.stack([member(inputs)[0].softmax(1) for member in self.members]).mean(0)

    def over(self, inputs: tuple[Array, ...], device: torch.device, batch_size: int = 256) -> Tensor:
        """Scores of all samples [samples, classes], on the device."""
        parts = []
        for start in range(0, len(inputs[0]), batch_size):
            batch = tuple(torch.from_numpy(x[start : start + batch_size]).to(device) for x in inputs)
            parts.append(self(batch)[0])
        return torch.cat(parts)

    def check(self, student: GraphModule) -> None:
        """That the teacher takes the student's inputs and gives as many scores.

        Raises:
            DataError: saying what differs.
        """
        for member in self.members:
            member.check(student)
        graph, theirs = student.graph, self.graph
        shapes = [graph.tensors[name].shape for name in graph.inputs]
        if theirs is not None:
            expected = [theirs.tensors[name].shape for name in theirs.inputs]
            if expected != shapes:
                raise DataError(
                    f"the teacher '{theirs.name}' takes inputs {_text(expected)}, the student '{graph.name}' "
                    f"{_text(shapes)}; both must see the same data (an ONNX or PyTorch teacher can be loaded with "
                    "input_layout='nhwc'; a function around the teacher can convert)"
                )
        device = next((p.device for p in student.parameters()), torch.device("cpu"))
        zeros = tuple(torch.zeros(shape, device=device) for shape in shapes)
        try:
            count = self(zeros)[0].shape[1]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise DataError(f"the teacher does not take inputs {_text(shapes)} of the student: {error}") from None
        size = graph.tensors[graph.outputs[0]].size
        if count != size:
            raise DataError(
                f"the teacher gives {count} scores for a sample, the student '{graph.name}' {size}; they are compared "
                "one by one, so both must know the same classes in the same order"
            )


def scores_and_features(
    module: GraphModule, inputs: tuple[Tensor, ...], names: Sequence[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores [batch, classes] before a final softmax and activations by name, from one pass."""
    logits, scale = module.logits_tensor
    values = module.features(inputs, [logits, *names])
    return values[logits].reshape(len(inputs[0]), -1) * scale, values


def _module(graph: Graph) -> GraphModule:
    return to_torch(dequantize_graph(graph) if graph.is_quantized else graph)


def _logits(values: Tensor) -> Tensor:
    """Scores of a network of which only the outputs are known: the logarithm where they are probabilities."""
    if values.shape[1] > 1 and bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        return values.clamp_min(1e-12).log()
    return values


def _text(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
