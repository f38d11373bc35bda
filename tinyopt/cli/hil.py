"""``tinyopt hil``: boards on the desk."""

from __future__ import annotations

import typer

from tinyopt.cli.hil_run import compare, run

hil_app = typer.Typer(help="Hardware in the loop: boards on the desk, flashed, fed and measured.", no_args_is_help=True)
hil_app.command()(run)
hil_app.command()(compare)


@hil_app.callback()
def _group() -> None:
    pass
