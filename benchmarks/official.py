"""The four official MLPerf Tiny int8 models on every emulated board: counts, sizes, times."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyopt.board import load_board
from tinyopt.data import load_samples
from tinyopt.generate import generate
from tinyopt.importers import load
from tinyopt.pipeline import plan_for, run_on_board
from tinyopt.report import RunReport

MODELS = {
    "kws": "kws_ref_model.tflite",
    "vww": "vww_96_int8.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "ad": "ad01_int8.tflite",
}
BOARDS = ("mps2_an386", "mps2_an385", "mps2_an500", "mps2_an505", "mps3_an547", "mps2_m0", "rv32_virt")


@dataclass(frozen=True)
class Row:
    """One model on one board. ``compile_seconds``: import to written project, after Python's start."""

    model: str
    board: str
    report: RunReport
    compile_seconds: float | None = None
    objective: str = "latency"


def compile_seconds(path: Path, board: str, folder: Path) -> float:
    """Median of three compilations: import, optimise, plan, generate."""
    times = []
    for attempt in range(3):
        start = time.perf_counter()
        generate(plan_for(load(path), load_board(board)), folder / f"{path.stem}-{board}-{attempt}")
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure_all(data: Path, folder: Path) -> list[Row]:
    """Run every model on every board (2 random samples each; the counts do not depend on the data)."""
    rows = []
    for board_name in BOARDS:
        for model, file in MODELS.items():
            path = data / "mlperf-tiny" / file
            graph, board = load(path), load_board(board_name)
            result = run_on_board(graph, board, load_samples("random:0:2", graph), model_name=model)
            assert result.report.mismatches == 0, (model, board_name)
            rows.append(Row(model, board_name, result.report, compile_seconds(path, board_name, folder)))
            print(f"{board_name} {model}: {result.report.instructions} instructions", flush=True)
    return rows


def measure_objectives(data: Path, board_name: str = "mps2_an386") -> list[Row]:
    """What the other objectives make of the models on one board."""
    rows = []
    for objective in ("ram", "flash"):
        for model, file in MODELS.items():
            graph, board = load(data / "mlperf-tiny" / file), load_board(board_name)
            samples = load_samples("random:0:2", graph)
            report = run_on_board(graph, board, samples, objective=objective, model_name=model).report
            assert report.mismatches == 0, (model, board_name, objective)
            rows.append(Row(model, board_name, report, objective=objective))
            print(f"{board_name} {model}, objective {objective}: {report.arena_bytes} bytes of arena", flush=True)
    return rows
