"""Boards of a labgrid lab, through labgrid's own client program.

A place of the lab holds one board: a resource of class ``TinyoptBoard`` with ``host`` and ``port`` of its board server
(``tinyopt hil serve``), and the tag ``board=NAME``. ``labgrid-client`` reserves and acquires; who else waits, waits.
labgrid: https://labgrid.readthedocs.io.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinyopt.errors import DeviceError, ToolError

RESOURCE = "TinyoptBoard"
WAIT_SECONDS = 600.0
"""How long to wait for a place that is in use."""
CLIENT_SECONDS = 60.0


@dataclass(frozen=True)
class AcquiredBoard:
    """A place that is ours. ``host`` and ``port``: of the board server."""

    place: str
    host: str
    port: int


class LabgridClient:
    """The program ``labgrid-client`` for one coordinator (``HOST:PORT``; None: its own default, ``LG_COORDINATOR``)."""

    def __init__(self, coordinator: str | None = None) -> None:
        self._command = [labgrid_program("labgrid-client")]
        if coordinator:
            self._command += ["-x", coordinator]
        self._coordinator = coordinator or os.environ.get("LG_COORDINATOR", "the default coordinator")

    def __call__(self, *arguments: str, token: str = "", timeout: float = CLIENT_SECONDS) -> str:
        """What a command prints.

        Raises:
            DeviceError: it failed, in its own words, or took too long.
        """
        environment = {**os.environ, "LG_TOKEN": token} if token else dict(os.environ)
        environment.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                capture_output=True,
                text=True,
                timeout=timeout,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"labgrid-client {' '.join(arguments)} took longer than {timeout:g} s") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise DeviceError(f"labgrid-client {' '.join(arguments)} failed ({self._coordinator}): {said}")
        return done.stdout


def labgrid_program(name: str) -> str:
    """Path of one of labgrid's programs: on the search path, or in the environment ``labgrid`` beside this Python's.

    Raises:
        ToolError: it is not installed.
    """
    beside = Path(sys.prefix) / "labgrid" / "bin"
    found = shutil.which(name) or shutil.which(name, path=str(beside))
    if found is None:
        raise ToolError(
            f"{name} is not installed: pipx install labgrid (an environment of its own, because its serial library "
            "takes the place of pyserial)"
        )
    return found


@contextmanager
def acquired_board(
    board: str, *, coordinator: str | None = None, place: str | None = None, wait: float = WAIT_SECONDS
) -> Iterator[AcquiredBoard]:
    """Acquire a place with a board, and release it at the end. ``board``: name of the board, the tag to look for;
    ``place``: this place and no other. ``wait``: seconds to wait for one that is in use.

    Raises:
        DeviceError: no such place, none that becomes free in time, or no coordinator.
        ToolError: labgrid is not installed.
    """
    client = LabgridClient(coordinator)
    token = "" if place else _reserve(client, board, wait)
    try:
        chosen = _place_name(client("-p", place or "+", "acquire", token=token))
        try:
            yield _board_of(chosen, client("-p", chosen, "show"))
        finally:
            client("-p", chosen, "release")
    finally:
        if token:
            client("cancel-reservation", token)


def _reserve(client: LabgridClient, board: str, wait: float) -> str:
    """The token of a reservation that has its place."""
    if not re.search(rf"\bboard={re.escape(board)}\b", client("-v", "places")):
        raise DeviceError(f"the lab has no place with the tag board={board} (`labgrid-client -v places` shows them)")
    said = client("reserve", "--shell", f"board={board}")
    match = re.search(r"LG_TOKEN=(\S+)", said)
    if match is None:
        raise DeviceError(f"labgrid-client gave no reservation: {said.strip()[-200:]!r}")
    token = match[1]
    try:
        client("wait", token, timeout=wait)
    except BaseException as error:
        client("cancel-reservation", token)
        if isinstance(error, DeviceError) and "took longer" in str(error):
            raise DeviceError(f"every place with board={board} has been in use for {wait:g} s") from None
        raise
    return token


def _place_name(said: str) -> str:
    match = re.search(r"^acquired place (\S+)", said, re.MULTILINE)
    if match is None:
        raise DeviceError(f"labgrid-client has acquired no place: {said.strip()[-200:]!r}")
    return match[1]


def _board_of(place: str, shown: str) -> AcquiredBoard:
    """The board server among the resources of an acquired place."""
    lines: Sequence[str] = shown.splitlines()
    for index, line in enumerate(lines):
        if not re.match(rf"Acquired resource '[^']*' \([^)]*/{RESOURCE}/", line):
            continue
        end = next((i for i in range(index + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
        try:
            parameters = ast.literal_eval("".join(lines[index + 1 : end]).strip())["params"]
            return AcquiredBoard(place, str(parameters["host"]), int(parameters["port"]))
        except (ValueError, SyntaxError, KeyError, TypeError, RecursionError):
            break
    raise DeviceError(
        f"place '{place}' has no resource of class {RESOURCE} with a host and a port: export one "
        "(docs/farm.md), and match it to the place"
    )
