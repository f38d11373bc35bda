"""Boards without hardware: QEMU machines, and the firmware as a process of this computer.

An emulator never outlives what started it: it is stopped when its context ends, when the interpreter exits, and (on
Linux) by the kernel when this process dies in any other way.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hil.transports import FileTransport
from tinyopt.board import Board
from tinyopt.errors import BoardError, ToolError

_PACKAGES = {"qemu-system-arm": "qemu-system-arm", "qemu-system-riscv32": "qemu-system-misc"}
_GUARD = Path(__file__).with_name("_guard.py")
_running: weakref.WeakSet[Emulator] = weakref.WeakSet()


def emulator_command(board: Board, elf: Path, *, plugin: str | None = None) -> list[str]:
    """The command that runs a firmware with its console on standard input and output.

    Raises:
        BoardError: the board is hardware.
        ToolError: the emulator is not installed (names the package).
    """
    emulator = board.emulator
    if emulator is None:
        raise BoardError(f"board '{board.name}' is hardware: it has no emulator")
    if emulator.program == "host":
        return [str(elf)]
    path = shutil.which(emulator.program)
    if path is None:
        package = _PACKAGES.get(emulator.program, "qemu-system")
        raise ToolError(
            f"the emulator {emulator.program} is not installed; on Debian and Ubuntu: sudo apt-get install {package}"
        )
    command = [path, "-machine", emulator.machine, *(["-cpu", emulator.cpu] if emulator.cpu else [])]
    command += [*emulator.options, "-icount", f"shift={emulator.icount_shift}", "-nodefaults", "-display", "none"]
    command += ["-serial", "stdio", "-kernel", str(elf)]
    return [*command, "-plugin", plugin] if plugin else command


class Emulator:
    """A running emulator; a context manager. ``transport`` is its console.

    Raises:
        ToolError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]
        self._name = Path(command[0]).name
        try:
            self._process = subprocess.Popen(
                guarded,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            self._log.close()
            raise ToolError(f"cannot start {command[0]}: {error.strerror}") from None
        _running.add(self)
        assert self._process.stdin is not None and self._process.stdout is not None
        self.transport = FileTransport(
            self._process.stdout.fileno(), self._process.stdin.fileno(), explain_end=self._explain_end
        )

    @property
    def pid(self) -> int:
        """Number of the emulator's process."""
        return self._process.pid

    def stop(self) -> None:
        """End the process and everything it started. May be called again."""
        if self._process.poll() is None:
            for way, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
                try:
                    os.killpg(self._process.pid, way)
                except ProcessLookupError:
                    break
                try:
                    self._process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self._process.wait(10.0)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._log.close()
        _running.discard(self)

    def _explain_end(self) -> str:
        try:
            code = self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its console"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 600))
        said = self._log.read().decode("utf-8", "replace").strip()
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{self._name} {ended}" + (f" and said: {said}" if said else "")

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_emulator(board: Board, elf: Path, *, plugin: str | None = None) -> Emulator:
    """Start a firmware on an emulated board. ``plugin``: value of QEMU's ``-plugin`` option.

    Raises:
        BoardError: the board is hardware.
        ToolError: the emulator is missing or cannot be started.
    """
    return Emulator(emulator_command(board, elf, plugin=plugin))


def _stop_all() -> None:
    for emulator in list(_running):
        emulator.stop()


atexit.register(_stop_all)
