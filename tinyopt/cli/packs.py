"""``tinyopt packs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

packs_app = typer.Typer(help="CMSIS-Packs of the public index, through cmsis-pack-manager.", no_args_is_help=True)


@packs_app.callback()
def _packs() -> None:
    pass


@packs_app.command("fetch")
def fetch(
    packs: Annotated[
        list[str], typer.Argument(metavar="PACK...", help="VENDOR::NAME or VENDOR::NAME@VERSION, as in ARM::CMSIS-NN.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder for the .pack files.")] = Path("packs"),
    cache: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--cache", help="Cache of cmsis-pack-manager, if not its usual one.", show_default=False),
    ] = None,
) -> None:
    """Fetch packs, such as ARM::CMSIS-NN for `--kernels cmsis-nn` (and ARM::CMSIS, which its release 4.0.0 needs)."""
    import os

    from tinyopt.cli.console import console, progress
    from tinyopt.packs import fetch_packs, parse_reference

    references = [parse_reference(text) for text in packs]
    with progress("looking in the index of CMSIS-Packs"):
        paths = fetch_packs(references, to, cache=cache)
    for path in paths:
        console().print(str(path), highlight=False, markup=False)
    if any("CMSIS-NN" in reference.name for reference in references):
        named = os.pathsep.join(map(str, paths))
        console().print(f"to compile with it: --kernels cmsis-nn --cmsis-nn {named}", highlight=False, markup=False)
