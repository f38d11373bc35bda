"""What ``tinyopt hil serve`` and ``tinyopt hil lab`` do: lend boards to other computers until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tinyopt.board import load_board
from tinyopt.cli.console import console


def _say(text: str) -> None:
    console().print(text, highlight=False)


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        _say("ended")


def serve_board(
    board: str,
    *,
    port: str | None,
    listen: str,
    control_port: int,
    console_port: int,
    programmer: str | None,
    serial_number: str | None,
) -> None:
    """Lend one board.

    Raises:
        TinyoptError: no such board, or a port is taken.
    """
    from hil.remote import BoardServer

    with BoardServer(
        load_board(board),
        port=port,
        listen=listen,
        control_port=control_port,
        console_port=console_port,
        programmer=programmer,
        serial_number=serial_number,
        log=_say,
    ) as server:
        where = f"--port remote://{listen}:{server.control_port}, console on port {server.console_port}"
        _say(f"{server.board.title}: {where}")
        _until_interrupted()


def run_lab(boards: Sequence[str]) -> None:
    """A labgrid lab of emulated boards on this computer.

    Raises:
        TinyoptError: no such board, or labgrid is not installed.
    """
    from hil.remote.lab import Lab

    with Lab([load_board(name) for name in boards], log=_say) as lab:
        _say(f"coordinator at {lab.coordinator}; use its boards with --port labgrid://{lab.coordinator}")
        _until_interrupted()
