"""A CMSIS-NN that the user named: a folder, a CMSIS-Pack or a PlatformIO library, read into memory."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

from tinyopt.cmsis_nn import ctext
from tinyopt.cmsis_nn.signatures import differences
from tinyopt.errors import TinyoptError

ENVIRONMENT = "TINYOPT_CMSIS_NN"
_HEADER = "arm_nnfunctions.h"
_CORE = "cmsis_compiler.h"
_LARGEST_FILE = 4 << 20
_MOST_FILES = 20000
_SKIPPED = frozenset({"tests", "test", "examples", "documentation", "doxygen", "node_modules", "build"})


@dataclass(frozen=True, eq=False)
class Library:
    """The sources of one CMSIS-NN.

    ``files``: C files and headers by path below its root folder; ``licences``: licence files likewise; ``core``: the
    CMSIS-Core compiler headers by name, where the release needs them (4.0.0 and older).
    """

    origin: str
    """What the user named, for messages."""
    include: str
    """Folder of ``arm_nnfunctions.h`` below the root."""
    files: Mapping[str, str]
    licences: Mapping[str, str]
    core: Mapping[str, str]

    @cached_property
    def declared(self) -> Mapping[str, tuple[str, ...]]:
        """Functions that the public header declares, with their parameter types."""
        return ctext.prototypes(self.files[_below(self.include, _HEADER)])

    @cached_property
    def _internal(self) -> frozenset[str]:
        header = self.files.get(_below(self.include, "arm_nnsupportfunctions.h"), "")
        return frozenset(self.declared) | frozenset(ctext.prototypes(header))

    @cached_property
    def _definitions(self) -> Mapping[str, str]:
        return ctext.definitions({path: text for path, text in self.files.items() if path.endswith(".c")})

    @cached_property
    def revision(self) -> str:
        """The public header's own revision: ``"V.19.1.0"``; empty where it has none."""
        found = re.search(r"\$Revision:\s*(\S+)", self.files[_below(self.include, _HEADER)])
        return found[1] if found else ""

    @property
    def title(self) -> str:
        return f"CMSIS-NN ({_HEADER} {self.revision or 'without a revision'})"

    @cache  # noqa: B019 - libraries live as long as the process
    def sources_of(self, function: str) -> frozenset[str] | None:
        """The C files that a function needs, through everything that it calls; None where one of them is missing."""
        if function not in self.declared:
            return None
        waiting, found = [function], set()
        while waiting:
            name = waiting.pop()
            path = self._definitions.get(name)
            if path is None:
                return None
            if path in found:
                continue
            found.add(path)
            used = ctext.names(self.files[path])
            waiting += sorted(used & (self._internal | frozenset(self._definitions)))
        return frozenset(found)

    def has(self, *functions: str) -> bool:
        """Whether the library holds everything that these functions need."""
        return all(self.sources_of(function) is not None for function in functions)

    def closure(self, functions: Iterable[str]) -> dict[str, str]:
        """Sources and headers that functions need, and the licences: path in a project's vendor folder → text."""
        waiting = {path for function in functions for path in self.sources_of(function) or ()}
        found: dict[str, str] = {}
        while waiting:
            path = waiting.pop()
            text = self.core[path.removeprefix("Core/")] if path.startswith("Core/") else self.files[path]
            found[path] = text
            waiting |= {target for name in ctext.includes(text) if (target := self._included(path, name))} - set(found)
        found.update(self.licences)
        return dict(sorted(found.items()))

    def include_dirs(self) -> tuple[str, ...]:
        """Folders of the headers in a project's vendor folder."""
        return (self.include, "Core") if self.core else (self.include,)

    def _included(self, path: str, name: str) -> str | None:
        """The file that an ``#include`` means: beside the one that includes it, among the headers, or in CMSIS-Core."""
        for folder in (str(PurePosixPath(path).parent), self.include):
            candidate = os.path.normpath(_below(folder, name)).replace(os.sep, "/")
            if candidate in self.files:
                return candidate
        return f"Core/{name}" if name in self.core else None


