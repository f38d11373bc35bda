"""``tinyopt tune``, and how ``compile`` and ``run`` come to the table that it makes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tinyopt.board import Board, load_board
from tinyopt.cli.console import console, errors, print_json, progress, show_notes
from tinyopt.errors import DataError, DeviceError, ToolError
from tinyopt.names import short_name

if TYPE_CHECKING:
    from tinyopt.tune import TuningResult
    from tinyopt.tune.tuner import Measure

FLASH_SECONDS = 300.0


def tune_model(
    model: Path,
    board_name: str,
    *,
    output: Path | None,
    calibration: str | None,
    objective: str,
    kernels: str,
    cmsis_nn: Path | None,
    resume: bool,
    seed: int,
    port: str | None,
    flash: str | None,
    optimise: bool,
    input_layout: str,
    json_output: bool,
) -> None:
    from tinyopt.cli.commands import _quantized, load_model
    from tinyopt.cli.kernels import planning_backend
    from tinyopt.optimise import optimise as optimise_graph
    from tinyopt.tune import default_table_path, tune

    if seed < 0:
        raise DataError(f"--seed is {seed}; it must be 0 or more")
    board = load_board(board_name)
    measure = measure_hardware(board, port, flash)
    backend = planning_backend(kernels, cmsis_nn, board)
    graph = _quantized(load_model(model, input_layout=input_layout), calibration)
    path = output or default_table_path(board_name, board)
    with progress(f"measuring kernels on {board.title}") as step:
        try:
            result = tune(
                optimise_graph(graph) if optimise else graph,
                board,
                path,
                objective=objective,
                backend=backend,
                resume=resume,
                seed=seed,
                measure=measure,
                on_progress=step,
            )
        except KeyboardInterrupt:
            errors().print(f"interrupted; what was measured is in {path}: go on with --resume")
            raise
    show_notes("\n".join(result.notes))
    if json_output:
        print_json(_facts(result))
        return
    _show(result)


def measure_hardware(board: Board, port: str | None, flash: str | None) -> Measure | None:
    """How to run a firmware on a board that is plugged in; None for the emulator."""
    if port is None:
        if flash is not None:
            raise DeviceError("--flash is for a board that is plugged in; say which serial port it is on: --port")
        if not board.is_emulated:
            raise DeviceError(
                f"board '{board.name}' is hardware: say which serial port it is on (--port) and how a firmware gets "
                "onto it (--flash 'COMMAND {elf}')"
            )
        return None
    if flash is None or "{elf}" not in flash:
        raise DeviceError("every round needs its own firmware on the board; say how: --flash 'COMMAND {elf}'")
    from hil import measure

    def run(firmware: Any, samples: Any) -> Any:
        command = [part.replace("{elf}", str(firmware.elf)) for part in shlex.split(flash)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FLASH_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolError(f"cannot run the flash command '{command[0]}': {error}") from None
        if done.returncode:
            raise ToolError(f"the flash command failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return measure(firmware, board, list(samples), port=port)

    return run


def _facts(result: TuningResult) -> dict[str, Any]:
    return {
        "table": str(result.table),
        "unit": result.unit,
        "measured": result.measured,
        "reused": result.reused,
        "builds": result.builds,
        "before": result.before,
        "after": result.after,
        "operators": [
            {
                "name": row.name,
                "kernel_before": row.kernel_before,
                "kernel_after": row.kernel_after,
                "before": row.before,
                "after": row.after,
            }
            for row in result.operators
        ],
        "notes": list(result.notes),
    }


def _show(result: TuningResult) -> None:
    changed = [row for row in result.operators if row.kernel_before != row.kernel_after]
    if changed:
        table = Table(title="kernels that measurement changed", title_justify="left")
        for column in ("layer", "by formula", "measured best", f"{result.unit} before", "after"):
            table.add_column(column, justify="right" if column in (f"{result.unit} before", "after") else "left")
        for row in changed:
            table.add_row(
                short_name(row.name, 28), row.kernel_before, row.kernel_after, _number(row.before), _number(row.after)
            )
        console().print(table)
    else:
        console().print("the formulas chose the kernels that measurement chooses")
    gain = 1 - result.after / result.before if result.before else 0.0
    console().print(
        f"{result.unit} per inference: {result.before:,.0f} before, {result.after:,.0f} after ({gain:.1%} less)\n"
        f"{result.measured:,} kernels measured in {result.builds} builds, {result.reused:,} taken over; "
        f"table: {result.table}",
        highlight=False,
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
