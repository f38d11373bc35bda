"""Sizes of a linked program, by section and by object file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from tinyopt.errors import ToolError


@dataclass(frozen=True)
class Sections:
    """Bytes of the loaded sections of an ELF file.

    ``text``: executable. ``rodata``: constants. ``data``: initialised variables, which take flash for their initial
    values and RAM. ``bss``: zeroed variables.
    """

    text: int
    rodata: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        """Bytes of the image."""
        return self.text + self.rodata + self.data

    @property
    def ram(self) -> int:
        """Bytes of static variables; the stack comes on top."""
        return self.data + self.bss


def elf_sections(path: Path) -> Sections:
    """Section sizes of an ELF file; a section named ``.stack`` only reserves space and is not counted.

    Raises:
        ToolError: when the file is no ELF file.
    """
    text = rodata = data = bss = 0
    try:
        with path.open("rb") as stream:
            for section in ELFFile(stream).iter_sections():
                flags, size = section["sh_flags"], section["sh_size"]
                if not flags & SH_FLAGS.SHF_ALLOC or section.name == ".stack":
                    continue
                if section["sh_type"] == "SHT_NOBITS":
                    bss += size
                elif flags & SH_FLAGS.SHF_EXECINSTR:
                    text += size
                elif flags & SH_FLAGS.SHF_WRITE:
                    data += size
                else:
                    rodata += size
    except (ELFError, OSError) as error:
        raise ToolError(f"cannot read the linked program {path}: {error}") from None
    return Sections(text, rodata, data, bss)


def function_at(path: Path, address: int) -> str | None:
    """Name of the function whose code holds an address; None when there is none.

    Raises:
        ToolError: when the file is no ELF file.
    """
    try:
        with path.open("rb") as stream:
            symbols = ELFFile(stream).get_section_by_name(".symtab")
            if symbols is None:
                return None
            for symbol in symbols.iter_symbols():
                start = symbol["st_value"] & ~1  # Thumb functions have odd addresses
                if symbol["st_info"]["type"] == "STT_FUNC" and start <= address < start + symbol["st_size"]:
                    return str(symbol.name)
    except (ELFError, OSError) as error:
        raise ToolError(f"cannot read the linked program {path}: {error}") from None
    return None


_CONTRIBUTION = re.compile(r"^ (\.[\w.$-]+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Contribution:
    """An input section that the linker kept: its name, its size in bytes, and the object file it is from."""

    section: str
    size: int
    object_file: str


def map_contributions(text: str) -> list[Contribution]:
    """The kept input sections in a GNU ld map file. Names that are too long for their column stand on a line alone."""
    _, _, kept = text.partition("Linker script and memory map")
    joined = re.sub(r"^( \.[\w.$-]+)\n\s+", r"\1 ", kept, flags=re.MULTILINE)
    return [
        Contribution(match[1], int(match[3], 16), match[4].strip())
        for match in _CONTRIBUTION.finditer(joined)
        if int(match[3], 16)
    ]


_LOADED = (".text", ".rodata", ".data", ".sdata", ".srodata", ".ARM.exidx")


def loaded_bytes(contributions: Iterable[Contribution], objects: Iterable[Path]) -> int:
    """Bytes of code, constants and initialised variables from these object files."""
    names = {str(path) for path in objects}
    return sum(c.size for c in contributions if c.object_file in names and c.section.startswith(_LOADED))
