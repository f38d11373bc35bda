"""``make bench``: measures everything and writes docs/benchmarks.md."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import bars, sparsity, synthetic
from benchmarks.official import MODELS, Row, measure_all, measure_objectives

CHECKOUT = Path(__file__).resolve().parent.parent
TARGET = CHECKOUT / "docs" / "benchmarks.md"

# TensorFlow Lite Micro with CMSIS-NN (2026, gcc 12.2), measured on the same emulated boards: instructions, arena, code.
PEERS = {
    ("kws", "mps2_an386"): (7_700_000, 22_820, 53_716),
    ("vww", "mps2_an386"): (24_100_000, 100_708, 53_716),
    ("ic", "mps2_an386"): (29_870_000, 54_996, 51_488),
    ("ad", "mps2_an386"): (582_000, 3_024, 28_508),
    ("kws", "mps3_an547"): (1_790_000, 22_820, None),
    ("vww", "mps3_an547"): (6_430_000, 100_708, None),
    ("ic", "mps3_an547"): (4_810_000, 54_996, None),
    ("ad", "mps3_an547"): (150_000, 3_024, None),
}

HEADER = """# Benchmarks

Made by `make bench`. Every figure is from an emulated board (QEMU), none from silicon. Instructions are exact and the
same on every run; cycles are estimates of the cycle model (see [cycles.md](cycles.md) for its error). Sizes are of the
linked firmware: code is text and constant tables of the model and its kernels, without weights and without the
measuring harness. The outputs of every run are equal, byte for byte, to the reference executor, which equals the
`tflite-micro` interpreter.

Compiler: {compiler}, -O2.
Models: the official int8 models of MLPerf Tiny, unmodified. Compile time: import, optimise, plan
and generate on one core, after Python's start, median of three.
"""


def cell(value: float | int | None) -> str:
    return "–" if value is None else f"{value:,}"


def table(rows: list[Row], board: str) -> list[str]:
    lines = [f"\n## {board}\n"]
    columns = "instructions | cycles (estimated) | arena | arena bound | code | weights | stack | MACs | compile, s"
    lines.append(f"| model | {columns} |")
    lines.append("| --- |" + " ---: |" * 9)
    for row in (r for r in rows if r.board == board):
        report = row.report
        cells: list[float | int | None] = [
            report.instructions, report.cycles, report.arena_bytes, report.arena_lower_bound, report.code_bytes,
            report.weights_bytes, report.stack_bytes, report.macs, round(row.compile_seconds or 0, 2),
        ]  # fmt: skip
        lines.append(f"| {row.model} | " + " | ".join(cell(c) for c in cells) + " |")
    return lines


def objectives(rows: list[Row]) -> list[str]:
    """The models on one board, planned for each objective."""
    boards = {row.board for row in rows if row.objective != "latency"}
    lines = ["\n## Objectives (`--objective`), on " + ", ".join(sorted(boards)) + "\n"]
    lines.append("| model | objective | cycles (estimated) | arena | code | weights | code and weights |")
    lines.append("| --- | --- |" + " ---: |" * 5)
    for row in sorted((r for r in rows if r.board in boards), key=lambda r: list(MODELS).index(r.model)):
        report = row.report
        flash = report.code_bytes + report.weights_bytes
        cells = [report.cycles, report.arena_bytes, report.code_bytes, report.weights_bytes, flash]
        lines.append(f"| {row.model} | {row.objective} | " + " | ".join(cell(c) for c in cells) + " |")
    return lines


def against_peers(rows: list[Row]) -> list[str]:
    lines = ["\n## Against TensorFlow Lite Micro with CMSIS-NN, same emulated boards\n"]
    lines.append("| model | board | instructions, ratio | arena, ratio | code, ratio |")
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for row in rows:
        peer = PEERS.get((row.model, row.board))
        if peer is None:
            continue
        ours = (row.report.instructions, row.report.arena_bytes, row.report.code_bytes)
        ratios = ["–" if a is None or b is None else f"{a / b:.2f}" for a, b in zip(ours, peer)]
        lines.append(f"| {row.model} | {row.board} | " + " | ".join(ratios) + " |")
    return lines


def main() -> int:
    data = Path(os.environ.get("TINYOPT_DATA", CHECKOUT.parent / "shared" / "data"))
    if not data.is_dir():
        print(f"no benchmark data: {data} is absent (set TINYOPT_DATA)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_all(data, Path(folder))
    others = measure_objectives(data)
    layers = synthetic.measure_all()
    lines = [HEADER.format(compiler="; ".join(sorted({row.report.compiler for row in rows})))]
    lines += bars.table(bars.bars([*rows, *others], PEERS))
    for board in dict.fromkeys(row.board for row in rows):
        lines += table(rows, board)
    lines += objectives([*rows, *others])
    lines += against_peers(rows)
    lines += synthetic.tables(layers)
    TARGET.write_text("\n".join(lines) + "\n")
    print(f"written: {TARGET.relative_to(CHECKOUT)}")
    sparsity.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
