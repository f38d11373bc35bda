"""``tinyopt hil``: boards and meters on the desk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tinyopt.cli.hil_options import BoardOption, PortOption, ProgrammerOption, SerialNumberOption
from tinyopt.cli.hil_run import compare, run

hil_app = typer.Typer(help="Hardware in the loop: boards on the desk, flashed, fed and measured.", no_args_is_help=True)
hil_app.command()(run)
hil_app.command()(compare)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]


@hil_app.callback()
def _group() -> None:
    pass


@hil_app.command()
def discover(json_output: JsonOption = False) -> None:
    """List what is plugged in: serial ports and the boards behind them, probes, meters, drives, running emulators."""
    from tinyopt.cli.desk import show_discovery

    show_discovery(json_output=json_output)


@hil_app.command()
def flash(
    firmware: Annotated[Path, typer.Argument(metavar="FIRMWARE", help="An ELF file.", show_default=False)],
    board: BoardOption,
    port: PortOption = None,
    programmer: ProgrammerOption = None,
    serial_number: SerialNumberOption = None,
) -> None:
    """Write a firmware to a board and start it."""
    from tinyopt.cli.desk import flash_board

    flash_board(firmware, board, port=port, programmer=programmer, serial_number=serial_number)


@hil_app.command()
def monitor(
    board: BoardOption,
    port: PortOption = None,
    firmware: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--firmware", help="ELF file to start on an emulated board, or to flash first."),
    ] = None,
    programmer: ProgrammerOption = None,
    serial_number: SerialNumberOption = None,
    send: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--send", help="Text to send when the console is open, as it is; may be repeated."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="End after so long; 0: at Ctrl-C.")] = 0.0,
) -> None:
    """Show what a board says, and send it what is typed. A board that is unplugged is waited for."""
    from tinyopt.cli.desk import monitor_board

    monitor_board(
        board,
        port=port,
        firmware=firmware,
        programmer=programmer,
        serial_number=serial_number,
        send=send or [],
        seconds=seconds,
    )


@hil_app.command()
def meter(
    address: Annotated[
        str,
        typer.Argument(
            metavar="METER",
            show_default=False,
            help="KIND:WHERE?OPTION=VALUE: lpm01a:/dev/ttyACM1, ppk2:auto?voltage=3.3, joulescope:, ina:/dev/ttyUSB1, "
            "replay:trace.csv.",
        ),
    ],
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=3600, help="How long to record.")] = 2.0,
    inferences: Annotated[int, typer.Option("--inferences", min=1, help="That run between two edges.")] = 1,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Write the trace to this CSV file; replay:FILE reads it."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Record power, and give the energy between the edges of the trigger."""
    from tinyopt.cli.desk import show_meter

    show_meter(address, seconds=seconds, inferences=inferences, output=output, json_output=json_output)


@hil_app.command()
def serve(
    board: BoardOption,
    port: PortOption = None,
    listen: Annotated[
        str, typer.Option("--listen", help="Network address to listen on; 0.0.0.0 lets every computer in.")
    ] = "127.0.0.1",
    control_port: Annotated[int, typer.Option("--control-port", min=0, max=65535, help="0: a free one.")] = 20450,
    console_port: Annotated[int, typer.Option("--console-port", min=0, max=65535, help="0: a free one.")] = 0,
    programmer: ProgrammerOption = None,
    serial_number: SerialNumberOption = None,
) -> None:
    """Lend a board of this computer to others, who reach it with --port remote://HOST, or through labgrid."""
    from tinyopt.cli.lab import serve_board

    serve_board(
        board,
        port=port,
        listen=listen,
        control_port=control_port,
        console_port=console_port,
        programmer=programmer,
        serial_number=serial_number,
    )


@hil_app.command()
def lab(
    boards: Annotated[list[str], typer.Argument(metavar="BOARD...", help="Emulated boards.", show_default=False)],
) -> None:
    """Run a labgrid lab on this computer, with one place for every board, until Ctrl-C."""
    from tinyopt.cli.lab import run_lab

    run_lab(boards)
