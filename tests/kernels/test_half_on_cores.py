"""Weights in half precision on emulated cores, with hardware that widens them and without: every number of half
precision becomes the float32 of the same value, and layers agree with the executor."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hil import measure
from kernels.cases.half import CASES as HALF_CASES
from kernels.test_sweep import graphs
from kernels.test_sweep_on_cores import Example, run_together
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.generate import generate
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates

BOARDS = {
    "mps2_an386": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "mps2_an500": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "mps2_an505": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "mps3_an547": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "mps2_m0": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "rv32_virt": ("qemu-system-riscv32", "riscv64-unknown-elf-gcc"),
}
PER_CASE = 4


@pytest.fixture(params=BOARDS)
def core(request: pytest.FixtureRequest) -> Board:
    for tool in BOARDS[request.param]:
        if shutil.which(tool) is None:
            pytest.skip(f"{request.param} needs {tool}, which is not installed")
    return load_board(request.param)


def halves() -> np.ndarray:
    """All subnormal numbers, and of every exponent the first, the last and some others; both signs."""
    fractions = np.array([0, 1, 2, 3, 511, 512, 513, 682, 1021, 1022, 1023])
    normal = ((np.arange(1, 31) << 10)[:, None] + fractions).reshape(-1)
    positive = np.concatenate([np.arange(1 << 10), normal]).astype(np.uint16)
    return np.concatenate([positive, positive | 0x8000]).view(np.float16)


def column(weights: np.ndarray) -> Graph:
    """A fully connected layer of one input whose outputs are the weights times that."""
    builder = GraphBuilder("column")
    x = builder.input("x", (1, 1), DType.FLOAT32)
    w = builder.constant("weights", weights.astype(np.float32).reshape(-1, 1))
    builder.output(builder.add(ops.FullyConnected(), [x, w], name="layer"))
    return builder.build()


def test_every_number_is_widened_exactly(core: Board, tmp_path: Path) -> None:
    weights = halves()
    graph = column(weights)
    plan = make_plan(graph, core, pins={"layer": "half_fully_connected_f32_ref"})
    firmware = build(generate(plan, tmp_path / "project", harness=True))
    output = graph.tensors[graph.outputs[0]]
    measured = measure(
        firmware, core, [{"x": np.ones((1, 1), np.float32)}], outputs=[(output.dtype.numpy, output.shape)],
        layers=False, cycles=False,
    )  # fmt: skip
    np.testing.assert_array_equal(measured.outputs[0][0].reshape(-1), weights.astype(np.float32))


def test_layers_agree_with_the_executor(core: Board, tmp_path: Path) -> None:
    found = []
    for case in sorted(HALF_CASES):
        for graph in graphs(case)[:PER_CASE]:
            names = [kernel.name for kernel in candidates(graph, graph.operators[0], frozenset(core.features))]
            found += [Example(graph, graph.operators[0], name) for name in names if name.startswith("half_")]
    assert {example.kernel.split("_f32")[0] for example in found} == {
        "half_conv2d", "half_depthwise_conv2d", "half_fully_connected",
    }  # fmt: skip
    run_together(found, core, tmp_path / "project")
