"""The C compilers: finding them, running them, and saying what to install when they are not there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tinyopt.board import Toolchain
from tinyopt.errors import ToolError

_PACKAGES = {
    "arm-none-eabi-": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "": "gcc libc6-dev",
}

TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Compiler:
    """A GCC for one kind of core. ``flags`` select the core; they go to the compiler and to the linker."""

    path: str
    flags: tuple[str, ...]
    version: str
    install: str
    """The command that installs the toolchain on Debian and Ubuntu."""


def install_command(prefix: str) -> str:
    """The command that installs the toolchain with this prefix, as far as it is known."""
    return f"sudo apt-get install {_PACKAGES.get(prefix, f'{prefix}gcc')}"


def find_compiler(toolchain: Toolchain) -> Compiler:
    """The compiler of a toolchain.

    Raises:
        ToolError: when it is not installed (names the program and the packages), or does not run.
    """
    program = f"{toolchain.prefix}gcc"
    path = shutil.which(program)
    install = install_command(toolchain.prefix)
    if path is None:
        raise ToolError(f"the compiler {program} is not installed; on Debian and Ubuntu: {install}")
    return Compiler(path, toolchain.flags, f"{program} {_version(path)}", install)


@cache
def _version(path: str) -> str:
    result = run_tool([path, "-dumpfullversion"])
    if result.returncode:
        raise ToolError(f"{path} does not run: {result.stderr.strip()[:200]}")
    return result.stdout.strip()


def run_tool(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; the caller looks at the return code.

    Raises:
        ToolError: when it cannot be started or takes longer than ``TIMEOUT_SECONDS``.
    """
    try:
        return subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_c_locale(),
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{command[0]} did not finish within {TIMEOUT_SECONDS:.0f} s") from None
    except OSError as error:
        raise ToolError(f"cannot run {command[0]}: {error.strerror}") from None


def _c_locale() -> dict[str, str]:
    """Messages are read by this program: they must not be translated."""
    import os

    return {**os.environ, "LC_ALL": "C"}
