"""A model's files without folders, for build systems that know one folder of sources and one of headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tinyopt.errors import TinyoptError
from tinyopt.generate.folder import File


def flatten(files: Sequence[File]) -> list[File]:
    """C files and headers under names that tell them apart; includes that name a renamed header follow it.

    ``kernels/conv2d_s8/ref.c`` becomes ``conv2d_s8_ref.c``; what is called by its own name already, and everything in
    ``common``, keeps it.
    """
    sources = [file for file in files if PurePosixPath(file.path).suffix in (".c", ".h")]
    names = {file.path: _name(PurePosixPath(file.path)) for file in sources}
    if len(set(names.values())) != len(names):
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        raise TinyoptError(f"the sources {', '.join(twice)} exist twice; choose a form of project that has folders")
    return [File(names[file.path], _renamed_includes(file, names)) for file in sources]


def _name(path: PurePosixPath) -> str:
    folder = path.parent.name
    if "kernels" not in path.parts or folder == "common" or path.stem == folder or "cmsis-nn" in path.parts:
        return path.name
    return f"{folder}_{path.name}"


def _renamed_includes(file: File, names: dict[str, str]) -> bytes:
    """An include names a file of the same folder, or one whose name is found on the search path."""
    folder = PurePosixPath(file.path).parent
    flat = set(names.values())

    def follow(found: re.Match[str]) -> str:
        path = PurePosixPath(found[2])
        name = names.get(str(folder / path), path.name if path.name in flat else found[2])
        return f"{found[1]}{name}{found[3]}"

    text = file.content.decode()
    return re.sub(r'^(\s*#\s*include\s+")([A-Za-z0-9_./-]+)(")', follow, text, flags=re.MULTILINE).encode()
