"""Known inputs and outputs of a model, small enough to stand in a test: the inputs are drawn in C and here alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyopt.execute import Executor
from tinyopt.generate import ctext
from tinyopt.graph import Array, DType, Graph

SEED = 0x9E3779B9
SAMPLES = 3
_MOST_ELEMENTS = 256
"""Of an output that stand in the test; of a larger one every n-th."""
_DRAWS = {
    DType.INT8: "(int8_t)(draw() >> 24)",
    DType.UINT8: "(uint8_t)(draw() >> 24)",
    DType.INT16: "(int16_t)(draw() >> 16)",
    DType.FLOAT32: "(float)(draw() >> 8) / 8388608.0f - 1.0f",
}


@dataclass(frozen=True)
class Answers:
    """Expected elements of one output: ``rows`` are the lines of the initialiser of every sample."""

    index: int
    c_type: str
    real: bool
    count: int
    stride: int
    rows: list[list[str]]


@dataclass(frozen=True)
class Input:
    """``draw``: C expression of the next element; empty where the elements are zero (indices, conditions)."""

    index: int
    draw: str


def known_answers(graph: Graph) -> tuple[list[Input], list[Answers]]:
    """What a test needs of a model: how its inputs are drawn, and the reference executor's outputs for them.

    The samples are run in order from the initial state, so a model with states is tested as a stream.
    """
    numbers = _xorshift(SEED)
    executor = Executor(graph)
    results: list[list[Array]] = []
    for _ in range(SAMPLES):
        values = executor({name: _sample(graph, name, numbers) for name in graph.inputs})
        results.append([np.asarray(values[name]).reshape(-1) for name in graph.outputs])
    inputs = [Input(i, _DRAWS.get(graph.tensors[name].dtype, "")) for i, name in enumerate(graph.inputs)]
    answers = []
    for index, name in enumerate(graph.outputs):
        tensor = graph.tensors[name]
        stride = -(-tensor.size // _MOST_ELEMENTS)
        chosen = [sample[index][::stride] for sample in results]
        answers.append(
            Answers(
                index,
                tensor.dtype.c_type,
                tensor.dtype is DType.FLOAT32,
                len(chosen[0]),
                stride,
                [[row.strip() for row in ctext.rows(values)] for values in chosen],
            )
        )
    return inputs, answers


def _xorshift(state: int) -> Iterator[int]:
    """Marsaglia, Xorshift RNGs (2003), the triple 13, 17, 5."""
    while True:
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        yield state


def _sample(graph: Graph, name: str, numbers: Iterator[int]) -> Array:
    tensor = graph.tensors[name]
    kind: np.dtype[Any] = tensor.dtype.numpy
    if tensor.dtype not in _DRAWS:
        return np.zeros(tensor.shape, kind)
    drawn = np.fromiter((next(numbers) for _ in range(tensor.size)), np.uint32, tensor.size)
    if tensor.dtype is DType.FLOAT32:
        values = ((drawn >> 8).astype(np.float32) / np.float32(8388608) - np.float32(1)).astype(kind)
    else:
        values = (drawn >> (32 - 8 * kind.itemsize)).astype(f"u{kind.itemsize}").view(kind)
    return np.asarray(values.reshape(tensor.shape))
