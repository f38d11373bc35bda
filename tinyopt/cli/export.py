"""``tinyopt export``: the model in the form that a build system or an IDE wants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

FORMS = ("platformio", "cmake", "arduino", "zephyr", "esp-idf", "stm32cube")


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx, .pt2 or .tinyopt file.", show_default=False)
    ],
    board: Annotated[
        str, typer.Option("--board", "-b", help="A board's name (see `tinyopt boards list`) or a board file.")
    ],
    form: Annotated[str, typer.Option("--form", "-f", help=f"One of {', '.join(FORMS)}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write (new or ours).")],
    calibration: Annotated[
        Optional[str],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--calibration", "-c", help="Calibration data for a float model; makes it int8."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Prefix of the generated C names and files.")] = "model",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output folder even if tinyopt did not make it.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Write the model for another build system: PlatformIO, CMake, Arduino, Zephyr, ESP-IDF, STM32CubeIDE.

    `tinyopt compile` has more ways to plan; `--project` there takes the same forms.
    """
    from tinyopt.cli.commands import compile_model
    from tinyopt.errors import TinyoptError

    if form not in FORMS:
        raise TinyoptError(f"there is no form '{form}'; choose one of {', '.join(FORMS)}")
    compile_model(
        model,
        board,
        output,
        project=form,
        calibration=calibration,
        name=name,
        objective="latency",
        tuning="auto",
        kernels="native",
        cmsis_nn=None,
        arena_limit=None,
        force=force,
        optimise=True,
        input_layout="nchw",
        json_output=json_output,
    )
