"""By what a measuring firmware is known: the model in it, however the project around it is built."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tinyopt.board import Board
from tinyopt.generate.folder import File


def firmware_identity(board: Board, library: Iterable[File], prefix: str = "") -> int:
    """64 bits that tell a firmware from those of other models, plans, kernels and boards.

    ``library``: files of the model's library, whose paths start with ``prefix``; its C files count.
    """
    digest = hashlib.sha256(board.name.encode())
    for file in sorted(library, key=lambda file: file.path):
        if file.path.endswith((".c", ".h")):
            place = file.path.removeprefix(prefix)
            digest.update(place.encode() + b"\0" + hashlib.sha256(file.content).digest())
    return int.from_bytes(digest.digest()[:8], "big")
