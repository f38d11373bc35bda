"""A bound on stack depth from the compiler's call graph (``-fcallgraph-info=su``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_USE = re.compile(r"(\d+) bytes \((static|dynamic|dynamic,bounded)\)")


@dataclass(frozen=True)
class StackBound:
    """Deepest stack below the caller of a function.

    ``known_bytes``: over all paths through functions whose frames the compiler reported. ``unknown``: functions on
    the way whose frames it did not report (the C library, calls through pointers, frames of dynamic size); the bound
    is only complete when there are none.
    """

    known_bytes: int
    unknown: tuple[str, ...]


def stack_bound(files: Iterable[Path], function: str) -> StackBound | None:
    """Stack bound of a function from GCC's ``.ci`` files; None when they do not mention it.

    A recursive call counts as unknown.
    """
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    unknown: set[str] = set()
    for path in files:
        text = path.read_text(errors="replace")
        for title, label in _NODE.findall(text):
            use = _USE.search(label)
            if use:
                frames[title] = int(use[1])
                if use[2] == "dynamic":
                    calls.setdefault(title, set()).add(f"dynamic frame of {_plain(title)}")
        for source, target in _EDGE.findall(text):
            calls.setdefault(source, set()).add(target)
    if function not in frames:
        return None
    depths: dict[str, int] = {}
    # Depth first without recursion: a function is finished after everything that it calls.
    stack: list[tuple[str, bool]] = [(function, False)]
    open_functions: set[str] = set()
    while stack:
        name, finished = stack.pop()
        if finished:
            open_functions.discard(name)
            depths[name] = frames[name] + max((depths.get(c, 0) for c in calls.get(name, ())), default=0)
            continue
        if name in depths:
            continue
        if name not in frames:
            unknown.add(_plain(name))
            depths[name] = 0
            continue
        open_functions.add(name)
        stack.append((name, True))
        for callee in calls.get(name, ()):
            if callee in open_functions:
                unknown.add(f"recursion through {_plain(callee)}")
            elif callee not in depths:
                stack.append((callee, False))
    return StackBound(depths[function], tuple(sorted(unknown)))


def _plain(title: str) -> str:
    """Static functions are titled ``file.c:name``; external ones by name, calls through pointers in words."""
    return title.rpartition(":")[2].replace("__indirect_call", "a call through a pointer")
