"""Writes ``tinyopt/plan/calibration.json``: how many cycles each core needs for one cycle of a kernel's formula.

Every kernel that accepts a layer is measured on it (``tinyopt.tune``): on the layers of the synthetic benchmark, some
of floats and, with ``TINYOPT_DATA``, on those of the official models. Printed: how far the predictions are off, with
and without.

    python -m benchmarks.calibrate [BOARD …]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.layers import LAYERS, float_graph, graph_of
from tinyopt.board import Board, load_board
from tinyopt.errors import UnsupportedOperatorsError
from tinyopt.graph import Graph
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.plan.costs import CALIBRATION
from tinyopt.tune import load_table, tune
from tinyopt.tune.table import Entry

BOARDS = ("mps2_m0", "mps2_an385", "mps2_an386", "mps2_an500", "mps2_an505", "mps3_an547", "rv32_virt")
MODELS = ("kws_ref_model", "pretrainedResnet_quant", "ad01_int8", "vww_96_int8")
LAYERS_PER_FIRMWARE = 24


def _graphs() -> Iterator[tuple[str, Graph]]:
    for start in range(0, len(LAYERS), LAYERS_PER_FIRMWARE):
        yield f"layers {start}", graph_of(LAYERS[start : start + LAYERS_PER_FIRMWARE])
    yield "float layers", float_graph()
    folder = Path(os.environ.get("TINYOPT_DATA", "")) / "mlperf-tiny"
    for name in MODELS:
        if (folder / f"{name}.tflite").is_file():
            yield name, optimise(load(folder / f"{name}.tflite"))


def measure(board: Board) -> tuple[Entry, ...]:
    """Every kernel on every layer."""
    with tempfile.TemporaryDirectory(prefix="tinyopt-calibrate-") as folder:
        path = Path(folder) / "table.json"
        for name, graph in _graphs():
            try:
                result = tune(graph, board, path, resume=True)
            except UnsupportedOperatorsError:
                continue
            print(f"{board.name}: {name}: {result.measured} kernels in {result.builds} builds", flush=True)
        table = load_table(path)
    assert {context.unit for context in table.contexts} == {"cycles"}, f"{board.name} counts no cycles"
    return table.entries


def fit(entries: Sequence[Entry]) -> dict[str, list[float]]:
    """Kernel → [cycles per formula cycle, bytes of code]; the empty name, for kernels without one: the median."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.kernel].append(entry)
    result = {}
    for kernel, items in sorted(groups.items()):
        predicted = sum(item.predicted for item in items)
        if predicted:
            code = statistics.median_high(item.code_bytes for item in items)
            result[kernel] = [round(sum(item.count for item in items) / predicted, 3), code]
    return {"": [round(statistics.median(scale for scale, _ in result.values()), 3), 0], **result}


def verdict(entries: Sequence[Entry], scales: dict[str, list[float]]) -> str:
    """Error of the prediction of the kernel that is chosen, and what wrong choices cost, over the distinct layers."""
    rows = defaultdict(list)
    for entry in entries:
        rows[entry.operator].append((entry.predicted * scales.get(entry.kernel, [1.0])[0], entry.count))
    chosen = [min(options) for options in rows.values()]
    best = sum(min(count for _, count in options) for options in rows.values())
    errors = [abs(predicted / count - 1) for predicted, count in chosen]
    return (
        f"median error {statistics.median(errors):.0%}, largest {max(errors):.0%}, "
        f"wrong choices cost {sum(count for _, count in chosen) / best - 1:.2%}"
    )


def main(names: Sequence[str]) -> None:
    document = json.loads(CALIBRATION.read_text()) if CALIBRATION.is_file() else {}
    for name in names or BOARDS:
        board = load_board(name)
        entries = measure(board)
        known = {**document.get(board.core, {}), **fit(entries)}  # what no layer here uses stays
        document[board.core] = {kernel: known[kernel] for kernel in sorted(known)}
        print(f"{board.core}: formulas: {verdict(entries, {})}; scaled: {verdict(entries, document[board.core])}")
        CALIBRATION.write_text(_text(document))


def _text(document: dict[str, dict[str, list[float]]]) -> str:
    """JSON with one line for each kernel."""
    cores = []
    for core, kernels in sorted(document.items()):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in kernels.items())
        cores.append(f" {json.dumps(core)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(cores) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
