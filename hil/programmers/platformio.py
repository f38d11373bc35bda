"""Flashing with PlatformIO, from the project that the firmware was built in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hil.programs import find_program, is_installed, run_program
from tinyopt import board as boards
from tinyopt.errors import ToolError


@dataclass(frozen=True)
class PlatformioUpload:
    """``pio run -t upload`` (docs.platformio.org, pio run). It takes a firmware only from its own build folder."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "platformio"
    can_reset = False

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("pio", "platformio") and (elf is None or _project_of(elf) is not None)

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write the firmware of a project and start it.

        Raises:
            ToolError: the file was not built by PlatformIO, or the upload fails.
        """
        project, environment = project_of(elf)
        command = [find_program("pio", "platformio"), "run", "--project-dir", str(project)]
        command += ["--environment", environment, "--target", "nobuild", "--target", "upload"]
        if port is not None and "://" not in port:
            command += ["--upload-port", port]
        run_program([*command, *self.settings.options], f"flash {self.board.name}")

    def reset(self) -> None:
        raise ToolError("PlatformIO does not reset a board")


def project_of(elf: Path) -> tuple[Path, str]:
    """Folder of the PlatformIO project that a firmware was built in, and the environment.

    Raises:
        ToolError: it lies in no project's build folder.
    """
    found = _project_of(elf)
    if found is not None:
        return found
    raise ToolError(
        f"PlatformIO flashes what it has built: {elf} does not lie in the .pio/build folder of a project; "
        "build it with `pio run`, or choose another --programmer"
    )


def _project_of(elf: Path) -> tuple[Path, str] | None:
    path = elf.absolute()
    for folder in path.parents:
        if (folder / "platformio.ini").is_file():
            inside = path.relative_to(folder).parts
            if inside[:2] == (".pio", "build") and len(inside) > 3:
                return folder, inside[2]
    return None
