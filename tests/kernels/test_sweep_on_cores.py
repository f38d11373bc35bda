"""Kernels written for an instruction set run on a core that has it, emulated, and agree with the executor on every bit.

On this computer the same files compile to plain C (see ``test_sweep``); here the instructions are swept. Many
examples are the operators of one graph, so that few firmwares are built and started.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hil import measure
from kernels.test_sweep import CASES, assert_agrees, graphs, random_value
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.execute import Executor
from tinyopt.generate import generate
from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import all_kernels, candidates

BOARDS = {"mps3_an547": "mve", "mps2_an386": "dsp"}
PER_KERNEL = 24
SAMPLES = 3
PER_FIRMWARE = 100
"""Operators of one firmware: placing its buffers takes time that grows faster than their number."""


@dataclass(frozen=True)
class Example:
    """A graph of one operator (behind the packing of its signs, if any), and the kernel that is to compute it."""

    graph: Graph
    operator: Operator
    kernel: str


def examples(feature: str, features: frozenset[str]) -> Iterator[Example]:
    """At most ``PER_KERNEL`` examples of each kernel that needs the feature."""
    left = {kernel.name: PER_KERNEL for kernel in all_kernels() if feature in kernel.requires}
    for case in sorted(CASES):
        for graph in graphs(case):
            *before, operator = graph.operators
            if graph.states or any(not isinstance(o.attributes, ops.PackSigns) for o in before):
                continue
            for kernel in candidates(graph, operator, features):
                if left.get(kernel.name, 0):
                    left[kernel.name] -= 1
                    yield Example(graph, operator, kernel.name)


def joined(found: list[Example]) -> Graph:
    """The examples side by side in one graph; the names of example i begin with ``i/``."""

    def renamed(index: int, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{index}/{name}" for name in names)

    tensors, operators, inputs, outputs = {}, [], [], []
    for index, example in enumerate(found):
        graph = example.graph
        for name, tensor in graph.tensors.items():
            tensors[f"{index}/{name}"] = replace(tensor, name=f"{index}/{name}")
        operators += [
            Operator(f"{index}/{o.name}", o.attributes, renamed(index, o.inputs), renamed(index, o.outputs))
            for o in graph.operators
        ]
        inputs += renamed(index, graph.inputs)
        outputs += renamed(index, graph.outputs)
    return Graph("sweep", tensors, tuple(operators), tuple(inputs), tuple(outputs))


@pytest.mark.parametrize("name", BOARDS)
def test_kernels_agree_with_the_executor_on_the_core(name: str, tmp_path: Path) -> None:
    for tool in ("qemu-system-arm", "arm-none-eabi-gcc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{name} needs {tool}, which is not installed")
    board = load_board(name)
    found = list(examples(BOARDS[name], frozenset(board.features)))
    for start in range(0, len(found), PER_FIRMWARE):
        run_together(found[start : start + PER_FIRMWARE], board, tmp_path / f"project{start}")


def run_together(found: list[Example], board: Board, folder: Path) -> None:
    """One firmware of all examples; its outputs are the executor's."""
    graph = joined(found)
    pins = {f"{index}/{example.operator.name}": example.kernel for index, example in enumerate(found)}
    firmware = build(generate(make_plan(graph, board, pins=pins), folder, harness=True))
    samples = [
        {key: random_value(graph.tensors[key], 7 * position + seed) for position, key in enumerate(graph.inputs)}
        for seed in range(SAMPLES)
    ]
    types = [(graph.tensors[key].dtype.numpy, graph.tensors[key].shape) for key in graph.outputs]
    measured = measure(firmware, board, samples, outputs=types, layers=False, cycles=False)
    executor = Executor(graph)
    for sample, got in zip(samples, measured.outputs):
        expected = executor(sample)
        for key, values in zip(graph.outputs, got):
            example = found[int(key.split("/")[0])]
            assert_agrees(key, values, expected[key], f"{example.kernel} on\n{example.graph}")


@pytest.mark.parametrize("name", BOARDS)
def test_every_kernel_of_the_instruction_set_is_swept(name: str) -> None:
    feature = BOARDS[name]
    swept = {example.kernel for example in examples(feature, frozenset(load_board(name).features))}
    assert {kernel.name for kernel in all_kernels() if feature in kernel.requires} - swept == set()
