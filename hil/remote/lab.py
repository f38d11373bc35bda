"""A lab on this computer: labgrid's coordinator and exporter, and a board server for every board.

For trying a lab out, and for tests. A real one runs the same programs as services on several computers (docs/farm.md).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import yaml

from hil.remote.labgrid import RESOURCE, LabgridClient, labgrid_program
from hil.remote.server import BoardServer
from tinyopt.board import Board
from tinyopt.errors import DeviceError

START_SECONDS = 60.0


class Lab:
    """Runs until ``close``; a context manager. ``coordinator``: its address. One place for every board of ``boards``,
    named ``BOARD_1``, ``BOARD_2`` …, with the tag ``board=NAME``.

    Raises:
        ToolError: labgrid is not installed.
        DeviceError: a part of the lab does not start.
    """

    def __init__(self, boards: Sequence[Board], *, log: Callable[[str], None] = lambda text: None) -> None:
        self._stack = ExitStack()
        try:
            self.coordinator, self.places = self._start(boards, log)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, boards: Sequence[Board], log: Callable[[str], None]) -> tuple[str, tuple[str, ...]]:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tinyopt-lab-")))
        places: dict[str, dict[str, object]] = {}
        resources: dict[str, dict[str, dict[str, object]]] = {}
        for board in boards:
            server = self._stack.enter_context(BoardServer(board, log=log))
            name = f"{board.name}_{sum(place.startswith(f'{board.name}_') for place in places) + 1}"
            host = "127.0.0.1"
            resources[name] = {
                "board": {"cls": RESOURCE, "host": host, "port": server.control_port},
                "console": {"cls": "NetworkSerialPort", "host": host, "port": server.console_port, "protocol": "raw"},
            }
            match = {"exporter": "desk", "group": name, "cls": "*", "name": None, "rename": None}
            places[name] = {"tags": {"board": board.name}, "matches": [match]}
            log(f"place {name}: {board.title}, board server on port {server.control_port}")
        (folder / "places.yaml").write_text(yaml.safe_dump(places), encoding="utf-8")
        (folder / "exporter.yaml").write_text(yaml.safe_dump(resources), encoding="utf-8")
        coordinator = f"127.0.0.1:{_free_port()}"
        self._run(folder, "labgrid-coordinator", "-l", coordinator)
        _until(lambda: _listens(coordinator), "the lab's coordinator does not answer")
        self._run(folder, "labgrid-exporter", "-c", coordinator, "-n", "desk", str(folder / "exporter.yaml"))
        client = LabgridClient(coordinator)
        _until(lambda: _shows(client("resources"), places), "the lab's exporter does not show its boards")
        return coordinator, tuple(places)

    def _run(self, folder: Path, program: str, *arguments: str) -> None:
        output = self._stack.enter_context((folder / f"{program}.log").open("wb"))
        process = subprocess.Popen(
            [labgrid_program(program), *arguments],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        self._stack.callback(_end, process)

    def close(self) -> None:
        """End everything that was started. May be called again."""
        self._stack.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5.0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _shows(text: str, names: Iterable[str]) -> bool:
    """Whether resources of every group are listed (``desk/GROUP/CLASS``)."""
    return all(re.search(rf"\b{re.escape(name)}/", text) for name in names)


def _until(ready: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if ready():
                return
            reason = ""
        except DeviceError as error:
            reason = f": {error}"
        if time.monotonic() >= deadline:
            raise DeviceError(f"{complaint}{reason}")
        time.sleep(0.2)
