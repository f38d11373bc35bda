"""The cycle model of emulated boards: a QEMU plugin that counts instructions and estimates cycles.

QEMU executes instructions, not cycles. The plugin (C, beside this file) decodes every instruction once, adds up costs
per block, and corrects for taken branches. It is compiled on first use with the host's C compiler and kept in the
user's cache folder. What it counts is exact (instructions) or an estimate (cycles); docs/cycles.md states the error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tinyopt.board import Memory
from tinyopt.errors import ToolError

_FOLDER = Path(__file__).resolve().parent
_SOURCES = ("plugin.c", "cost.c", "dual_issue.c", "memory.c", "decode_thumb2.c", "sources_thumb2.c", "decode_riscv.c")
_HEADERS = ("cost.h", "decode.h", "memory.h", "sources_thumb2.h", "qemu_plugin_api.h")

CORES = {
    "cortex-m0": "m0",
    "cortex-m0plus": "m0plus",
    "cortex-m3": "m3",
    "cortex-m4": "m4",
    "cortex-m7": "m7",
    "cortex-m33": "m33",
    "cortex-m55": "m55",
    "rv32imc": "rv32",
    "rv32imac": "rv32",
}
"""Core of a board file → core model of the plugin."""


@dataclass(frozen=True)
class Counts:
    """What a stretch of code took.

    ``instructions`` (exact), ``cycles`` (estimated), how many of these the core waited for slow memories, and the bytes
    of data that it read from and wrote to each counted memory (exact; instructions that are fetched are not data).
    """

    instructions: int
    cycles: int
    wait_cycles: int = 0
    bytes_read: tuple[int, ...] = ()
    bytes_written: tuple[int, ...] = ()


@dataclass(frozen=True)
class InferenceCounts:
    """One inference: the total, and each layer in order."""

    total: Counts
    layers: tuple[Counts, ...]


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tinyopt"


@cache
def _api_version(program: str) -> int:
    """The plugin interface of a QEMU program, from its release.

    Raises:
        ToolError: when the program cannot be asked.
    """
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"cannot ask {program} for its version: {error}") from None
    match = re.search(r"version (\d+)\.(\d+)", text)
    if not match:
        raise ToolError(f"cannot read the version of {program} from '{text[:80]}'")
    release = (int(match[1]), int(match[2]))
    if release < (9, 0):
        return 1
    if release < (9, 1):
        return 2
    return 3 if release < (9, 2) else 4


def build_plugin(program: str) -> Path:
    """The compiled plugin for a QEMU program; built once per version of its sources.

    Raises:
        ToolError: when the host has no C compiler (names the package), or the sources do not compile.
    """
    version = _api_version(program)
    digest = hashlib.sha256(str(version).encode())
    for name in (*_SOURCES, *_HEADERS):
        digest.update((_FOLDER / name).read_bytes())
    target = _cache_folder() / f"cycles-{digest.hexdigest()[:16]}.so"
    if target.is_file():
        return target
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise ToolError("the cycle model needs a C compiler on this machine: apt-get install gcc")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        command = [compiler, "-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]
        command += [f"-DQEMU_PLUGIN_VERSION={version}", "-o", str(made)]
        command += [str(_FOLDER / name) for name in _SOURCES]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if result.returncode:
            raise ToolError(f"the cycle model does not compile:\n{result.stderr[-2000:]}")
        made.replace(target)
    return target


def plugin_option(program: str, core: str, output: Path, memories: Sequence[Memory] = ()) -> str:
    """The value of QEMU's ``-plugin`` option that writes one line per inference to ``output``.

    ``memories``: those whose accesses are counted, at most 32, with the timing they have.

    Raises:
        ToolError: when the core has no model, or the plugin cannot be built.
    """
    if core not in CORES:
        raise ToolError(f"there is no cycle model for the core '{core}'; known: {', '.join(sorted(CORES))}")
    parts = [str(build_plugin(program)), f"core={CORES[core]}", f"out={output}"]
    parts += [f"memory={_memory_option(memory)}" for memory in memories]
    return ",".join(parts)


def _memory_option(memory: Memory) -> str:
    """A memory in the form that ``parse_memory`` of memory.h reads."""
    option = f"{memory.origin:#x}:{memory.size:#x}"
    if not memory.wait_states:
        return option
    fields: list[int] = [memory.wait_states, memory.line_bytes, memory.prefetch, memory.shared_cache is not None]
    for kept in (memory.shared_cache or memory.instruction_cache, memory.data_cache):
        fields += [kept.size // memory.line_bytes, kept.ways] if kept else [0, 0]
    return ":".join([option, *(str(int(field)) for field in fields)])


def read_counts(output: Path) -> list[InferenceCounts]:
    """What the plugin wrote, one entry per inference; an unfinished last line is left out."""
    results = []
    for line in output.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        item = json.loads(line)
        results.append(InferenceCounts(_counts(item["total"]), tuple(_counts(layer) for layer in item["layers"])))
    return results


def _counts(item: Sequence[Any]) -> Counts:
    instructions, cycles, waited, read, written = item
    return Counts(instructions, cycles, waited, tuple(read), tuple(written))
