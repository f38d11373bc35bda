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
    except (KeyboardInterrupt, SystemExit) as stop:
        interruption = _interruption(stop)
        if interruption is None:
            raise
        print(str(interruption) or "interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _interruption(stop: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C behind an exit: the command-line library turns it into exit code 130 and keeps the message."""
    cause: BaseException | None = stop
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause
