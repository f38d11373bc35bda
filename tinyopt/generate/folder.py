"""Writing a generated folder: complete or not at all, and never over somebody else's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyopt.errors import TinyoptError
from tinyopt.version import __version__

MANIFEST = "tinyopt-project.json"


@dataclass(frozen=True)
class File:
    """A file of the folder. ``starter``: meant to be edited, so an edited one is kept when the folder is renewed."""

    path: str
    content: bytes
    starter: bool = False


def write_folder(directory: Path, files: Sequence[File], facts: dict[str, str], *, force: bool = False) -> None:
    """Make ``directory`` hold exactly these files and those that a person added to it.

    The files are written to a folder beside it, which then takes its place.

    Raises:
        TinyoptError: when the folder is not one of ours and ``force`` is not set, or the disk refuses.
    """
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow a link to somewhere else
    old = _read_manifest(directory)
    _check_target(directory, old, force)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise TinyoptError(f"cannot write to {directory.parent}: {error.strerror}") from None
    try:
        fresh = staging / "new"
        for file in files:
            path = fresh / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_kept(directory, file, old))
        manifest = {
            "generator": f"tinyopt {__version__}",
            **facts,
            "files": {f.path: _digest(f.content) for f in files},
        }
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _swap(directory, fresh, staging / "old", set(old["files"]) | {MANIFEST} if old else set())
    except OSError as error:
        raise TinyoptError(f"cannot write {directory}: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        ours = str(manifest["generator"]).startswith("tinyopt ") and isinstance(manifest["files"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if ours else None


def _check_target(directory: Path, old: dict[str, Any] | None, force: bool) -> None:
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise TinyoptError(f"{directory} exists and is not a folder; choose another place")
    if not directory.exists() or not any(directory.iterdir()):
        return
    homes = (Path.cwd(), *Path.cwd().parents, Path.home(), *Path.home().parents)
    if old is None and directory in homes:
        raise TinyoptError(f"{directory} is not a place for a project; name a new folder in it")
    if old is None and not force:
        raise TinyoptError(f"{directory} holds files that tinyopt did not write; choose a new folder, or use force")


def _kept(directory: Path, file: File, old: dict[str, Any] | None) -> bytes:
    """The content to write: the old one if it is a starter file that was edited."""
    path = directory / file.path
    if file.starter and old is not None and path.is_file():
        content = path.read_bytes()
        if old["files"].get(file.path) != _digest(content):
            return content
    return file.content


def _swap(directory: Path, fresh: Path, aside: Path, ours: set[str]) -> None:
    """Put ``fresh`` in the place of ``directory``, and take over the files in it that are not ours."""
    if not directory.exists():
        fresh.rename(directory)
        return
    directory.rename(aside)
    try:
        fresh.rename(directory)
    except OSError:
        aside.rename(directory)
        raise
    if ours:
        _carry_over(aside, directory, ours)


def _carry_over(source: Path, target: Path, ours: set[str]) -> None:
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        goal = target / relative
        is_foreign = (path.is_symlink() or not path.is_dir()) and relative not in ours
        if is_foreign and not goal.exists():
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.rename(goal)
