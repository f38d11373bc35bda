"""Every kernel file compiles without a warning for every core that tinyopt knows, as C99 and beside C++ programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tinyopt.board import board_names, load_board
from tinyopt.build.host import WARNINGS
from tinyopt.generate.kernels import kernel_files
from tinyopt.plan.catalogue import all_kernels
from tinyopt.resources import resource

KERNELS = resource("firmware") / "kernels"


def files_for(features: frozenset[str]) -> list[Path]:
    return [KERNELS / path for path in kernel_files(k for k in all_kernels() if k.requires <= features)]


def one_board_of_each_kind() -> list[str]:
    """Boards that differ in compiler, flags or features."""
    kinds: dict[object, str] = {}
    for name in board_names():
        board = load_board(name)
        kinds.setdefault((board.toolchain, board.features), name)
    return list(kinds.values())


@pytest.mark.parametrize("name", one_board_of_each_kind())
def test_the_kernels_of_a_board_compile_without_warnings(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    compiler = shutil.which(f"{board.toolchain.prefix}gcc")
    if compiler is None:
        pytest.skip(f"{board.toolchain.prefix}gcc is not installed")
    files = files_for(board.features)
    folders = sorted({path.parent for path in files})
    command = [compiler, *board.toolchain.flags, *WARNINGS, "-fsyntax-only", *(f"-I{folder}" for folder in folders)]
    # Files of different families have the same names: each is included in one that has a name of its own.
    for number, path in enumerate(path for path in files if path.suffix == ".c"):
        (tmp_path / f"file{number}.c").write_text(f'#include "{path}"\n')
    sources = sorted(map(str, tmp_path.glob("*.c")))
    done = subprocess.run([*command, *sources], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[:4000]


def test_no_kernel_uses_the_heap_or_changeable_globals(tmp_path: Path) -> None:
    compiler, nm = shutil.which("gcc"), shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("gcc and nm are not installed")
    files = files_for(frozenset({"dsp", "fpu", "thumb2"}))
    folders = sorted({path.parent for path in files})
    for number, path in enumerate(path for path in files if path.suffix == ".c"):
        (tmp_path / f"file{number}.c").write_text(f'#include "{path}"\n')
    sources = sorted(map(str, tmp_path.glob("*.c")))
    command = [compiler, "-std=c99", "-O1", "-c", *(f"-I{folder}" for folder in folders), *sources]
    subprocess.run(command, check=True, cwd=tmp_path)
    listing = subprocess.run(
        [nm, "-A", *sorted(map(str, tmp_path.glob("*.o")))], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        kind, symbol = line.split(":", 1)[1].split()[-2:]
        assert kind not in "dDbBC", f"{symbol} is a global that can change: {line}"
        assert symbol not in ("malloc", "calloc", "realloc", "free"), line
