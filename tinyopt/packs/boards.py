"""A device of a pack as a board file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import yaml

from tinyopt.board.cores import CORES, Core, arm_flags
from tinyopt.errors import BoardError
from tinyopt.packs.description import Device, PackMemory, Processor

_OTHER_NAMES = {
    "cortex-m0+": "cortex-m0plus",
    "sc000": "cortex-m0",
    "sc300": "cortex-m3",
    "star-mc1": "cortex-m33",
    "star-mc3": "cortex-m52",
    "armv8mbl": "cortex-m23",
    "armv8mml": "cortex-m33",
    "armv81mml": "cortex-m55",
}
"""Cores, and architectures without a core, that compile like a core that tinyopt names."""

_MOST_MEMORIES = 32
_STACK = 8 << 10


def board_text(device: Device, *, name: str = "", processor: str = "", clock_hz: int = 0) -> str:
    """The board file of a device, as YAML with comments.

    ``name``: of the board, else made of the device's; ``processor``: Pname, needed where the device has several;
    ``clock_hz``: replaces the description's, or stands in for it.

    Raises:
        BoardError: there is no such processor, it is none that tinyopt compiles for, or memories or the clock are
            missing.
    """
    chosen = _chosen(device, processor)
    core, features, double = _core(device, chosen)
    clock = clock_hz or chosen.clock_hz
    if not clock:
        raise BoardError(f"the description of {device.name} has no clock (Dclock); say it with --clock, as in 64MHz")
    memories = _memories(device, chosen)
    name = name or board_name(device.name, chosen.name if len(device.processors) > 1 else "")
    title = f"{device.name}, {chosen.name}" if len(device.processors) > 1 else device.name
    lines = [
        *_comments(device, chosen, memories),
        f"name: {_scalar(name)}",
        f"title: {_quoted(f'{title} ({chosen.core}, {clock / 1e6:g} MHz)'[:120])}",
        f"core: {core.name}",
        f"features: [{', '.join(features)}]",
        f"clock_hz: {clock}",
        "memories:",
        *(_memory_line(kind, memory) for kind, memory in memories),
        "toolchain:",
        "  prefix: arm-none-eabi-",
        f"  flags: [{', '.join(arm_flags(core, features, double=double))}]",
        "port: semihosting",
        "startup: cortex_m",
        f"stack_bytes: {_stack(memories)}",
        f"device: {_scalar(re.sub('[^A-Za-z0-9_.-]', '_', device.name))}",
        "programmers:",
        f"  - {{tool: pyocd, target: {_scalar(re.sub('[^a-z0-9_-]', '_', device.name.lower()))}}}",
        f"source: {_quoted(f'CMSIS-Pack {device.pack}, device {device.name}')}",
    ]
    return "\n".join(lines) + "\n"


def board_name(device: str, processor: str = "") -> str:
    """A board's name from a device's: lower case, with underscores."""
    text = re.sub(r"[^a-z0-9]+", "_", f"{device} {processor}".lower()).strip("_")
    return (text if re.match(r"[a-z]", text) else f"board_{text}")[:48]


def _chosen(device: Device, wanted: str) -> Processor:
    names = [processor.name for processor in device.processors]
    for processor in device.processors:
        if processor.name.lower() == wanted.lower() and (wanted or len(names) == 1):
            return processor
    if len(names) == 1 and not wanted:
        return device.processors[0]
    has = ", ".join(f"{p.name or 'without a name'} ({p.core})" for p in device.processors)
    if not wanted:
        raise BoardError(f"{device.name} has several processors: {has}; choose one with --core")
    raise BoardError(f"{device.name} has no processor '{wanted}'; it has {has}")


def _core(device: Device, processor: Processor) -> tuple[Core, list[str], bool]:
    """The core, its features, and whether it computes in double precision."""
    text = processor.core.lower()
    core = CORES.get(_OTHER_NAMES.get(text, text))
    if core is None or not core.cpu:
        raise BoardError(
            f"{device.name} has a '{processor.core[:40] or 'nameless'}' core; tinyopt compiles for Cortex-M0 to M85 of "
            "CMSIS-Packs"
        )
    if processor.endian.lower() == "big-endian":
        raise BoardError(f"{device.name} is big-endian; tinyopt's kernels are for little-endian processors")
    fpu = processor.fpu.upper()
    features = set(core.features)
    if fpu in ("FPU", "1", "SP_FPU", "DP_FPU"):
        features.add("fpu")
    if processor.dsp.upper() in ("DSP", "1"):
        features.add("dsp")
    mve = processor.mve.upper()
    if mve in ("MVE", "1", "FP_MVE"):
        features |= {"mve", "dsp"} | ({"mve_fp", "fpu"} if mve == "FP_MVE" else set())
    features &= core.features | core.optional
    order = ("thumb2", "dsp", "fpu", "mve", "mve_fp")
    return core, [feature for feature in order if feature in features], fpu == "DP_FPU"


def _memories(device: Device, processor: Processor) -> list[tuple[str, PackMemory]]:
    """Kind and memory, in the order of board files: the flash that holds the code, the main RAM, then the others."""
    names = {memory.name for memory in device.memories}
    seen = [
        memory
        for memory in device.memories
        if memory.processor in ("", processor.name)
        and "p" not in memory.access
        and memory.size
        and memory.alias not in names
    ]
    seen = _joined(seen)
    code = _best([m for m in seen if "w" not in m.access]) or _best([m for m in seen if m.startup])
    ram = _best([m for m in seen if "w" in m.access and m is not code])
    if ram is None:
        raise BoardError(f"the description of {device.name} has no RAM; write the board file by hand (docs/boards.md)")
    chosen: list[tuple[str, PackMemory]] = [("flash", code)] if code is not None else []
    chosen.append(("ram", ram))
    for memory in seen:
        overlaps = any(memory.start < other.end and other.start < memory.end for _, other in chosen)
        if not overlaps and len(chosen) < _MOST_MEMORIES:
            chosen.append(("ram" if "w" in memory.access else "flash", memory))
    return _named(chosen)


def _best(memories: Sequence[PackMemory]) -> PackMemory | None:
    """The one that starts the program, else a default one, else one outside the code region, the largest of them."""

    def rank(memory: PackMemory) -> tuple[bool, bool, bool, int]:
        in_code_region = "w" in memory.access and memory.start < 0x20000000
        return memory.startup, memory.default, not in_code_region, memory.size

    return max(memories, key=rank, default=None)


def _joined(memories: Sequence[PackMemory]) -> list[PackMemory]:
    """Banks that follow each other and are alike are one memory."""
    joined: list[PackMemory] = []
    for memory in sorted(memories, key=lambda memory: memory.start):
        last = joined[-1] if joined else None
        if last is not None and last.end == memory.start and _likeness(last) == _likeness(memory):
            joined[-1] = replace(last, size=last.size + memory.size, startup=last.startup or memory.startup)
        else:
            joined.append(memory)
    return joined


def _likeness(memory: PackMemory) -> tuple[object, ...]:
    return "".join(sorted(memory.access)), memory.default, bool(memory.alias), "w" in memory.access and memory.startup


def _named(memories: Sequence[tuple[str, PackMemory]]) -> list[tuple[str, PackMemory]]:
    """With names that board files allow, each once."""
    used: set[str] = set()
    named = []
    for kind, memory in memories:
        stem = board_name(memory.name).removeprefix("board_") if memory.name[:1].isalpha() else board_name(memory.name)
        stem = stem[:40] or kind
        name, number = stem, 2
        while name in used:
            name, number = f"{stem}_{number}", number + 1
        used.add(name)
        named.append((kind, replace(memory, name=name)))
    return named


def _memory_line(kind: str, memory: PackMemory) -> str:
    return (
        f"  - {{name: {_scalar(memory.name)}, kind: {kind}, origin: 0x{memory.start:08x}, size: {_size(memory.size)}}}"
    )


def _size(size: int) -> str:
    for unit, letter in ((1 << 20, "M"), (1 << 10, "K")):
        if size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def _stack(memories: Sequence[tuple[str, PackMemory]]) -> int:
    """Eight kilobytes, or an eighth of a smaller RAM."""
    ram = next(memory for kind, memory in memories if kind == "ram")
    return min(_STACK, ram.size // 8 & ~7)


def _scalar(text: str) -> str:
    """A word, in quotes where YAML would take it for a number or a truth value."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text) and yaml.safe_load(text) == text
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """A YAML string in double quotes."""
    return '"' + _printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comments(device: Device, processor: Processor, memories: Sequence[tuple[str, PackMemory]]) -> list[str]:
    """Where the file is from, and what a debugger needs; flashing programs find the latter in the pack themselves."""
    lines = [f"{device.name} ({device.vendor}, family {device.family}) from the CMSIS-Pack {device.pack}"]
    lines += [
        f"Flash algorithm: {algorithm.file}, {algorithm.size:,} bytes from 0x{algorithm.start:08x}"
        + ("" if algorithm.default else " (not the default one)")
        for algorithm in device.algorithms
        if algorithm.processor in ("", processor.name)
        and any(m.start < algorithm.start + algorithm.size and algorithm.start < m.end for _, m in memories)
    ][:16]
    svd = device.svd.get(processor.name) or device.svd.get("")
    lines += [f"Registers: {svd}"] if svd else []
    return [f"# {_printable(line)[:200]}" for line in lines]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
