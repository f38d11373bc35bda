"""The commands and their options. Work is imported inside each command, so that ``--help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tinyopt.cli.aware import qat
from tinyopt.cli.boards import boards_app
from tinyopt.cli.distill import distill
from tinyopt.cli.export import export
from tinyopt.cli.factorize import factorize
from tinyopt.cli.hil import hil_app
from tinyopt.cli.packs import packs_app
from tinyopt.cli.platformio import platformio_app
from tinyopt.cli.prune import prune
from tinyopt.cli.quantize import quantize
from tinyopt.cli.recipe import recipe_app
from tinyopt.version import __version__

app = typer.Typer(
    name="tinyopt",
    help="Takes a trained neural network, makes it small, and puts it on a microcontroller, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(boards_app, name="boards")
app.add_typer(packs_app, name="packs")
app.add_typer(recipe_app, name="recipe")
app.add_typer(platformio_app, name="platformio")
app.add_typer(hil_app, name="hil")
app.command()(prune)

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx, .pt2 or .tinyopt file.", show_default=False)
]
BoardOption = Annotated[
    str, typer.Option("--board", "-b", help="A board's name (see `tinyopt boards list`) or a board file.")
]
CalibrationOption = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this annotation on Python 3.10
    typer.Option(
        "--calibration",
        "-c",
        help="Calibration data for a float model: .npz, .npy, a folder, or random:SEED:N. Makes it int8.",
    ),
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        help="What to run: .npz or .npy (samples along the first axis; an npz may hold labels), a folder in the "
        "MLPerf Tiny layout, or random:SEED:N.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--input-layout",
        help="Layout of the image input of ONNX and PyTorch models on the device: nchw (as in the model) or nhwc.",
    ),
]
OptimiseOption = Annotated[bool, typer.Option("--optimise/--no-optimise", help="Exact graph optimisation.")]
ObjectiveOption = Annotated[
    str,
    typer.Option(
        "--objective", help="What to optimise for: latency, ram, flash or energy, or a mix: latency=1,flash=0.5."
    ),
]
ArenaLimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--arena-limit",
        min=1,
        help="Bytes that the arena may have, if less than the board's RAM: layers are computed in strips to fit.",
    ),
]
TuningOption = Annotated[
    str,
    typer.Option(
        "--tuning", help="Measurements to plan from: auto (what `tinyopt tune` left for the board), none, or a table."
    ),
]
KernelsOption = Annotated[
    str,
    typer.Option("--kernels", help="native; cmsis-nn (of CMSIS-NN wherever one fits); or best (the cheapest of both)."),
]
CmsisNnOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--cmsis-nn",
        help="Where CMSIS-NN is: a folder, a .pack file or a PlatformIO library; else what TINYOPT_CMSIS_NN names.",
        show_default=False,
    ),
]
NameOption = Annotated[str, typer.Option("--name", help="Prefix of the generated C names and files.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"tinyopt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def inspect(
    model: ModelArgument,
    json_output: JsonOption = False,
    optimise: Annotated[bool, typer.Option("--optimise", help="Show the graph after exact optimisation.")] = False,
    input_layout: LayoutOption = "nchw",
) -> None:
    """Show a model: operators, shapes, MACs, parameter bytes, quantization, predicted peak RAM."""
    from tinyopt.cli.commands import inspect_model

    inspect_model(model, json_output=json_output, optimise=optimise, input_layout=input_layout)


app.command()(quantize)
app.command()(factorize)
app.command()(distill)
app.command()(qat)


@app.command("compile")
def compile_(
    model: ModelArgument,
    board: BoardOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the generated project (new or ours).")],
    project: Annotated[
        str,
        typer.Option(
            "--project",
            help="Kind of project: cmake, platformio, library, or a form of `tinyopt export`; auto: platformio for "
            "hardware that PlatformIO knows, else cmake.",
        ),
    ] = "auto",
    calibration: CalibrationOption = None,
    name: NameOption = "model",
    objective: ObjectiveOption = "latency",
    tuning: TuningOption = "auto",
    kernels: KernelsOption = "native",
    cmsis_nn: CmsisNnOption = None,
    arena_limit: ArenaLimitOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output folder even if tinyopt did not make it.")
    ] = False,
    optimise: OptimiseOption = True,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Generate static C for a board, as a project that builds."""
    from tinyopt.cli.commands import compile_model

    compile_model(
        model,
        board,
        output,
        project=project,
        calibration=calibration,
        name=name,
        objective=objective,
        tuning=tuning,
        kernels=kernels,
        cmsis_nn=cmsis_nn,
        arena_limit=arena_limit,
        force=force,
        optimise=optimise,
        input_layout=input_layout,
        json_output=json_output,
    )


