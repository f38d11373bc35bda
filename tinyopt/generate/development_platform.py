"""The PlatformIO development platform ``tinyopt``: emulated boards as PlatformIO boards, without network.

A development platform is a folder that PlatformIO finds by its name in ``<core folder>/platforms``. This one holds the
boards of tinyopt that have an emulator, each with its startup code, console and linker script, and a build script that
uses the system's compilers. PlatformIO builds with SCons, which it downloads as the package ``tool-scons``; where there
is no network, the package is made from the SCons of PyPI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyopt.board import Board, board_names, load_board
from tinyopt.errors import BoardError, TinyoptError, ToolError
from tinyopt.generate.folder import File
from tinyopt.generate.measuring import linker_script, measuring_defines, port_files, port_include_dirs
from tinyopt.resources import resource
from tinyopt.version import __version__

NAME = "tinyopt"
_PACKAGES = {
    "arm-none-eabi-": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
}
_EMULATORS = {"qemu-system-arm": "qemu-system-arm", "qemu-system-riscv32": "qemu-system-misc"}


def emulated_boards() -> tuple[Board, ...]:
    """The packaged boards that have an emulator."""
    return tuple(board for board in map(load_board, board_names()) if board.is_emulated)


def platform_files(boards: Sequence[Board]) -> list[File]:
    """The files of the development platform for these boards.

    Raises:
        BoardError: for a board that has no emulator.
    """
    root = resource("templates") / "development_platform"
    files = [File(p.relative_to(root).as_posix(), p.read_bytes()) for p in sorted(root.rglob("*.py"))]
    files.append(File("platform.json", _json(_platform_manifest())))
    ports: dict[str, bytes] = {}
    for board in boards:
        if board.emulator is None:
            raise BoardError(f"board '{board.name}' has no emulator, so it is no board of the platform '{NAME}'")
        files.append(File(f"boards/{board.name}.json", _json(_board_manifest(board))))
        script = linker_script(board)
        if script is not None:
            files.append(File(f"linker/{board.name}.ld", script.encode()))
            for item in port_files(board):
                ports[item.path.as_posix()] = item.absolute.read_bytes()
            ports["port/stdio/stdio.c"] = (resource("firmware") / "port" / "stdio" / "stdio.c").read_bytes()
    return files + [File(path, content) for path, content in sorted(ports.items())]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _platform_manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "title": "tinyopt's emulated boards",
        "description": "Microcontrollers under QEMU, built for with the compilers of this computer.",
        "version": __version__,
        "license": "MIT",
        "engines": {"platformio": "^6"},
        "packages": {},
    }


def _board_manifest(board: Board) -> dict[str, Any]:
    prefix = board.toolchain.prefix
    sources = [item.path.as_posix() for item in port_files(board) if item.is_source] if board.startup else []
    emulator = _emulator_command(board)
    return {
        "name": board.title,
        "vendor": "tinyopt",
        "url": "https://www.qemu.org/docs/master/system/targets.html",
        "build": {
            "mcu": board.core,
            "f_cpu": f"{board.clock_hz}L",
            "prefix": prefix,
            "packages": _PACKAGES.get(prefix, "gcc libc6-dev"),
            "core_flags": list(board.toolchain.flags),
            "defines": list(measuring_defines(board)),
            "include": list(port_include_dirs(board)),
            "sources": [*sources, "port/stdio/stdio.c"] if sources else [],
            "linker_script": f"linker/{board.name}.ld" if sources else "",
            "emulator": emulator,
            "emulator_packages": _EMULATORS.get(emulator[0], "qemu-system") if emulator else "",
        },
        "upload": {"maximum_size": board.flash.size, "maximum_ram_size": board.ram.size},
    }


def _emulator_command(board: Board) -> list[str]:
    """The emulator and its machine; none for programs of this computer."""
    emulator = board.emulator
    if emulator is None or emulator.program == "host":
        return []
    command = [emulator.program, "-machine", emulator.machine]
    command += ["-cpu", emulator.cpu] if emulator.cpu else []
    return [*command, *emulator.options, "-icount", f"shift={emulator.icount_shift}", "-nodefaults", "-display", "none"]


def core_folder() -> Path:
    """PlatformIO's core folder: what PLATFORMIO_CORE_DIR names, else ``~/.platformio``."""
    return Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")


def install_platform(core: Path, boards: Sequence[Board] = ()) -> Path:
    """Put the development platform where PlatformIO finds it, in the place of an older one; returns its folder.

    ``boards``: besides those that come with tinyopt.

    Raises:
        TinyoptError: when something else is there, or the disk refuses.
    """
    target = core / "platforms" / NAME
    if target.exists() and not _is_ours(target / "platform.json"):
        raise TinyoptError(f"{target} is not tinyopt's; move it away first")
    known = {board.name: board for board in (*emulated_boards(), *boards)}
    _put(target, platform_files(list(known.values())))
    return target


def _is_ours(manifest: Path) -> bool:
    try:
        return bool(json.loads(manifest.read_text(encoding="utf-8"))["name"] == NAME)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _put(target: Path, files: Sequence[File]) -> None:
    """Write a folder beside ``target`` and put it in its place."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise TinyoptError(f"cannot write to {target.parent}: {error.strerror}") from None
    try:
        for file in files:
            path = staging / "new" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        if target.exists():
            target.rename(staging / "old")
        (staging / "new").rename(target)
    except OSError as error:
        raise TinyoptError(f"cannot write {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def install_scons(core: Path) -> Path | None:
    """Give PlatformIO the SCons of this Python environment as its package ``tool-scons``; returns its folder, or None
    when PlatformIO has one already.

    Raises:
        ToolError: when PlatformIO or SCons is not installed here.
    """
    target = core / "packages" / "tool-scons"
    if (target / "scons.py").is_file():
        return None
    version = _wanted_scons()
    found = importlib.util.find_spec("SCons")
    if found is None or found.origin is None:
        raise ToolError("SCons is not installed; `pip install scons`, or let PlatformIO download it where it can")
    package = Path(found.origin).parent
    program = (
        "import sys\nfrom pathlib import Path\n\nsys.path.insert(0, str(Path(__file__).parent))\n\n"
        'import SCons.Script\n\nif __name__ == "__main__":\n    SCons.Script.main()\n'
    )
    spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
    facts = {"type": "tool", "name": "tool-scons", "version": version, "spec": spec}
    manifest = {"name": "tool-scons", "version": version, "description": "SCons of PyPI", "system": "*"}
    files = [
        File(f"SCons/{path.relative_to(package).as_posix()}", path.read_bytes())
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    files += [
        File("scons.py", program.encode()),
        File("package.json", _json(manifest)),
        File(".piopm", json.dumps(facts).encode()),
    ]
    _put(target, files)
    return target


def _wanted_scons() -> str:
    """The version of tool-scons that the installed PlatformIO asks for."""
    try:
        from platformio.dependencies import get_core_dependencies
    except ImportError:
        raise ToolError("PlatformIO is not installed here; `pip install platformio` (or tinyopt[platformio])") from None
    return str(get_core_dependencies()["tool-scons"]).lstrip("~^=<> ")
