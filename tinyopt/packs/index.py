"""Packs of the public index, through cmsis-pack-manager: its cache is used, and filled where the network allows."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyopt.errors import BoardError, ToolError
from tinyopt.packs.archive import open_description
from tinyopt.packs.description import Device

_PART = r"[A-Za-z0-9_.+-]+"
_NO_INDEX = "the index of CMSIS-Packs is not in the cache and could not be downloaded: is there a network?"
_BY_HAND = "download the pack with a browser (https://www.keil.arm.com/packs)"


@dataclass(frozen=True)
class PackReference:
    """A pack of the index; ``version``: empty for the newest."""

    vendor: str
    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.vendor}::{self.name}" + (f"@{self.version}" if self.version else "")


def parse_reference(text: str) -> PackReference:
    """``ARM::CMSIS-NN`` or ``ARM::CMSIS-NN@7.0.0``.

    Raises:
        ToolError: it is of another form.
    """
    match = re.fullmatch(rf"({_PART})::({_PART})(?:@({_PART}))?", text)
    if match is None or ".." in text:
        raise ToolError(f"'{text[:60]}' names no pack; write VENDOR::NAME or VENDOR::NAME@VERSION, as in ARM::CMSIS-NN")
    return PackReference(match[1], match[2], match[3] or "")


def find_in_index(name: str, *, cache: Path | None = None, update: bool = False) -> Device:
    """A device of the index. What the cache does not hold is downloaded.

    ``cache``: folder of cmsis-pack-manager's cache, else its own; ``update``: download the index even if the device is
    in the cache.

    Raises:
        ToolError: cmsis-pack-manager is not installed, or the index could not be downloaded.
        BoardError: no pack describes such a device.
    """
    manager = _manager(cache)
    if update or _matching(name, _index(manager)) is None:
        _download_index(manager)
        manager = _manager(cache)
    index = _index(manager)
    found = _matching(name, index)
    if found is None and not index:
        raise ToolError(f"{_NO_INDEX} Without one, {_BY_HAND} and name it with --pack FILE")
    if found is None:
        near = difflib.get_close_matches(name.upper(), index, n=4, cutoff=0.6)
        hint = f"; did you mean {', '.join(near)}?" if near else "; names are like STM32L4R5ZITx or nRF52840_xxAA"
        raise BoardError(f"no pack of the index describes a device '{name}'{hint}")
    reference = _origin_of(found, index[found])
    path = Path(manager.data_path) / f"{reference.vendor}.{reference.name}.{reference.version}.pdsc"
    if not path.is_file():
        raise ToolError(f"the cache has no description of {reference}; update it with --update, or {_BY_HAND}")
    return open_description(path).device(found)


def fetch_packs(references: Sequence[PackReference], folder: Path, *, cache: Path | None = None) -> list[Path]:
    """Copy packs of the index to a folder, as ``VENDOR.NAME.VERSION.pack``; what the cache does not hold is downloaded.

    Raises:
        ToolError: cmsis-pack-manager is not installed, there is no such pack, or it could not be downloaded.
    """
    manager = _manager(cache)
    found = [_newest(manager, reference) for reference in references]
    if None in found:
        _download_index(manager)
        found = [_newest(manager, reference) for reference in references]
    paths = []
    for wanted, reference in zip(references, found):
        if reference is None:
            raise ToolError(_no_such_pack(manager, wanted))
        stored = Path(manager.data_path) / reference.vendor / reference.name / f"{reference.version}.pack"
        if not stored.is_file():
            _download_pack(manager, reference)
        if not stored.is_file():
            raise ToolError(f"{reference} could not be downloaded: is there a network? Without one, {_BY_HAND}")
        target = folder / f"{reference.vendor}.{reference.name}.{reference.version}.pack"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stored, target)
        except OSError as error:
            raise ToolError(f"cannot write {target}: {error.strerror}") from None
        paths.append(target)
    return paths


def _manager(cache: Path | None) -> Any:
    try:
        import cmsis_pack_manager
    except ImportError:
        raise ToolError(
            "cmsis-pack-manager is not installed; to install it: pip install 'tinyopt[packs]'. Without it, "
            f"{_BY_HAND} and name it with --pack FILE"
        ) from None
    folder = str(cache) if cache is not None else None
    return cmsis_pack_manager.Cache(True, False, json_path=folder, data_path=folder)


def _index(manager: Any) -> Mapping[str, Any]:
    """Device name → entry; empty where the cache has no index, or one that is broken."""
    try:
        index = manager.index
    except (ValueError, OSError):
        return {}
    return index if isinstance(index, dict) else {}


def _matching(name: str, index: Mapping[str, Any]) -> str | None:
    """The device's name as the index writes it: letter case is ignored, and a beginning that only one has suffices."""
    lower = {known.lower(): known for known in index}
    if name.lower() in lower:
        return lower[name.lower()]
    begin = [known for key, known in lower.items() if name and key.startswith(name.lower())]
    if len(begin) > 1:
        listed = ", ".join(sorted(begin)[:8])
        raise BoardError(f"several devices of the index begin with '{name}': {listed}; name one of them")
    return begin[0] if begin else None


