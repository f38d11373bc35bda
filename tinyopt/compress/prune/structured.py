"""Structured pruning: whole channels and neurons leave."""

from __future__ import annotations

from tinyopt.compress.prune.coupling import NO_ATOM, Coupling, Role


def removable_groups(coupling: Coupling) -> list[int]:
    """Groups that some layer makes and that nothing holds back, in order of their first atom."""
    found: dict[int, None] = {}
    for cut in coupling.cuts:
        if cut.role is Role.ROW:
            for group in coupling.atoms.groups(cut.atoms).tolist():
                if group != NO_ATOM and coupling.atoms.reason(group) is None:
                    found.setdefault(group)
    return list(found)
