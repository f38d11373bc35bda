"""The bytes of a firmware for the flash: taken out of an ELF file, as a flat binary or Intel HEX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tinyopt.errors import ToolError

FLAT_LIMIT = 1 << 28
"""Largest flat binary; parts further apart than this do not belong to one flash."""


@dataclass(frozen=True)
class Segment:
    """Bytes and the address where they lie in the flash."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.data)


def load_segments(elf: Path) -> tuple[Segment, ...]:
    """What an ELF file puts into memory before it runs, by load address.

    Raises:
        ToolError: the file is no ELF file, is damaged, or holds nothing to load.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with elf.open("rb") as stream:
            segments = [
                Segment(segment["p_paddr"], segment.data())
                for segment in ELFFile(stream).iter_segments(type="PT_LOAD")
                if segment["p_filesz"]
            ]
    except OSError as error:
        raise ToolError(f"cannot read the firmware {elf}: {error.strerror}") from None
    except (ELFError, ValueError, KeyError, OverflowError) as error:
        raise ToolError(f"the firmware {elf} is no ELF file, or it is damaged: {error}") from None
    segments.sort(key=lambda segment: segment.address)
    if not segments:
        raise ToolError(f"the firmware {elf} holds nothing to load")
    for first, second in pairwise(segments):
        if first.end > second.address:
            raise ToolError(f"the firmware {elf} loads two different contents to address 0x{second.address:08x}")
    return tuple(segments)


def flat_binary(segments: Sequence[Segment], fill: int = 0xFF) -> Segment:
    """All segments as one, gaps filled as erased flash is.

    Raises:
        ToolError: they are too far apart.
    """
    start, end = segments[0].address, segments[-1].end
    if end - start > FLAT_LIMIT:
        raise ToolError(f"the firmware spans 0x{start:08x} to 0x{end:08x}: that is no single flash")
    data = bytearray([fill]) * (end - start)
    for segment in segments:
        data[segment.address - start : segment.end - start] = segment.data
    return Segment(start, bytes(data))


def intel_hex(segments: Sequence[Segment], line_bytes: int = 16) -> str:
    """Intel HEX with extended linear addresses (Intel, Hexadecimal Object File Format Specification, 1988)."""
    lines = []
    upper = 0
    for segment in segments:
        at = segment.address
        while at < segment.end:
            if at >> 16 != upper:
                upper = at >> 16
                lines.append(_record(0, 4, upper.to_bytes(2, "big")))
            count = min(line_bytes, segment.end - at, 0x10000 - (at & 0xFFFF))
            offset = at - segment.address
            lines.append(_record(at & 0xFFFF, 0, segment.data[offset : offset + count]))
            at += count
    lines.append(_record(0, 1, b""))
    return "\n".join(lines) + "\n"


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return ":" + (body + bytes([-sum(body) & 0xFF])).hex().upper()
