"""``tinyopt platformio``: emulated boards as PlatformIO boards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

platformio_app = typer.Typer(help="Emulated boards as boards of PlatformIO.", no_args_is_help=True)


@platformio_app.callback()
def _group() -> None:
    pass


@platformio_app.command()
def install(
    core_dir: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--core-dir", help="PlatformIO's core folder; else PLATFORMIO_CORE_DIR, else ~/.platformio."),
    ] = None,
    board: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--board", "-b", help="A file of an emulated board of your own; may be repeated."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Give PlatformIO the SCons of this Python, which it would download.")
    ] = False,
) -> None:
    """Install the development platform `tinyopt`: `pio run`, `pio run -t upload` and `pio test` on emulated boards."""
    from tinyopt.board import load_board
    from tinyopt.cli.console import console
    from tinyopt.generate.development_platform import core_folder, install_platform, install_scons

    core = core_dir or core_folder()
    if offline:
        scons = install_scons(core)
        console().print(f"SCons written to {scons}" if scons else "PlatformIO has SCons already")
    console().print(f"platform written to {install_platform(core, [load_board(path) for path in board or []])}")
