"""Names of graph tensors as names inside a torch module."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

_TAKEN = frozenset(dir(nn.Module())) | {"parametrizations"}


def attribute_names(names: Iterable[str]) -> dict[str, str]:
    """Tensor name → attribute name: the same where torch allows it.

    Torch splits names at dots, and an attribute must not hide one of the module's own (``half``,
    ``type``, ``forward``).
    """
    result: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        stem = name.replace(".", "_") or "_"
        if stem in _TAKEN:
            stem = f"{stem}_"
        attribute, number = stem, 0
        while attribute in used:
            number += 1
            attribute = f"{stem}_{number}"
        used.add(attribute)
        result[name] = attribute
    return result
