"""Which kernel files a plan needs: the sources it calls, and every header they include, directly or not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tinyopt.plan.kernel import Kernel
from tinyopt.resources import resource

VENDOR = "cmsis-nn"
"""Folder of a library's files in the ``kernels`` folder of a project."""

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([A-Za-z0-9_./-]+)"', re.MULTILINE)


def kernel_files(kernels: Iterable[Kernel]) -> tuple[Path, ...]:
    """Files below the ``kernels`` folder of the firmware, relative to it, sorted: ``.c`` and ``.h``."""
    root = resource("firmware") / "kernels"
    waiting: list[Path] = []
    for kernel in kernels:
        folder = root / kernel.family
        waiting += [folder / kernel.source, folder / f"{kernel.family}.h"]
        waiting += [_find(root, folder, name) for name in kernel.needs]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _included(root, path)
        companion = path.with_suffix(".c")
        if path.suffix == ".h" and path.parent.name == "common" and companion.is_file():
            waiting.append(companion)
    return tuple(sorted(path.relative_to(root) for path in found))


def library_files(kernels: Iterable[Kernel]) -> dict[str, str]:
    """Files of the libraries that kernels are adapters to: path below ``VENDOR`` → text."""
    found: dict[str, str] = {}
    for kernel in kernels:
        if kernel.library is not None:
            found.update(kernel.library.closure(kernel.functions))
    return dict(sorted(found.items()))


def library_include_dirs(kernels: Iterable[Kernel]) -> tuple[str, ...]:
    """Folders of the libraries' headers, below ``VENDOR``."""
    folders = [folder for kernel in kernels if kernel.library is not None for folder in kernel.library.include_dirs()]
    return tuple(dict.fromkeys(folders))


@cache
def _included(root: Path, path: Path) -> tuple[Path, ...]:
    names = _INCLUDE.findall(path.read_text(encoding="utf-8"))
    return tuple(_find(root, path.parent, name) for name in names)


@cache
def _find(root: Path, folder: Path, name: str) -> Path:
    """A file named by a kernel or an include: beside it, in ``common``, or in another family."""
    for candidate in (folder / name, root / "common" / name, root / name, *sorted(root.glob(f"*/{name}"))):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"the kernel file '{name}', needed by {folder.name}, is not in this installation")
