"""The kernels of CMSIS-NN on emulated cores, for each of its implementations: plain C, the DSP extension, Helium.

All examples of a board are the operators of one graph. Every output agrees with the executor on every bit; an operator
that a function computes otherwise must not be accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmsis_nn.places import library, need_tools
from cmsis_nn.shapes import own_graphs
from hil import measure
from kernels.test_sweep import assert_agrees, graphs, random_value
from kernels.test_sweep_on_cores import Example, joined
from tinyopt.board import load_board
from tinyopt.build import build
from tinyopt.execute import Executor
from tinyopt.generate import generate
from tinyopt.plan import make_plan
from tinyopt.plan.cmsis_nn import Backend, cmsis_nn_backend

BOARDS = ("mps2_m0", "mps2_an386", "mps3_an547")
COMMON = (
    "conv2d_s8",
    "depthwise_conv2d_s8",
    "fully_connected_s8",
    "average_pool2d_s8",
    "max_pool2d_s8",
    "softmax_s8",
    "add_s8",
    "mul_s8",
    "blocks_depthwise_3x3",
    "blocks_pointwise",
)
"""Cases of the common sweep that hold operators of CMSIS-NN."""
PER_KERNEL = 24
OWN = 30
"""Examples of each sort in ``shapes``."""
SAMPLES = 3


def examples(backend: Backend) -> Iterator[Example]:
    """At most ``PER_KERNEL`` operators for each kernel from the common sweep, and those of ``shapes``."""
    left = {kernel.name: PER_KERNEL for kernel in backend.kernels}
    for case in COMMON:
        for graph in graphs(case):
            if len(graph.operators) != 1 or graph.states:
                continue
            for kernel in backend.accepting(graph, graph.operators[0]):
                if left[kernel.name]:
                    left[kernel.name] -= 1
                    yield Example(graph, graph.operators[0], kernel.name)
    for graph in own_graphs(OWN):
        for kernel in backend.accepting(graph, graph.operators[0]):
            yield Example(graph, graph.operators[0], kernel.name)


@pytest.mark.parametrize("name", BOARDS)
def test_every_function_agrees_with_the_executor(name: str, tmp_path: Path) -> None:
    found_library = library()
    need_tools("qemu-system-arm", "arm-none-eabi-gcc", "gcc")
    board = load_board(name)
    backend = cmsis_nn_backend(found_library, board, only=True)
    found = list(examples(backend))
    assert {example.kernel for example in found} == {kernel.name for kernel in backend.kernels}
    graph = joined(found)
    pins = {f"{index}/{example.operator.name}": example.kernel for index, example in enumerate(found)}
    firmware = build(generate(make_plan(graph, board, pins=pins, backend=backend), tmp_path / "project", harness=True))
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
