"""``generate``: a plan in, a folder of C files and build files out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinyopt.errors import TinyoptError
from tinyopt.generate.flat import flatten
from tinyopt.generate.folder import File, write_folder
from tinyopt.generate.forms import FORMS, cmake_extras, form_files
from tinyopt.generate.identity import firmware_identity
from tinyopt.generate.kernels import VENDOR, kernel_files, library_files, library_include_dirs
from tinyopt.generate.platformio import platformio_files
from tinyopt.generate.project import Project, Source
from tinyopt.generate.rendering import rendered
from tinyopt.generate.sources import Sources, describe
from tinyopt.plan import Plan
from tinyopt.plan.lowering import kernels_of
from tinyopt.resources import resource

KINDS = ("cmake", "platformio", "library", *FORMS)


def generate(
    plan: Plan,
    directory: Path | str,
    *,
    name: str = "model",
    project: str = "cmake",
    harness: bool = False,
    force: bool = False,
) -> Project:
    """Write a plan out as a project.

    ``name``: prefix of the C names and of the files. ``project``:

    - ``library``: sources, kernels, and the files that make them a CMake and a PlatformIO library;
    - ``cmake``: that, with a program, a test and presets around it;
    - ``platformio``: programs and tests for the board's frameworks, with the library in ``lib/``;
    - ``arduino``: a library; ``zephyr``: a module; ``esp-idf``: a component;
    - ``stm32cube``: sources and headers to copy into a project of STM32CubeIDE.

    ``harness``: make the measuring firmware for the plan's board the program. ``force``: replace ``directory`` even
    when tinyopt did not make it.

    The folder appears complete or not at all. In a folder that an earlier call made, files that were added by hand
    stay, and so does ``main.c`` if it was edited.

    Raises:
        TinyoptError: for a name or kind that cannot be, a folder of somebody else, or a disk that refuses.
    """
    if project not in KINDS:
        raise TinyoptError(f"there is no project kind '{project}'; choose one of {', '.join(KINDS)}")
    if harness and name != "model":
        raise TinyoptError(f"the measuring firmware needs a model named 'model', not '{name}'")
    if harness and project != "cmake":
        raise TinyoptError("the measuring firmware is a CMake project; choose the kind cmake")
    model = describe(plan, name)
    library = model_library(model, prefix=f"lib/{name}/" if project == "platformio" else "")
    parts = Parts(list(library.files), list(library.sources), list(library.include_dirs))
    parts.system_include_dirs = library.system_include_dirs
    if harness:
        _add_harness(parts, plan, firmware_identity(plan.board, library.files))
    elif project == "cmake":
        parts.files.append(rendered("main.c.j2", "src/main.c", {"m": model}, starter=True))
        parts.files += cmake_extras(plan, model)
    facts = {
        "m": model,
        "plan": plan,
        "board": plan.board,
        "library": library,
        "parts": parts,
        "kind": project,
        "harness": harness,
    }
    if project == "platformio":
        parts.files += platformio_files(plan, model, library.files, library.include_dirs)
    elif project in FORMS:
        parts = _form(project, plan, model, library)
    else:
        parts.files.append(rendered("CMakeLists.txt.j2", "CMakeLists.txt", facts))
    if project == "cmake" and plan.board.toolchain.prefix:
        parts.files.append(rendered("toolchain.cmake.j2", "toolchain.cmake", facts))
    directory = Path(directory)
    write_folder(directory, parts.files, {"model": plan.source.name, "board": plan.board.name}, force=force)
    return Project(
        directory.resolve(),
        name,
        plan.board,
        tuple(parts.sources),
        tuple(parts.include_dirs),
        tuple(parts.defines),
        parts.linker_script,
        tuple(parts.system_include_dirs),
    )


def _form(form: str, plan: Plan, model: Sources, library: Parts) -> Parts:
    """The files of a form; its sources may have other places than in the library."""
    system = library.system_include_dirs
    folders = {"sources": [s.path for s in library.sources], "include_dirs": [*library.include_dirs, *system]}
    files = form_files(form, plan, model, library.files, folders)
    written = {file.path for file in files}
    if written >= {source.path for source in library.sources}:
        return Parts(files, library.sources, library.include_dirs, system_include_dirs=system)
    moved = {file.path: flat.path for file, flat in zip(_c_files(library.files), flatten(library.files))}
    places = {path.rpartition("/")[2]: path for path in written}
    sources = [Source(places[moved[source.path]], source.role) for source in library.sources]
    folder = next(path for path in written if path.endswith(f"/{model.name}.h")).rpartition("/")[0]
    return Parts(files, sources, [folder])


def _c_files(files: Iterable[File]) -> list[File]:
    return [file for file in files if file.path.endswith((".c", ".h"))]


@dataclass
class Parts:
    """Pieces of a project: files, and how they are compiled."""

    files: list[File]
    sources: list[Source]
    include_dirs: list[str]
    defines: tuple[str, ...] = ()
    linker_script: str | None = None
    system_include_dirs: tuple[str, ...] = ()


def model_library(model: Sources, prefix: str = "") -> Parts:
    """Model sources and kernels, and the file that makes them a PlatformIO library; paths start with ``prefix``."""
    name, plan = model.name, model.plan
    facts = {"m": model, "plan": plan}
    files = [
        rendered("model.c.j2", f"{prefix}src/{name}.c", facts),
        rendered("model.h.j2", f"{prefix}src/{name}.h", facts),
    ]
    sources = [Source(f"{prefix}src/{name}.c", "model")]
    if model.has_constants:
        files.append(rendered("constants.h.j2", f"{prefix}src/{name}_constants.h", facts))
    for kind, tables, total in (
        ("weights", model.weights, plan.weights_bytes),
        ("tables", model.tables, plan.tables_bytes),
    ):
        if tables:
            target = f"{prefix}src/{name}_{kind}.c"
            more = {**facts, "heading": kind.capitalize(), "tables": tables, "total": total}
            files.append(rendered("constants.c.j2", target, more))
            sources.append(Source(target, "weights" if kind == "weights" else "model"))
    folders = {f"{prefix}src"}
    kernels = kernels_of(plan.calls)
    for path in kernel_files(kernels):
        if path.stem == name and path.suffix == ".h":
            raise TinyoptError(f"the name '{name}' is taken by a kernel; choose another")
        target = f"{prefix}kernels/{path.as_posix()}"
        files.append(File(target, (resource("firmware") / "kernels" / path).read_bytes()))
        folders.add(str(Path(target).parent.as_posix()))
        if path.suffix == ".c":
            sources.append(Source(target, "kernel"))
    for name_below, text in library_files(kernels).items():
        target = f"{prefix}kernels/{VENDOR}/{name_below}"
        files.append(File(target, text.encode()))
        if target.endswith(".c"):
            sources.append(Source(target, "vendor"))
    vendor = tuple(f"{prefix}kernels/{VENDOR}/{folder}" for folder in library_include_dirs(kernels))
    files.append(File(f"{prefix}library.json", _library_json(model, prefix, [*folders, *vendor]).encode()))
    own = [f"{prefix}src", *sorted(folders - {f"{prefix}src"})]
    return Parts(files, sources, own, system_include_dirs=vendor)


def _library_json(model: Sources, prefix: str, folders: Iterable[str]) -> str:
    """The manifest of a PlatformIO library."""
    inside = sorted(folder.removeprefix(prefix) for folder in folders)
    manifest = {
        "name": model.name,
        "version": "1.0.0",
        "description": f"{model.title}: a neural network in static C99",
        "frameworks": "*",
        "platforms": "*",
        "build": {
            "srcDir": ".",
            "srcFilter": ["-<*>", "+<src/>", "+<kernels/>"]
            if prefix
            else ["-<*>", f"+<src/{model.name}*>", "+<kernels/>"],
            "includeDir": "src",
            "flags": [f"-I{folder}" for folder in inside],
        },
    }
    return json.dumps(manifest, indent=2) + "\n"


def _add_harness(parts: Parts, plan: Plan, identity: int) -> None:
    from tinyopt.generate.measuring import linker_script, measuring_defines, measuring_files, measuring_include_dirs

    board = plan.board
    for item in measuring_files(board):
        target = item.path.as_posix()
        parts.files.append(File(target, item.absolute.read_bytes()))
        if item.is_source:
            parts.sources.append(Source(target, item.role))
    parts.include_dirs += measuring_include_dirs(board)
    parts.defines = measuring_defines(board)
    script = linker_script(board)
    if script is not None:
        parts.linker_script = "linker.ld"
        parts.files.append(File("linker.ld", script.encode()))
    parts.defines += (f"TINYOPT_FIRMWARE_ID=0x{identity:016x}ull",)