def _below(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def open_library(where: str | Path | None = None) -> Library:
    """Read the CMSIS-NN that ``where`` names, or else the environment variable ``TINYOPT_CMSIS_NN``.

    A folder (a checkout, an unpacked CMSIS-Pack, a PlatformIO library or the folder around it), a ``.pack`` file, or
    several of these separated as in ``PATH``, where CMSIS-NN needs headers of CMSIS-Core that lie elsewhere.

    Raises:
        TinyoptError: nothing is named or found there, headers that it needs are missing, or its declarations are not
            those of the releases that tinyopt knows.
    """
    named = str(where or os.environ.get(ENVIRONMENT, ""))
    if not named:
        raise TinyoptError(
            "CMSIS-NN is not part of tinyopt: name its folder, CMSIS-Pack or PlatformIO library with --cmsis-nn PATH, "
            f"or in {ENVIRONMENT} (sources: https://github.com/ARM-software/CMSIS-NN)"
        )
    paths = tuple(Path(part).expanduser() for part in named.split(os.pathsep) if part)
    return _open(named, tuple((str(path.absolute()), _modified(path)) for path in paths))


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@cache
def _open(named: str, places: tuple[tuple[str, int], ...]) -> Library:
    found: dict[str, str] = {}
    for number, (place, _) in enumerate(places):
        prefix = f"{number}/" if len(places) > 1 else ""
        found.update({f"{prefix}{path}": text for path, text in _texts(Path(place)).items()})
    headers = sorted((path for path in found if PurePosixPath(path).name == _HEADER), key=lambda p: (p.count("/"), p))
    if not headers:
        raise TinyoptError(f"there is no CMSIS-NN in {named}: no {_HEADER} was found in it")
    folder = PurePosixPath(headers[0]).parent
    root = folder.parent if folder.parts else folder
    inside = {
        str(PurePosixPath(path).relative_to(root)): text
        for path, text in found.items()
        if PurePosixPath(path).is_relative_to(root)
    }
    library = Library(
        origin=named,
        include=str(folder.relative_to(root)),
        files={path: text for path, text in inside.items() if path.endswith((".c", ".h"))},
        licences=_licences(inside),
        core=_core(named, found, inside),
    )
    _check(library)
    return library


def _core(named: str, found: Mapping[str, str], inside: Mapping[str, str]) -> dict[str, str]:
    """The CMSIS-Core compiler headers, where a header of the library includes them."""
    if not any(_CORE in ctext.includes(text) for path, text in inside.items() if path.endswith(".h")):
        return {}
    homes = sorted(path for path in found if PurePosixPath(path).name == _CORE)
    if not homes:
        raise TinyoptError(
            f"the CMSIS-NN in {named} needs the compiler headers of CMSIS-Core ({_CORE}), which are not there; name a "
            f"folder that holds both, or add the folder of CMSIS-Core behind a '{os.pathsep}'"
        )
    folder = PurePosixPath(homes[0]).parent
    chosen: dict[str, str] = {}
    waiting = [_CORE]
    while waiting:
        name = waiting.pop()
        text = found.get(str(folder / name))
        if text is None or name in chosen:
            continue
        chosen[name] = text
        waiting += ctext.includes(text)
    return chosen


def _licences(inside: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in inside.items() if re.match(r"licen[cs]e", path.lower())}


def _check(library: Library) -> None:
    header = library.files.get(_below(library.include, "arm_nn_types.h"), "")
    wrong = differences(library.declared, ctext.structs(header))
    if wrong:
        raise TinyoptError(
            f"{library.title} in {library.origin} has other interfaces than tinyopt knows (releases 4.0.0 to 7.0.0 and "
            "the development of 2026):\n" + "\n".join(f"  {line}" for line in wrong[:6])
        )


def _texts(place: Path) -> dict[str, str]:
    """C files, headers and licences below a folder or in a pack, by path."""
    if place.is_dir():
        return _folder_texts(place)
    if not place.is_file():
        raise TinyoptError(f"{place} does not exist; --cmsis-nn wants a folder or a .pack file")
    try:
        with zipfile.ZipFile(place) as pack:
            wanted = [item for item in pack.infolist() if _is_wanted(PurePosixPath(item.filename), item.file_size)]
            return {item.filename: pack.read(item).decode("utf-8", "replace") for item in wanted[:_MOST_FILES]}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise TinyoptError(f"{place} is not a CMSIS-Pack that can be read: {error}") from None


def _folder_texts(place: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if name.lower() not in _SKIPPED and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            relative = path.relative_to(place).as_posix()
            try:
                if _is_wanted(PurePosixPath(relative), path.stat().st_size):
                    texts[relative] = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise TinyoptError(f"cannot read {path}: {error.strerror}") from None
        if len(texts) > _MOST_FILES:
            raise TinyoptError(f"{place} holds too many C files to be CMSIS-NN; name its own folder")
    return texts


def _is_wanted(path: PurePosixPath, size: int) -> bool:
    folders = {part.lower() for part in path.parts[:-1]}
    is_text = path.suffix in (".c", ".h") or path.stem.lower().startswith(("license", "licence"))
    return is_text and size <= _LARGEST_FILE and not folders & _SKIPPED and ".." not in path.parts
