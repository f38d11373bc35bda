"""What ``generate`` returns: a folder of C files, and how they are built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinyopt.board import Board

Role = Literal["model", "weights", "kernel", "vendor", "harness", "port"]
"""``vendor``: a library's source, which keeps to the warnings of its makers, not to ours."""


@dataclass(frozen=True)
class Source:
    """A C file. ``path``: relative to the project's folder. ``role``: whose code it is, for the size report."""

    path: str
    role: Role


@dataclass(frozen=True)
class Project:
    """A generated project.

    ``sources`` are the C files to compile; ``include_dirs`` (relative) the header folders; ``defines`` the macros as
    ``NAME`` or ``NAME=VALUE``; ``linker_script`` (relative) is set where the board needs one.
    """

    directory: Path
    name: str
    """Prefix of the C names: ``<name>_run`` in ``<name>.h``."""
    board: Board
    sources: tuple[Source, ...]
    include_dirs: tuple[str, ...]
    defines: tuple[str, ...] = ()
    linker_script: str | None = None
    system_include_dirs: tuple[str, ...] = ()
    """Header folders (relative) of libraries, in which no warnings are given."""

    def paths(self, *roles: Role) -> tuple[Path, ...]:
        """Absolute paths of the sources with these roles (of all when none is given)."""
        return tuple(self.directory / s.path for s in self.sources if not roles or s.role in roles)
