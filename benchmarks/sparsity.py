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
from tinyopt.plan.costs import core_costs
from tinyopt.plan.option import constants_of
from tinyopt.report import compare

BOARDS = ("mps2_an386", "mps3_an547", "mps2_m0")
TARGET = Path(__file__).resolve().parent.parent / "docs" / "sparsity.md"
PADDED = ops.Padding(1, 1, 1, 1)
SPARSE = ("sparse_fully_connected_s8", "sparse_conv2d_s8")
_RANK = {"": 0, "dsp": 1, "mve": 2}
"""Of the kernels of a pattern those of the best instruction set are measured."""
CODED = ("coded_fully_connected_s8", "coded_conv2d_s8")


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
    ("coded", 0.0),
    ("coded", 0.75),
)
"""Pattern and share of zeros; the kernels of a pattern have its name in theirs. gaps8, gaps4: single weights; coded:
single weights whose values are Laplace-distributed."""


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
    if pattern == "coded":
        values = np.clip(np.round(random.laplace(0, 15, (outputs, taps))), -127, 127).astype(np.int64)
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
        elif pattern == "coded":
            coded = (kernel for kernel in fit if kernel.family in CODED)
            fit = (min(coded, key=lambda kernel: costs.cycles(one, one.operators[0], kernel)),)
        else:
            names = {f"s8_{pattern}", f"s8_{pattern}_dsp", *(["s8_4x16_mve"] if pattern == "4x1" else [])}
            fit = tuple(k for k in fit if k.family in SPARSE and k.name.removeprefix(k.family[:-2]) in names)
            best = max(_RANK[next(iter(k.requires), "")] for k in fit)
            fit = tuple(k for k in fit if _RANK[next(iter(k.requires), "")] == best)
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


TITLES = {
    "dense": "dense",
    "2of4": "2 of 4",
    "1of4": "1 of 4",
    "1x4": "blocks 1x4",
    "4x1": "blocks 4x1",
    "gaps8": "single, 8-bit gaps",
    "gaps4": "single, 4-bit gaps",
    "coded": "entropy-coded",
}

HEADER = """# Sparse weights: flash and cycles against dense

Made by `make bench` (`python -m benchmarks.sparsity`); [sparse-kernels.md](sparse-kernels.md) explains the formats.
Cycles are estimates of the [cycle model](cycles.md) on emulated boards, none is from silicon; every output equals the
reference executor's, byte for byte. Random weights; flash is that of weights, bias and scales on the first board.

## Where it starts to pay

Share of zeros from which the fastest sparse kernel of a pattern is faster than the fastest dense kernel, by a straight
line through the measured shares; – where it is not even at 90 %. For 2 of 4 (50 % zeros) and 1 of 4 (75 %): cycles
against dense.
"""


def _dense_of(rows: Sequence[Row], row: Row) -> Row:
    return next(r for r in rows if (r.pattern, r.shape, r.board) == ("dense", row.shape, row.board))


def _pays_from(rows: Sequence[Row], shape: str, pattern: str, board: str) -> str:
    """The share of zeros at which the line through the measurements meets the dense kernel."""
    mine = [r for r in rows if (r.shape, r.pattern, r.board) == (shape, pattern, board)]
    dense = _dense_of(rows, mine[0]).cycles
    if len(mine) == 1:
        return f"{mine[0].cycles / dense:.2f}"
    slope, at_zero = np.polyfit([r.zeros for r in mine], [r.cycles for r in mine], 1)
    share = (dense - at_zero) / slope
    return "–" if share > 0.9 else f"{max(share, 0.0):.0%}"


def _summary(rows: Sequence[Row]) -> list[str]:
    boards = list(dict.fromkeys(row.board for row in rows))
    shapes = list(dict.fromkeys(row.shape for row in rows))
    columns = [(shape, board) for shape in shapes for board in boards]
    lines = ["| pattern | " + " | ".join(f"{shape}, {board}" for shape, board in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for pattern in dict.fromkeys(row.pattern for row in rows if row.pattern not in ("dense", "coded")):
        cells = [_pays_from(rows, shape, pattern, board) for shape, board in columns]
        lines.append(f"| {TITLES[pattern]} | " + " | ".join(cells) + " |")
    return lines


def _table(rows: Sequence[Row], shape: str) -> list[str]:
    boards = list(dict.fromkeys(row.board for row in rows))
    lines = [f"\n## {shape[:1].upper()}{shape[1:]}\n"]
    lines.append(
        "| weights | zeros | flash | against dense | " + " | ".join(f"{b} | against dense" for b in boards) + " |"
    )
    lines.append("| --- |" + " ---: |" * (3 + 2 * len(boards)))
    mine = [row for row in rows if row.shape == shape]
    for pattern, zeros in dict.fromkeys((row.pattern, row.zeros) for row in mine):
        same = [row for row in mine if (row.pattern, row.zeros) == (pattern, zeros)]
        cells = [f"{same[0].flash:,}", f"{same[0].flash / _dense_of(rows, same[0]).flash:.2f}"]
        for row in same:
            cells += [f"{row.cycles:,}", f"{row.cycles / _dense_of(rows, row).cycles:.2f}"]
        lines.append(f"| {TITLES[pattern]} | {zeros:.0%} | " + " | ".join(cells) + " |")
    return lines


def document(rows: Sequence[Row]) -> str:
    """The page of docs/sparsity.md."""
    lines = [HEADER, *_summary(rows)]
    for shape in dict.fromkeys(row.shape for row in rows):
        lines += _table(rows, shape)
    return "\n".join(lines) + "\n"


def write() -> None:
    """Measure everything and write docs/sparsity.md."""
    rows = [row for name in BOARDS for row in measure_board(load_board(name))]
    TARGET.write_text(document(rows), encoding="utf-8")
    print(f"written: docs/{TARGET.name}")


def _print(rows: Iterable[Row]) -> None:
    for row in rows:
        print(
            f"{row.board:12s} {row.shape:18s} {row.pattern:6s} {row.zeros:4.0%} {row.kernel:40s} {row.cycles:>10,} "
            f"{row.predicted:>12,.0f} {row.flash:>8,}",
            flush=True,
        )


def main(names: Sequence[str]) -> int:
    for name in names:
        _print(measure_board(load_board(name)))
    if not names:
        write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
