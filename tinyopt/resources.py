"""Where the files that travel with tinyopt are: in the wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(kind: str) -> Path:
    """Folder of a kind of packaged file: ``"templates"``, ``"firmware"`` or ``"boards"``.

    Raises:
        FileNotFoundError: when the installation lacks the folder (a broken wheel).
    """
    for candidate in (_PACKAGE / "_data" / kind, _PACKAGE.parent / kind):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"this installation of tinyopt has no '{kind}' folder; reinstall the package")