def _origin_of(device: str, entry: Any) -> PackReference:
    origin = entry.get("from_pack") if isinstance(entry, dict) else None
    parts = [str(origin.get(key, "")) for key in ("vendor", "pack", "version")] if isinstance(origin, dict) else []
    if len(parts) != 3 or any(not re.fullmatch(_PART, part) or ".." in part for part in parts):
        raise ToolError(f"the cached index does not say which pack describes {device}; update it with --update")
    return PackReference(*parts)


def _download_index(manager: Any) -> None:
    """Fill the cache. cmsis-pack-manager replaces its index by an empty one where it reaches nobody: kept here."""
    with _kept(Path(manager.index_path)), _kept(Path(manager.aliases_path)):
        try:
            Path(manager.index_path).parent.mkdir(parents=True, exist_ok=True)
            manager.cache_descriptors()
        except OSError as error:
            raise ToolError(f"cannot write the cache of packs, {manager.data_path}: {error.strerror}") from None
        except Exception as error:  # the library raises bare exceptions with the message of its Rust half
            raise ToolError(f"the index of CMSIS-Packs could not be downloaded: {_said(error)}") from None


def _download_pack(manager: Any, reference: PackReference) -> None:
    import cmsis_pack_manager

    try:
        manager.download_pack_list(
            [cmsis_pack_manager.CmsisPackRef(reference.vendor, reference.name, reference.version)]
        )
    except Exception as error:
        raise ToolError(f"{reference} could not be downloaded: {_said(error)}; without network, {_BY_HAND}") from None


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Puts a file back that is empty, a few bytes of nothing, or gone afterwards."""
    before = path.read_bytes() if path.is_file() else b""
    try:
        yield
    finally:
        after = path.read_bytes() if path.is_file() else b""
        if len(after) < 8 <= len(before):
            path.write_bytes(before)


def _said(error: Exception) -> str:
    told = error.args[0] if error.args else error
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return " ".join(text.split())[:200] or type(error).__name__


def _newest(manager: Any, reference: PackReference) -> PackReference | None:
    """The newest release of a pack whose description is in the cache."""
    stem = f"{reference.vendor}.{reference.name}."
    versions = []
    for path in Path(manager.data_path).glob("*.pdsc"):
        version = path.name[len(stem) : -len(".pdsc")]
        if path.name.lower().startswith(stem.lower()) and re.match(r"\d", version):
            versions.append((path.name[: len(stem) - 1], version))
    if reference.version:
        versions = [item for item in versions if item[1] == reference.version]
    if not versions:
        return None
    named, version = max(versions, key=lambda item: _precedence(item[1]))
    vendor, name = named[: len(reference.vendor)], named[len(reference.vendor) + 1 :]
    return PackReference(vendor, name, version)


def _precedence(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Semantic versions in order; a release is newer than what led to it."""
    numbers, dash, rest = version.partition("-")
    return tuple(int(part) for part in re.findall(r"\d+", numbers)), not dash, rest


def _no_such_pack(manager: Any, reference: PackReference) -> str:
    known = {".".join(path.name.split(".")[:2]) for path in Path(manager.data_path).glob("*.pdsc")}
    if not known:
        return f"{_NO_INDEX} Without one, {_BY_HAND}"
    near = difflib.get_close_matches(f"{reference.vendor}.{reference.name}", known, n=3, cutoff=0.6)
    hint = f"; did you mean {', '.join(item.replace('.', '::', 1) for item in near)}?" if near else ""
    return f"the index has no pack {reference}{hint}"