app.command()(export)


@app.command()
def run(
    model: ModelArgument,
    board: BoardOption,
    data: DataOption,
    json_output: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Run the first N samples; 0 runs all.")] = 0,
    outputs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--outputs", help="Write the raw device outputs to this .npy file."),
    ] = None,
    project: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--project", help="Keep the generated project in this folder."),
    ] = None,
    layers: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--layers", help="Write what every layer takes to this CSV file."),
    ] = None,
    calibration: CalibrationOption = None,
    optimise: OptimiseOption = True,
    objective: ObjectiveOption = "latency",
    tuning: TuningOption = "auto",
    kernels: KernelsOption = "native",
    cmsis_nn: CmsisNnOption = None,
    arena_limit: ArenaLimitOption = None,
    input_layout: LayoutOption = "nchw",
) -> None:
    """Build the measuring firmware, run data through the board, compare every output, and report.

    The exit code is 0 only when the run finished and every output equals the reference executor's.
    """
    from tinyopt.cli.commands import run_model

    run_model(
        model,
        board,
        data,
        json_output=json_output,
        limit=limit,
        outputs=outputs,
        project=project,
        layers=layers,
        calibration=calibration,
        optimise=optimise,
        objective=objective,
        tuning=tuning,
        kernels=kernels,
        cmsis_nn=cmsis_nn,
        arena_limit=arena_limit,
        input_layout=input_layout,
    )


@app.command()
def tune(
    model: ModelArgument,
    board: BoardOption,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="The table; else beside the board file, or in the user's data folder."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what the table holds and measure the rest.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random sample that is run.")] = 0,
    calibration: CalibrationOption = None,
    objective: ObjectiveOption = "latency",
    kernels: KernelsOption = "native",
    cmsis_nn: CmsisNnOption = None,
    port: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--port", help="Serial port of a board that is plugged in."),
    ] = None,
    flash: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--flash", help="Command that writes a firmware to the plugged-in board; {elf} is its file."),
    ] = None,
    optimise: OptimiseOption = True,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Measure on the board every kernel that could compute a layer; `compile` and `run` then plan from the results."""
    from tinyopt.cli.tune import tune_model

    tune_model(
        model,
        board,
        output=output,
        calibration=calibration,
        objective=objective,
        kernels=kernels,
        cmsis_nn=cmsis_nn,
        resume=resume,
        seed=seed,
        port=port,
        flash=flash,
        optimise=optimise,
        input_layout=input_layout,
        json_output=json_output,
    )


@app.command()
def analyse(
    model: ModelArgument,
    board: BoardOption,
    data: DataOption,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Use the first N samples of the data.")] = 256,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0, max=100, help="Loss of accuracy that is harmless, in points (of 100)."),
    ] = 1.0,
    objective: ObjectiveOption = "latency=1,flash=1",
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Measure the cycles of layers on an emulated board, or predict them.")
    ] = True,
    cache: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cache", help="A file that keeps what was found, so that an interrupted analysis goes on."),
    ] = None,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Show where cycles, flash and RAM go, what each layer bears, and what would save most on the board.

    The data are float samples of the float model; with labels, accuracy decides what is harmless.
    """
    from tinyopt.cli.analyse import analyse_model

    analyse_model(
        model,
        board,
        data,
        samples=samples,
        tolerance=tolerance,
        objective=objective,
        run=run,
        cache=cache,
        input_layout=input_layout,
        json_output=json_output,
    )


@app.command()
def demo(
    board: BoardOption = "mps2_an386",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for model, data and project.")] = Path(
        "tinyopt-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training.")] = 0,
) -> None:
    """Train a small CNN on handwritten digits, quantize it, and run the test set on an emulated board."""
    from tinyopt.cli.demo import run_demo

    run_demo(board, output, seed)
