"""Map files and call graphs are read as GNU ld and GCC write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyopt.build.sizes import Contribution, elf_sections, loaded_bytes, map_contributions
from tinyopt.build.stack import stack_bound
from tinyopt.errors import ToolError

MAP = """
Discarded input sections

 .text.gone     0x00000000       0x10 /p/a.o

Linker script and memory map

.text           0x00000040      0x100
 *(.text .text.*)
 .text.short    0x00000040       0x20 /p/a.o
                0x00000040                short
 .text.a_function_with_a_very_long_name
                0x00000060       0x30 /p/b c.o
                0x00000060                a_function_with_a_very_long_name
 *fill*         0x00000090        0x2
 .rodata.table  0x000000a0       0x40 /lib/libc.a(exp.o)
 .bss.zero      0x20000000       0x99 /p/a.o
 .text.empty    0x00000090        0x0 /p/a.o
"""


def test_kept_sections_are_read_with_their_files() -> None:
    assert map_contributions(MAP) == [
        Contribution(".text.short", 0x20, "/p/a.o"),
        Contribution(".text.a_function_with_a_very_long_name", 0x30, "/p/b c.o"),
        Contribution(".rodata.table", 0x40, "/lib/libc.a(exp.o)"),
        Contribution(".bss.zero", 0x99, "/p/a.o"),
    ]


def test_zeroed_variables_are_not_loaded() -> None:
    assert loaded_bytes(map_contributions(MAP), [Path("/p/a.o")]) == 0x20


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.elf").write_bytes(b"nothing")
    with pytest.raises(ToolError, match=r"x\.elf"):
        elf_sections(tmp_path / "x.elf")


def node(name: str, frame: str) -> str:
    return f'node: {{ title: "{name}" label: "{name}\\na.c:1:1\\n{frame}" }}\n'


def edge(source: str, target: str) -> str:
    return f'edge: {{ sourcename: "{source}" targetname: "{target}" label: "a.c:2:2" }}\n'


def bound(tmp_path: Path, text: str) -> tuple[int, tuple[str, ...]]:
    (tmp_path / "a.ci").write_text(text)
    found = stack_bound([tmp_path / "a.ci"], "run")
    assert found is not None
    return found.known_bytes, found.unknown


def test_the_bound_is_the_deepest_path(tmp_path: Path) -> None:
    text = node("run", "16 bytes (static)") + node("a", "100 bytes (static)") + node("b", "8 bytes (static)")
    text += edge("run", "a") + edge("run", "b") + edge("b", "a")
    assert bound(tmp_path, text) == (16 + 8 + 100, ())


def test_what_the_compiler_cannot_see_is_listed(tmp_path: Path) -> None:
    text = node("run", "16 bytes (static)") + node("a.c:grow", "24 bytes (dynamic)")
    text += edge("run", "memcpy") + edge("run", "__indirect_call") + edge("run", "a.c:grow") + edge("a.c:grow", "run")
    known, unknown = bound(tmp_path, text)
    assert known == 40
    assert unknown == ("a call through a pointer", "dynamic frame of grow", "memcpy", "recursion through run")


def test_a_function_without_a_frame_has_no_bound(tmp_path: Path) -> None:
    (tmp_path / "a.ci").write_text(node("other", "16 bytes (static)"))
    assert stack_bound([tmp_path / "a.ci"], "run") is None
