"""What weights of few values cost: cycles and bytes of every kernel for packed weights, beside the dense ones.

python -m benchmarks.packed [BOARD …]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.layers import Layer, convolution, dense, depthwise
from hil import measure
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.data import load_samples
from tinyopt.generate import generate
from tinyopt.graph import Graph, GraphBuilder, operator_macs
from tinyopt.pipeline import reference_outputs
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.kernel import Call
from tinyopt.plan.lowering import constants_of
from tinyopt.report import compare

BOARDS = ("mps2_an386", "mps3_an547", "mps2_m0")
LAYERS = (
    dense("dense 256→256", 256, 256),
    convolution("3x3 32→32, 16x16", (16, 16), 32, 32, (3, 3)),
    convolution("1x1 64→64, 16x16", (16, 16), 64, 64, (1, 1)),
    depthwise("depthwise 3x3 64, 16x16", (16, 16), 64, (3, 3)),
)
FORMATS = {
    "int8": np.arange(-127, 128),
    "int4": np.arange(-8, 8),
    "ternary": np.array([-1, 0, 1]),
    "binary": np.array([-1, 1]),
    "int4 in groups of 32": np.arange(-8, 8),
    "codebook of 16": np.array([-127, -90, -63, -44, -30, -19, -11, -5, 0, 4, 12, 20, 31, 45, 66, 101]),
}


@dataclass(frozen=True)
class Cost:
    """One kernel on one layer. ``weights``: bytes of all its constants that count as weights."""

    layer: str
    form: str
    kernel: str
    macs: int
    cycles: int
    predicted: float
    weights: int
    scratch: int


def graph_of(layers: Sequence[Layer], form: str) -> Graph:
    """The layers with weights of a format, each with inputs and outputs of its own."""
    builder = GraphBuilder("layers")
    for layer in layers:
        layer.add_to(builder, np.random.default_rng(0))
    graph = builder.build()
    random = np.random.default_rng(1)
    tensors = dict(graph.tensors)
    for operator in graph.operators:
        weights = tensors[operator.inputs[1]]
        data = random.choice(FORMATS[form], weights.shape)
        if "groups" in form and data.size % 32 == 0:
            data = (data.reshape(-1, 32) * random.integers(1, 16, (data.size // 32, 1))).reshape(data.shape)
        tensors[weights.name] = replace(weights, data=data.astype(np.int8))
    return replace(graph, tensors=tensors)


def costs(board: Board, form: str, wanted: str = "") -> Iterator[Cost]:
    """Every kernel whose name has ``wanted`` in it, on every layer; outputs are compared with the reference."""
    graph = graph_of(LAYERS, form)
    first = make_plan(graph, board)
    kernels = [
        [k.name for k in candidates(first.graph, call.operator, board.features) if wanted in k.name]
        for call in first.calls
    ]
    samples = load_samples("random:0:1", graph)
    expected = reference_outputs(graph, samples)
    types = [(t.dtype.numpy, t.shape) for t in (graph.tensors[name] for name in graph.outputs)]
    for turn in range(max(map(len, kernels))):
        pins = {call.operator.name: names[turn % len(names)] for call, names in zip(first.calls, kernels) if names}
        plan = make_plan(first.graph, board, pins=pins)
        with tempfile.TemporaryDirectory(prefix="tinyopt-bench-") as folder:
            firmware = build(generate(plan, Path(folder) / "project", harness=True))
            measurement = measure(firmware, board, list(samples), outputs=types)
        assert compare(graph, measurement.outputs, expected).mismatches == 0, pins
        for call, names, seen in zip(plan.calls, kernels, measurement.layers):
            if turn < len(names):
                macs = operator_macs(plan.graph, call.operator)
                assert seen.cycles is not None
                yield Cost(
                    call.operator.name, form, call.kernel.name, macs, seen.cycles, call.predicted_cycles,
                    _weights(call), call.scratch,
                )  # fmt: skip


def _weights(call: Call) -> int:
    return sum(constant.nbytes for constant in constants_of(call.parameters) if constant.weights)


def main(names: Sequence[str]) -> None:
    for name in names or BOARDS:
        board = load_board(name)
        for form in FORMATS:
            for cost in sorted(costs(board, form), key=lambda cost: (cost.layer, cost.cycles)):
                print(
                    f"{name} {cost.layer:24} {cost.form:15} {cost.kernel:50} {cost.cycles / cost.macs:6.2f} "
                    f"(predicted {cost.predicted / cost.macs:6.2f}) {cost.weights:6} {cost.scratch:6}",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
