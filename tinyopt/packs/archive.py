"""Packs on disk: a ``.pdsc`` description, or a ``.pack`` archive with one in it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from tinyopt.errors import BoardError
from tinyopt.packs.description import Description, read_description

LARGEST_DESCRIPTION = 64 << 20
"""Bytes; the largest published ones have about a quarter of it."""
_MOST_FILES = 200_000


def open_description(path: Path) -> Description:
    """The description of a pack, from a ``.pdsc`` file or a ``.pack`` archive. Nothing is unpacked to disk.

    Raises:
        BoardError: it cannot be read, is no pack, or is an archive that is out to do harm (paths that lead outside,
            a description that unpacks beyond reason, XML entities).
    """
    if path.suffix.lower() == ".pdsc":
        try:
            if path.stat().st_size > LARGEST_DESCRIPTION:
                raise BoardError(f"{path} is larger than {LARGEST_DESCRIPTION >> 20} MiB: no pack description")
            data = path.read_bytes()
        except OSError as error:
            raise BoardError(f"cannot read {path}: {error.strerror}") from None
        return read_description(data, str(path))
    return read_description(*_from_archive(path))


def _from_archive(path: Path) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            item = _description_of(archive, path)
            with archive.open(item) as stream:
                # one byte more than allowed: what an archive says of sizes is not believed
                data = stream.read(LARGEST_DESCRIPTION + 1)
    except OSError as error:
        raise BoardError(f"cannot read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise BoardError(f"{path} is no pack (a zip archive) that can be read: {error}") from None
    if len(data) > LARGEST_DESCRIPTION:
        raise BoardError(f"{item.filename} in {path} unpacks to more than {LARGEST_DESCRIPTION >> 20} MiB: not read")
    return data, f"{path}, {item.filename}"


def _description_of(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    items = archive.infolist()
    if len(items) > _MOST_FILES:
        raise BoardError(f"{path} holds more than {_MOST_FILES:,} files: no pack")
    for item in items:
        if _leads_outside(item.filename):
            raise BoardError(f"{path} holds '{item.filename[:80]}', which would lie outside the pack: it is not read")
    found = [item for item in items if item.filename.lower().endswith(".pdsc") and not item.is_dir()]
    found.sort(key=lambda item: (item.filename.count("/"), item.filename))
    if not found:
        raise BoardError(f"there is no description (.pdsc) in {path}: it is not a CMSIS-Pack")
    top = [item for item in found if item.filename.count("/") == found[0].filename.count("/")]
    if len(top) > 1:
        names = ", ".join(item.filename for item in top[:3])
        raise BoardError(f"{path} has more than one description: {names}; name one of the .pdsc files instead")
    if found[0].file_size > LARGEST_DESCRIPTION:
        raise BoardError(f"{found[0].filename} in {path} unpacks to {found[0].file_size:,} bytes: not read")
    return found[0]


def _leads_outside(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or bool(PureWindowsPath(name).drive)
