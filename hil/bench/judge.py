"""What the outputs of a device are held against: the reference executor, and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyopt.data import Samples
from tinyopt.execute import Executor
from tinyopt.graph import Array, Graph
from tinyopt.report.compare import compare, predictions


@dataclass(frozen=True)
class Verdict:
    """``prediction``: class number, or 0 and 1 for a single output; ``mismatch``: what differs from the reference, or
    None."""

    prediction: int
    label: int | None
    mismatch: str | None


class Judge:
    """Judges outputs sample by sample, in order. The model's states are those after the samples before."""

    def __init__(self, graph: Graph, samples: Samples, *, reset_each: bool = False) -> None:
        self._graph, self._samples = graph, samples
        self._executor = Executor(graph)
        self._reset_each = reset_each
        self._next = 0
        self.types = tuple((graph.tensors[name].dtype.numpy, graph.tensors[name].shape) for name in graph.outputs)

    @property
    def has_state(self) -> bool:
        """Whether a sample depends on those before it."""
        return bool(self._graph.states) and not self._reset_each

    def reference(self, index: int) -> list[Array]:
        """Outputs of the reference executor for a sample."""
        if self.has_state:
            if index < self._next:
                self._executor.reset()
                self._next = 0
            for earlier in range(self._next, index):
                self._executor(self._sample(earlier))
            self._next = index + 1
        else:
            self._executor.reset()
        values = self._executor(self._sample(index))
        return [values[name] for name in self._graph.outputs]

    def __call__(self, index: int, outputs: Sequence[bytes]) -> Verdict:
        """``outputs``: the bytes of every output, as the device sent them."""
        arrays = [
            np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
            for data, (dtype, shape) in zip(outputs, self.types)
        ]
        comparison = compare(self._graph, [arrays], [self.reference(index)])
        label = None if self._samples.labels is None else int(self._samples.labels[index])
        mismatch = comparison.first_mismatch
        return Verdict(
            prediction=int(predictions([arrays[0]], self._graph.tensors[self._graph.outputs[0]])[0]),
            label=label,
            mismatch=mismatch.split(", ", 1)[1] if mismatch else None,
        )

    def inputs(self, index: int) -> list[bytes]:
        """The bytes of every input of a sample, in the model's order."""
        sample: Mapping[str, Any] = self._sample(index)
        return [np.ascontiguousarray(sample[name]).tobytes() for name in self._graph.inputs]

    def _sample(self, index: int) -> dict[str, Array]:
        return {name: self._samples.inputs[name][index] for name in self._graph.inputs}

    def __len__(self) -> int:
        return len(self._samples)
