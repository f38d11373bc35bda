"""``tinyopt hil run`` and ``tinyopt hil compare``: data sets through boards, and results against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tinyopt.cli.hil_options import BoardOption, PortOption, ProgrammerOption, SerialNumberOption

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx, .pt2 or .tinyopt file.", show_default=False)
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
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The results: JSON lines, written as they come.")]
LatencyLimit = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--max-latency", help="Largest median latency: a figure (12ms, 300us), or +2% over the baseline."),
]


def run(
    model: ModelArgument,
    board: BoardOption,
    data: DataOption,
    output: OutputOption,
    port: PortOption = None,
    firmware: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--firmware", help="A measuring firmware (ELF) of this model that was built before."),
    ] = None,
    flash: Annotated[bool, typer.Option("--flash/--no-flash", help="Put the firmware on a hardware board.")] = True,
    programmer: ProgrammerOption = None,
    serial_number: SerialNumberOption = None,
    meter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--meter", help="Meter of the energy (see `tinyopt hil meter --help`); else it is estimated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last sample in the results.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results that are there.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Run N samples; 0 runs all.")] = 0,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seed", min=0, help="Choose the N samples of --limit at random; else the first N."),
    ] = None,
    reset_each: Annotated[
        bool, typer.Option("--reset-each", help="Start every sample from the model's initial state.")
    ] = False,
    save_outputs: Annotated[bool, typer.Option("--save-outputs", help="Keep the raw outputs in the results.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds after which a silent device is started again.")
    ] = 60.0,
    calibration: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--calibration", "-c", help="Calibration data for a float model. Makes it int8."),
    ] = None,
    optimise: Annotated[bool, typer.Option("--optimise/--no-optimise", help="Exact graph optimisation.")] = True,
    objective: Annotated[str, typer.Option("--objective", help="What to optimise for, as in `compile`.")] = "latency",
    tuning: Annotated[str, typer.Option("--tuning", help="Measurements to plan from, as in `compile`.")] = "auto",
    kernels: Annotated[str, typer.Option("--kernels", help="native, cmsis-nn or best, as in `compile`.")] = "native",
    cmsis_nn: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cmsis-nn", help="Where CMSIS-NN is, as in `compile`."),
    ] = None,
    arena_limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--arena-limit", min=1, help="Bytes that the arena may have, as in `compile`."),
    ] = None,
    input_layout: Annotated[str, typer.Option("--input-layout", help="nchw or nhwc, as in `compile`.")] = "nchw",
    json_output: Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")] = False,
) -> None:
    """Flash a board, stream a data set through it, and write accuracy, latency, energy and mismatches as they come.

    A run that was stopped goes on with --resume. The exit code is 0 only when every sample was run and every output
    equals the reference executor's.
    """
    from tinyopt.cli.bench import BenchRequest, bench

    bench(
        BenchRequest(
            model=model,
            board=board,
            data=data,
            output=output,
            port=port,
            firmware=firmware,
            flash=flash,
            programmer=programmer,
            serial_number=serial_number,
            meter=meter,
            resume=resume,
            force=force,
            limit=limit,
            seed=seed,
            reset_each=reset_each,
            save_outputs=save_outputs,
            timeout=timeout,
            calibration=calibration,
            optimise=optimise,
            objective=objective,
            tuning=tuning,
            kernels=kernels,
            cmsis_nn=cmsis_nn,
            arena_limit=arena_limit,
            input_layout=input_layout,
            json_output=json_output,
        )
    )


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Results of the baseline.", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="Results of the run to judge.", show_default=False)],
    max_latency: LatencyLimit = None,
    max_p95: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--max-p95", help="Largest latency of all but one in twenty, as --max-latency."),
    ] = None,
    max_energy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--max-energy", help="Largest energy of an inference: 1.2mJ, or +2%."),
    ] = None,
    min_accuracy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--min-accuracy", help="Least accuracy: 90%, or -0.5% (points below the baseline)."),
    ] = None,
    max_flash: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--max-flash", help="Largest code and weights of the model: 64K, or +2%."),
    ] = None,
    max_ram: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--max-ram", help="Largest arena and stack: 16K, or +2%."),
    ] = None,
    junit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--junit", help="Write the verdicts as JUnit XML to this file."),
    ] = None,
    markdown: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--markdown", help="Write the table as Markdown to this file."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show what changed between two results, with noise, and hold the second to limits: a gate for CI.

    The exit code is 1 when a limit is broken.
    """
    from tinyopt.cli.gate import compare_files

    limits = {
        "latency": max_latency,
        "p95": max_p95,
        "energy": max_energy,
        "accuracy": min_accuracy,
        "flash": max_flash,
        "ram": max_ram,
    }
    compare_files(before, after, limits, junit=junit, markdown=markdown, json_output=json_output)
