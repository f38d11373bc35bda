"""Names of layers and tensors as people read them."""

from __future__ import annotations


def short_name(name: str, width: int = 60) -> str:
    """The first of the names that converters join with semicolons; of a long one the end, where it says most."""
    first = name.split(";")[0]
    return first if len(first) <= width else "…" + first[len(first) - width + 1 :]
