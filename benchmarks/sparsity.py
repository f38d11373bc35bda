"""Where sparse weights start to pay: flash and cycles of every pattern against the dense kernels, on emulated boards.

    python -m benchmarks.sparsity [BOARD …]

Writes docs/sparsity.md when no board is named; else prints the rows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil import measure
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.data import load_samples
from tinyopt.generate import generate
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.pipeline import reference_outputs
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.choosing import constants_of
from tinyopt.plan.costs import core_costs
from tinyopt.report import compare

BOARDS = ("mps2_an386", "mps3_an547", "mps2_m0")
TARGET = Path(__file__).resolve().parent.parent / "docs" / "sparsity.md"
PADDED = ops.Padding(1, 1, 1, 1)
SPARSE = ("sparse_fully_connected_s8", "sparse_conv2d_s8")


@dataclass(frozen=True)
class Shape:
    """A layer: its input, and the shape of its weights."""

    name: str
    input: tuple[int, ...]
    weights: tuple[int, ...]
    attributes: ops.Attributes


SHAPES = (
    Shape("dense 256→256", (1, 256), (256, 256), ops.FullyConnected()),
    Shape("1x1 64→64, 25x5", (1, 25, 5, 64), (64, 1, 1, 64), ops.Conv2d()),
    Shape("3x3 32→32, 16x16", (1, 16, 16, 32), (32, 3, 3, 32), ops.Conv2d(padding=PADDED)),
)
PATTERNS = (
    ("dense", 0.0),
    ("2of4", 0.5),
    ("1of4", 0.75),
    *((pattern, zeros) for pattern in ("1x4", "4x1", "gaps8", "gaps4") for zeros in (0.5, 0.75, 0.9)),
)
"""Pattern and share of zeros; the kernels of a pattern have its name in theirs. gaps8 and gaps4: single weights."""


@dataclass(frozen=True)
class Row:
    """One kernel on one layer on one board. ``flash``: bytes of the layer's constants, without code."""

    shape: str
    pattern: str
    zeros: float
    board: str
    kernel: str
    cycles: int
    predicted: float
    flash: int


def sparse_weights(random: np.random.Generator, pattern: str, zeros: float, outputs: int, taps: int) -> Array:
    """int8 [outputs, taps] with the pattern and, to a block, the share of zeros."""
    values = random.integers(1, 128, (outputs, taps)) * random.choice([-1, 1], (outputs, taps))
    if pattern in ("1of4", "2of4"):
        ranks = random.random((outputs, taps // 4, 4)).argsort(axis=2)
        return (values * (ranks < int(pattern[0])).reshape(outputs, taps)).astype(np.int8)
    rows, columns = {"1x4": (outputs, taps // 4), "4x1": (outputs // 4, taps)}.get(pattern, (outputs, taps))
    kept = random.permutation(rows * columns).reshape(rows, columns) >= round(zeros * rows * columns)
    mask = np.repeat(np.repeat(kept, outputs // rows, axis=0), taps // columns, axis=1)
    return (values * mask).astype(np.int8)


def graph_of(shape: Shape, pattern: str, zeros: float, seed: int = 0) -> Graph:
    """The layer with random data, its weights per channel."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder("sparsity")
    outputs = shape.weights[0]
    taps = int(np.prod(shape.weights[1:]))
    _add(builder, shape, "layer", sparse_weights(random, pattern, zeros, outputs, taps), random)
    return builder.build()


def _add(builder: GraphBuilder, shape: Shape, name: str, weights: Array, random: np.random.Generator) -> None:
    outputs = shape.weights[0]
    x = builder.input(f"{name}.x", shape.input, DType.INT8, Quantization.per_tensor(0.05, -3))
    scales = 0.01 * 2.0 ** random.uniform(-1, 1, outputs)
    names = [
        x,
        builder.constant(f"{name}.weights", weights.reshape(shape.weights), Quantization.per_channel(scales, 0)),
        builder.constant(f"{name}.bias", random.integers(-3000, 3000, outputs).astype(np.int32)),
    ]
    depth = max(1.0, np.count_nonzero(weights) / outputs)
    output = Quantization.per_tensor(float(np.float32(0.05 * 0.01 * 50 * np.sqrt(depth))), 5)
    builder.output(builder.add(shape.attributes, names, name=name, quantization=output))


def measure_board(board: Board, shapes: Sequence[Shape] = SHAPES) -> list[Row]:
    """Every kernel of a pattern on the pattern's weights, and the fastest dense kernel on dense ones. Every output is
    compared with the reference executor."""
    return [row for shape in shapes for row in _measure(board, shape)]


def _measure(board: Board, shape: Shape) -> list[Row]:
    costs, random = core_costs(board), np.random.default_rng(0)
    builder = GraphBuilder("sparsity")
    wanted: dict[str, tuple[str, float, str]] = {}
    for pattern, zeros in PATTERNS:
        weights = sparse_weights(random, pattern, zeros, shape.weights[0], int(np.prod(shape.weights[1:])))
        single = GraphBuilder("one")
        _add(single, shape, "layer", weights, np.random.default_rng(1))
        one = single.build()
        fit = candidates(one, one.operators[0], board.features)
        if pattern == "dense":
            fit = (
                min(
                    (kernel for kernel in fit if kernel.family not in SPARSE),
                    key=lambda kernel: costs.cycles(one, one.operators[0], kernel),
                ),
            )
        else:
            fit = tuple(kernel for kernel in fit if kernel.family in SPARSE and f"_{pattern}" in kernel.name)
            native = [kernel for kernel in fit if kernel.requires]
            fit = tuple(native) or fit
        for kernel in fit:
            name = f"{pattern}.{round(100 * zeros)}.{kernel.name}"
            wanted[name] = pattern, zeros, kernel.name
            _add(builder, shape, name, weights, np.random.default_rng(1))
    graph = builder.build()
    plan = make_plan(graph, board, pins={name: kernel for name, (_, _, kernel) in wanted.items()})
    samples = load_samples("random:0:1", graph)
    with tempfile.TemporaryDirectory(prefix="tinyopt-sparsity-") as folder:
        firmware = build(generate(plan, Path(folder) / "project", harness=True))
        types = [(t.dtype.numpy, t.shape) for t in (graph.tensors[name] for name in graph.outputs)]
        measurement = measure(firmware, board, list(samples), outputs=types)
    result = compare(graph, measurement.outputs, reference_outputs(graph, samples))
    assert result.mismatches == 0, f"{board.name}: {result.first_mismatch}"
    rows = []
    for call, seen in zip(plan.calls, measurement.layers):
        pattern, zeros, kernel_name = wanted[call.operator.name]
        assert seen.cycles is not None, f"{board.name} has no cycle model"
        flash = sum(constant.nbytes for constant in constants_of(call.parameters))
        rows.append(Row(shape.name, pattern, zeros, board.name, kernel_name, seen.cycles, call.predicted_cycles, flash))
    return rows


def _print(rows: Iterable[Row]) -> None:
    for row in rows:
        print(
            f"{row.board:12s} {row.shape:18s} {row.pattern:6s} {row.zeros:4.0%} {row.kernel:40s} {row.cycles:>10,} "
            f"{row.predicted:>12,.0f} {row.flash:>8,}",
            flush=True,
        )


def main(names: Sequence[str]) -> int:
    rows = []
    for name in names or BOARDS:
        found = measure_board(load_board(name))
        _print(found)
        rows += found
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
