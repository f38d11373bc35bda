"""Options that the commands of ``tinyopt hil`` share: which board, and how it is reached."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

BoardOption = Annotated[
    str, typer.Option("--board", "-b", help="A board's name (see `tinyopt boards list`) or a board file.")
]
PortOption = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this annotation on Python 3.10
    typer.Option(
        "--port",
        help="Console of the board: a serial port, tcp://HOST:PORT, unix:PATH, remote://HOST, labgrid://HOST, or auto.",
    ),
]
SerialNumberOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--serial-number", help="Which of several boards or probes; its beginning or end is enough."),
]
ProgrammerOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--programmer", help="Tool that flashes; else the first of the board's that is installed."),
]
