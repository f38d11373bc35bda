"""Reading model files: one clear error for everything that can be wrong with a path."""

from __future__ import annotations

from pathlib import Path

from tinyopt.errors import ModelError

MAXIMUM_BYTES = (1 << 31) - 1


def read_bytes(path: str | Path) -> bytes:
    """The content of a model file.

    Raises:
        ModelError: when it does not exist, is no file, cannot be read, is empty, or is 2 GB and more.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(f"there is no model file {path}")
    if not path.is_file():
        raise ModelError(f"{path} is not a file")
    try:
        size = path.stat().st_size
        if size > MAXIMUM_BYTES:
            raise ModelError(f"{path} has {size} bytes; models up to {MAXIMUM_BYTES} bytes can be read")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    if not data:
        raise ModelError(f"{path} is empty")
    return data
