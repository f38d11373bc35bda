"""The command line. ``main`` turns expected errors into one message and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the ``tinyopt`` program."""
    from tinyopt.errors import TinyoptError

    try:
        from tinyopt.cli.app import app

        app()
    except TinyoptError as error:
        if os.environ.get("TINYOPT_DEBUG"):
            raise
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), str(error)))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
