"""Compiles and links a generated project for its board, and says how large each part of it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tinyopt.board import Board
from tinyopt.build.sizes import Sections, elf_sections, loaded_bytes, map_contributions
from tinyopt.build.stack import StackBound, stack_bound
from tinyopt.build.toolchain import Compiler, find_compiler, run_tool
from tinyopt.errors import BoardError, ToolError
from tinyopt.generate import Project, Source

OPTIMISE = "-O2"
"""The compiler's optimisation option where none is asked for."""
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
_SECTIONS = ("-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True)
class Firmware:
    """A linked program.

    ``code_bytes`` is what a program pays in flash for calling the model: machine code, constant tables and
    initialised variables of the model, its kernels and whatever they use of the C library, without weights. It is
    taken from a second link in which the model is alone: neither the harness nor the board's startup code is in it.
    (On the host the C library is shared, and is left out.) ``weights_bytes`` are the constants in the project's files
    with the role ``weights``, as far as the linker kept them.
    """

    project: Project
    elf: Path
    map_file: Path
    sections: Sections
    """The whole firmware, harness and startup code included."""
    code_bytes: int
    weights_bytes: int
    stack_bound: StackBound | None
    """Stack that the model needs below the caller of ``<name>_run``, by the compiler's call graph."""
    compiler: str
    """Name and version."""

    @property
    def board(self) -> Board:
        return self.project.board

    @property
    def flash_bytes(self) -> int:
        """Flash of the whole firmware."""
        return self.sections.flash

    @property
    def ram_bytes(self) -> int:
        """Static RAM of the whole firmware, without stack."""
        return self.sections.ram


def build(
    project: Project,
    *,
    optimise: str = OPTIMISE,
    jobs: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Firmware:
    """Compile a project with its board's compiler and link it; results go to ``build/`` in the project's folder.

    ``optimise``: the compiler's optimisation option. ``jobs``: compilers at a time (0: one per processor).

    Raises:
        ToolError: the compiler is missing (names the packages), or rejects a file.
        BoardError: the program does not fit the board's memories (by how much).
    """
    compiler = find_compiler(project.board.toolchain)
    folder = project.directory / "build"
    folder.mkdir(exist_ok=True)
    objects = _compile_all(project, compiler, folder, optimise, jobs or os.cpu_count() or 1, on_progress)
    elf, map_file = folder / f"{project.name}.elf", folder / f"{project.name}.map"
    _link(project, compiler, list(objects.values()), elf, map_file)
    model = [objects[s] for s in project.sources if s.role in ("model", "weights", "kernel", "vendor")]
    weights = [objects[s] for s in project.sources if s.role == "weights"]
    code_bytes, weights_bytes = _model_sizes(project, compiler, model, weights, map_file)
    return Firmware(
        project=project,
        elf=elf,
        map_file=map_file,
        sections=elf_sections(elf),
        code_bytes=code_bytes,
        weights_bytes=weights_bytes,
        stack_bound=stack_bound((path.with_suffix(".ci") for path in model), f"{project.name}_run"),
        compiler=compiler.version,
    )


def _compile_all(
    project: Project,
    compiler: Compiler,
    folder: Path,
    optimise: str,
    jobs: int,
    on_progress: Callable[[int, int], None] | None,
) -> dict[Source, Path]:
    flags = [*compiler.flags, "-std=c99", optimise, *_SECTIONS, "-fcallgraph-info=su"]
    flags += [f"-I{project.directory / include}" for include in project.include_dirs]
    for include in project.system_include_dirs:
        flags += ["-isystem", str(project.directory / include)]
    flags += [f"-D{define}" for define in project.defines]
    objects = {source: folder / "objects" / Path(source.path).with_suffix(".o") for source in project.sources}

    def compile_one(item: tuple[Source, Path]) -> None:
        source, target = item
        target.parent.mkdir(parents=True, exist_ok=True)
        warnings = ("-w",) if source.role == "vendor" else WARNINGS
        command = [compiler.path, *flags, *warnings, "-c", str(project.directory / source.path), "-o", str(target)]
        _check(run_tool(command), compiler, f"compile {source.path}")

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(compile_one, item) for item in objects.items()]
        try:
            for index, future in enumerate(futures):
                future.result()
                if on_progress:
                    on_progress(index + 1, len(futures))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return objects


def _link(
    project: Project,
    compiler: Compiler,
    objects: Sequence[Path],
    elf: Path,
    map_file: Path,
    extra: Sequence[str] = (),
) -> None:
    command = [compiler.path, *compiler.flags, "-Wl,--gc-sections", f"-Wl,-Map={map_file}"]
    if project.linker_script is not None:
        command += ["-nostartfiles", f"-T{project.directory / project.linker_script}"]
    command += [*extra, *(str(path) for path in objects), "-lm", "-o", str(elf)]
    result = run_tool(command)
    if result.returncode:
        _explain_overflow(project.board, result.stderr)
    _check(result, compiler, "link the firmware")


def _model_sizes(
    project: Project, compiler: Compiler, model: Sequence[Path], weights: Sequence[Path], map_file: Path
) -> tuple[int, int]:
    """Bytes of code and of weights. See ``Firmware`` for the rule."""
    if project.linker_script is None:
        contributions = map_contributions(map_file.read_text(errors="replace"))
        weights_bytes = loaded_bytes(contributions, weights)
        return loaded_bytes(contributions, model) - weights_bytes, weights_bytes
    alone, alone_map = map_file.with_name("model_alone.elf"), map_file.with_name("model_alone.map")
    roots = [f"-Wl,-e,{project.name}_run", f"-Wl,-u,{project.name}_reset"]
    # newlib's errno would count a kilobyte of stdio state, which every program has or avoids by itself.
    roots += ["-Wl,--defsym=__errno=0"] if "arm" in project.board.toolchain.prefix else []
    _link(project, compiler, model, alone, alone_map, roots)
    sections = elf_sections(alone)
    weights_bytes = loaded_bytes(map_contributions(alone_map.read_text(errors="replace")), weights)
    return sections.flash - weights_bytes, weights_bytes


def _check(result: CompletedProcess[str], compiler: Compiler, what: str) -> None:
    if not result.returncode:
        return
    stderr = result.stderr
    lines = [line for line in stderr.splitlines() if "error" in line or "undefined reference" in line]
    detail = "\n".join(f"  {line}" for line in (lines or stderr.splitlines())[:8])
    hint = ""
    if re.search(r"fatal error: \w+\.h: No such file|cannot find -l|cannot read spec file|picolibc", stderr):
        hint = f"\nIs the C library of the toolchain there? On Debian and Ubuntu: {compiler.install}"
    raise ToolError(f"{compiler.version} cannot {what}:\n{detail}{hint}")


_OVERFLOW = re.compile(r"region [`'](\w+)' overflowed by (\d+) bytes")


def _explain_overflow(board: Board, stderr: str) -> None:
    found = {region: int(extra) for region, extra in _OVERFLOW.findall(stderr)}
    if not found:
        return
    lines = []
    for region, extra in found.items():
        memory = {"FLASH": board.flash, "RAM": board.ram}.get(region)
        memory = memory or next((m for m in board.memories if m.name.upper() == region), board.ram)
        what = "code and constants" if memory.kind == "flash" else f"data and {board.stack_bytes:,} bytes of stack"
        lines.append(
            f"  {memory.name} ({memory.kind}) has {memory.size:,} bytes; {what} need {memory.size + extra:,}: "
            f"{extra:,} too many"
        )
    raise BoardError(
        f"the firmware does not fit board '{board.name}':\n"
        + "\n".join(lines)
        + "\nA smaller model, int8 instead of float, or a board with more memory would help."
    )
