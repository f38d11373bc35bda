"""A production wake-word model, streaming and stateful, runs on the micro:bit's real 16 KB and equals the executor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tinyopt.board import load_board
from tinyopt.data import load_samples
from tinyopt.importers import load
from tinyopt.pipeline import run_on_board


@pytest.mark.parametrize("board", ["microbit", "rv32_virt"])
def test_a_streaming_wake_word_model(board: str) -> None:
    package = pytest.importorskip("pymicro_wakeword")
    where = load_board(board)
    assert where.emulator is not None
    for program in (f"{where.toolchain.prefix}gcc", where.emulator.program):
        if shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")
    model = next(Path(package.__file__).parent.rglob("alexa.tflite"))
    graph = load(model)
    assert graph.states
    report = run_on_board(graph, where, load_samples("random:0:12", graph)).report
    assert report.mismatches == 0
    assert report.ram_total_bytes + (report.stack_bytes or 0) < where.ram.size
    assert report.instructions is not None and report.instructions > 50_000
