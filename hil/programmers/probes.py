"""Flashing through a debug probe: pyOCD, OpenOCD, st-flash."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.discover import LIST_SECONDS, Probe, board_ports, pyocd_probes, same_serial
from hil.images import flat_binary, load_segments
from hil.programs import find_program, is_installed, run_program
from tinyopt import board as boards
from tinyopt.errors import BoardError, ToolError


def choose_probe(board: boards.Board, probes: Sequence[Probe], serial_number: str | None, tool: str) -> Probe:
    """The probe of a board. ``serial_number``: which one (its beginning or end is enough).

    Raises:
        ToolError: none, none with that number, or several (all are named).
    """
    if serial_number:
        fitting = [probe for probe in probes if same_serial(probe.serial_number, serial_number)]
        if len(fitting) == 1:
            return fitting[0]
        there = ", ".join(str(probe) for probe in fitting or probes) or "none"
        which = "several debug probes have" if fitting else "no debug probe has"
        raise ToolError(f"{which} the serial number {serial_number}; {tool} sees: {there}")
    if len(probes) > 1:
        mine = {port.serial_number for port in board_ports(board) if port.serial_number}
        known = [probe for probe in probes if any(same_serial(probe.serial_number, serial) for serial in mine)]
        probes = known if len(known) == 1 else probes
    if len(probes) > 1:
        raise ToolError(
            f"{len(probes)} debug probes are attached: {', '.join(str(probe) for probe in probes)}; "
            "say which one with --serial-number"
        )
    if not probes:
        raise ToolError(
            f"{tool} sees no debug probe: plug the board in at its debug connector with a cable that carries data, "
            "and check that your user may open it (udev rules)"
        )
    return probes[0]


@dataclass(frozen=True)
class PyOcd:
    """pyOCD (pyocd.io/docs/command_reference.html)."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "pyocd"
    can_reset = True

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("pyocd")

    def probes(self) -> list[Probe]:
        """Probes that are attached.

        Raises:
            ToolError: pyOCD is missing or does not list them.
        """
        return pyocd_probes()

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it.

        Raises:
            ToolError: no probe or several, or pyOCD fails.
        """
        command = self._command("load")
        run_program([*command, "--format", "elf", *self.settings.options, str(elf.absolute())], _flashing(self.board))

    def reset(self) -> None:
        """Restart the board.

        Raises:
            ToolError: as for ``flash``.
        """
        run_program(self._command("reset"), f"reset {self.board.name}", timeout=LIST_SECONDS)

    def _command(self, verb: str) -> list[str]:
        target = self.settings.target or self.board.device.lower()
        if not target:
            raise BoardError(f"the programmer pyocd of board '{self.board.name}' names no target")
        program = find_program("pyocd")
        probe = choose_probe(self.board, self.probes(), self.serial_number, "pyocd")
        return [program, verb, "--no-wait", "--target", target, "--uid", probe.serial_number]


@dataclass(frozen=True)
class OpenOcd:
    """OpenOCD (openocd.org/doc/html: Flash Programming, Debug Adapter Configuration). The target is a configuration
    file, or several with commas between them."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "openocd"
    can_reset = True

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("openocd")

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware, verify it, and start it.

        Raises:
            ToolError: several probes, or OpenOCD fails.
        """
        path = str(elf.absolute())
        if re.search(r"[{}\\]", path):
            raise ToolError(f"OpenOCD takes no file with braces or backslashes in its path: {path}")
        # Braces keep Tcl from reading anything into the path.
        run_program([*self._command(), "-c", f"program {{{path}}} verify reset exit"], _flashing(self.board))

    def reset(self) -> None:
        """Restart the board.

        Raises:
            ToolError: as for ``flash``.
        """
        commands = ["-c", "init", "-c", "reset run", "-c", "shutdown"]
        run_program([*self._command(), *commands], f"reset {self.board.name}", timeout=LIST_SECONDS)

    def _command(self) -> list[str]:
        if not self.settings.target:
            raise BoardError(f"the programmer openocd of board '{self.board.name}' names no configuration file")
        command = [find_program("openocd")]
        for file in self.settings.target.split(","):
            command += ["-f", file]
        # OpenOCD cannot list probes; those of this kind of board show up on USB with their serial ports.
        seen = {port.serial_number: port.title for port in board_ports(self.board) if port.serial_number}
        number = self.serial_number
        if number is not None or len(seen) > 1:
            probes = [Probe(serial, title) for serial, title in seen.items()]
            number = choose_probe(self.board, probes, number, "USB").serial_number if probes else number
        if number:
            if not re.fullmatch(r"[A-Za-z0-9:._-]+", number):
                raise ToolError(f"'{number}' is not the serial number of a debug probe")
            command += ["-c", f"adapter serial {number}"]
        for server in ("gdb_port", "tcl_port", "telnet_port"):  # two boards at a time must not share these
            command += ["-c", f"{server} disabled"]
        return [*command, *self.settings.options]


@dataclass(frozen=True)
class StFlash:
    """st-flash and st-info (github.com/stlink-org/stlink, doc/man)."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "st-flash"
    can_reset = True

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("st-flash")

    def probes(self) -> list[Probe]:
        """ST-LINKs that are attached.

        Raises:
            ToolError: st-info is missing or fails.
        """
        output = run_program([find_program("st-info"), "--probe"], "list ST-LINKs", timeout=LIST_SECONDS)
        serials = re.findall(r"^\s*serial:\s*([0-9A-Fa-f]+)\s*$", output, re.MULTILINE)
        titles = re.findall(r"^\s*(?:dev-type|descr):\s*(.*?)\s*$", output, re.MULTILINE)
        titles += [""] * (len(serials) - len(titles))
        return [Probe(serial, title) for serial, title in zip(serials, titles)]

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it.

        Raises:
            ToolError: no probe or several, or st-flash fails.
        """
        image = flat_binary(load_segments(elf))
        command = self._command()
        with tempfile.TemporaryDirectory(prefix="tinyopt-flash-") as folder:
            file = Path(folder) / "firmware.bin"
            file.write_bytes(image.data)
            command += ["--reset", *self.settings.options, "write", str(file), f"0x{image.address:08x}"]
            run_program(command, _flashing(self.board))

    def reset(self) -> None:
        """Restart the board.

        Raises:
            ToolError: as for ``flash``.
        """
        run_program([*self._command(), "reset"], f"reset {self.board.name}", timeout=LIST_SECONDS)

    def _command(self) -> list[str]:
        program = find_program("st-flash")
        probe = choose_probe(self.board, self.probes(), self.serial_number, "st-info")
        return [program, "--serial", probe.serial_number]


def _flashing(board: boards.Board) -> str:
    return f"flash {board.name}"
