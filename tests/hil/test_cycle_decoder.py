"""The cycle model's decoder agrees with objdump on every instruction of the C libraries."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "hil" / "cycles"

DRIVER = r"""
#include "decode.h"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
  unsigned a, b;
  (void)argc;
  while (scanf("%x %x", &a, &b) == 2) {
    uint8_t bytes[4] = {(uint8_t)a, (uint8_t)(a >> 8), (uint8_t)b, (uint8_t)(b >> 8)};
    instruction i;
    if (strcmp(argv[1], "riscv") == 0) decode_riscv(bytes, &i); else decode_thumb2(bytes, &i);
    unsigned long read = i.sources;
    if (i.base >= 0 && i.base < 15) read |= 1ul << i.base;
    if (i.index >= 0) read |= 1ul << i.index;
    printf("%d %s %d %lu\n", i.size, class_names[i.class], i.registers, read);
  }
  return 0;
}
"""

# Mnemonic (without condition and width) → class. Searched in order.
ARM_RULES: list[tuple[str, str]] = [
    (r"it[te]*", "it"),
    (r"(push|stmdb|stmia|stm|srs\w*)", "store_multiple"),
    (r"(pop|ldmia|ldmdb|ldm|rfe\w*)", "load_multiple"),
    (r"ldrd", "load_double"),
    (r"strd", "store_double"),
    (r"(ldrex|strex|lda|stl)\w*", "exclusive"),
    (r"tb[bh]", "table_branch"),
    (r"(pld|pli|nop|yield|wfe|wfi|sev|dbg|hint|csdb)\w*", "hint"),
    (r"(dsb|dmb|isb)", "barrier"),
    (r"(bkpt|svc|cps\w*|mrs|msr|clrex)", "system"),
    (r"(bx|blx|bxns|blxns)", "branch_indirect"),
    (r"bl", "call"),
    (r"(cbz|cbnz)", "branch_conditional"),
    (r"[su]div", "divide"),
    (r"([su]mull|[su]mlal\w*|smlsld\w*|umaal)", "multiply_long"),
    (r"(mla|mls|smla(?!l)\w*|smls(?!l)\w*|smmla\w*|smmls\w*|usada8)", "multiply_accumulate"),
    (r"(mul|smul\w*|smmul\w*|smua\w*|smus\w*|usad8)s?", "multiply"),
    (r"(dls|wls)\w*", "loop_start"),
    (r"(le|letp)", "loop_end"),
]


def arm_class(mnemonic: str, operands: str) -> str | None:
    """The class that the manual gives a mnemonic; None where the mnemonic alone does not say."""
    base = mnemonic.split(".")[0]
    if base.startswith("v"):
        return None
    if re.fullmatch(r"b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)", base):
        return "branch_conditional"
    if base == "b":
        return "branch"
    for suffix in ("", "eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"):
        stem = base.removesuffix(suffix)
        for pattern, name in ARM_RULES:
            if re.fullmatch(pattern, stem):
                return name
        if re.fullmatch(r"ldrs?[bh]?t?", stem):
            return "load_literal" if "[pc" in operands else "load"
        if re.fullmatch(r"str[bh]?t?", stem):
            inner = operands[operands.index("[") :]
            return "store_register" if re.match(r"\[\w+, [a-z]", inner) else "store_immediate"
    return None


ARM_ALU = re.compile(
    r"(add|adc|sub|sbc|rsb|and|orr|orn|eor|bic|mov|mvn|movw|movt|cmp|cmn|tst|teq|lsl|lsr|asr|ror|rrx|neg|uxt|sxt|uxta|sxta"
    r"|rev|rbit|clz|bfi|bfc|ubfx|sbfx|ssat|usat|pkh|sel|q|[su]h?(add|sub)|adr|addw|subw)"
)


@cache
def driver(folder: Path) -> Path:
    (folder / "driver.c").write_text(DRIVER)
    program = folder / "driver"
    files = [SOURCES / "decode_thumb2.c", SOURCES / "sources_thumb2.c", SOURCES / "decode_riscv.c", folder / "driver.c"]
    subprocess.run(["cc", "-std=c99", "-fsanitize=undefined", f"-I{SOURCES}", "-o", program, *files], check=True)
    return program


def disassemble(prefix: str, library: str) -> list[tuple[int, int, int, str, str]]:
    """(first halfword, second halfword, size, mnemonic, operands) of every distinct instruction of a library."""
    text = subprocess.run([f"{prefix}objdump", "-d", library], capture_output=True, text=True, check=True).stdout
    found = {}
    pattern = re.compile(
        r"^\s+[0-9a-f]+:\s+([0-9a-f]{8}|[0-9a-f]{4}(?: [0-9a-f]{4})?)\s+([a-z][\w.]*)[ \t]*(.*)$", re.M
    )
    for raw, mnemonic, operands in pattern.findall(text):
        if "riscv" in prefix:
            word, size = int(raw, 16), len(raw) // 2
            first, second = word & 0xFFFF, word >> 16
        else:
            halves = raw.split()
            first, second, size = int(halves[0], 16), int(halves[1], 16) if len(halves) > 1 else 0, 2 * len(halves)
        found[first, second, size] = (mnemonic, operands)
    return [(*key, *value) for key, value in found.items()]


def decode(program: Path, kind: str, items: list[tuple[int, int, int, str, str]]) -> list[tuple[int, str, int, int]]:
    """(size, class, registers of a multiple access, set of registers read) of each."""
    text = "".join(f"{first:x} {second:x}\n" for first, second, *_ in items)
    lines = subprocess.run([program, kind], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split() for line in lines]
    return [(int(size), name, int(registers), int(read)) for size, name, registers, read in fields]


@pytest.mark.skipif(not shutil.which("arm-none-eabi-objdump"), reason="needs arm-none-eabi-objdump")
@pytest.mark.parametrize("variant", ["thumb/v6-m/nofp", "thumb/v7e-m+fp/hard", "thumb/v8.1-m.main+mve/hard"])
def test_thumb_decoding_agrees_with_objdump(tmp_path_factory: pytest.TempPathFactory, variant: str) -> None:
    program = driver(tmp_path_factory.getbasetemp())
    folder = Path("/usr/lib/arm-none-eabi/newlib") / variant
    items = [item for name in ("libc_nano.a", "libm.a") for item in disassemble("arm-none-eabi-", str(folder / name))]
    items = [item for item in items if not item[3].startswith(".") and "UNDEFINED" not in item[4]]
    items = [item for item in items if item[3] != "udf" and "(mov r8, r8)" not in item[4]]  # a move that is called nop
    assert len(items) > 3000
    wrong: Counter[str] = Counter()
    checked = 0
    for item, (size, name, registers, _) in zip(items, decode(program, "thumb", items)):
        first, second, wanted_size, mnemonic, operands = item
        if size != wanted_size:
            wrong[f"size of {mnemonic} {operands}"] += 1
            continue
        wanted = arm_class(mnemonic, operands)
        if wanted is None and ARM_ALU.match(mnemonic):
            # An arithmetic write to the program counter is a jump.
            wanted = "branch_indirect" if operands.startswith("pc") else "alu"
        if wanted is None:
            continue
        checked += 1
        if wanted.endswith("_multiple") and mnemonic.split(".")[0] not in ("ldr", "str"):
            count = len(expand(operands[operands.index("{") :])) if "{" in operands else registers
            if count != registers:
                wrong[f"registers of {mnemonic} {operands}: {registers}"] += 1
        if name != wanted and not (wanted in ("load", "store_immediate") and name.endswith("_multiple")):
            wrong[f"{mnemonic} {operands} ({first:04x} {second:04x}): {name}, not {wanted}"] += 1
    assert not wrong, wrong.most_common(20)
    assert checked > 0.8 * len(items)


REGISTERS = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "sl", "fp", "ip", "sp", "lr", "pc")
CONDITIONS = "eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
ONLY_READ = r"(cmp|cmn|tst|teq|str[bh]?)"
ALSO_READ = r"(movt|bfi|[su]mlal|umaal)"  # they read what they write
FIRST_OF_TWO = r"(add|adc|sub|sbc|and|orr|eor|bic|mul|lsl|lsr|asr|ror)s?"  # so do these where they have two operands
LATER = r"(mov[sw]?|mvns?|negs?|rsbs?|[su]xt[bh]|rev|clz|rbit|ubfx|sbfx|mla|mls|[su]mull|[su]div|ldrs?[bh]?|orns?)"


def registers_read(mnemonic: str, operands: str) -> int | None:
    """The set that the assembler's text says an instruction reads, the program counter left out; None: not checked."""
    base = mnemonic.split(".")[0]
    for suffix in ("", *CONDITIONS.split("|")):
        stem = base.removesuffix(suffix)
        known = [pattern for pattern in (ONLY_READ, ALSO_READ, FIRST_OF_TWO, LATER) if re.fullmatch(pattern, stem)]
        if known:
            break
    else:
        return None
    parts = [part.strip() for part in re.split(r"[@;<]", operands)[0].split(",")]
    parts = [part for part in parts if not re.match(r"(lsl|lsr|asr|ror|rrx)\b", part)]
    written = 0 if known[0] == ONLY_READ else 2 if re.fullmatch("[su]mull", stem) else 1
    if known[0] == ALSO_READ or (known[0] == FIRST_OF_TWO and len(parts) == 2):
        written = 0
    names = re.findall(r"\b(" + "|".join(REGISTERS[:15]) + r")\b", ",".join(parts[written:]))
    return sum(1 << REGISTERS.index(name) for name in set(names))


@pytest.mark.skipif(not shutil.which("arm-none-eabi-objdump"), reason="needs arm-none-eabi-objdump")
@pytest.mark.parametrize("variant", ["thumb/v6-m/nofp", "thumb/v7e-m+fp/hard"])
def test_registers_that_are_read_agree_with_objdump(tmp_path_factory: pytest.TempPathFactory, variant: str) -> None:
    program = driver(tmp_path_factory.getbasetemp())
    folder = Path("/usr/lib/arm-none-eabi/newlib") / variant
    items = disassemble("arm-none-eabi-", str(folder / "libc_nano.a"))
    wrong: Counter[str] = Counter()
    checked = 0
    for item, (_, _, _, read) in zip(items, decode(program, "thumb", items)):
        first, second, _, mnemonic, operands = item
        wanted = registers_read(mnemonic, operands)
        if wanted is not None and "pc" not in operands:
            checked += 1
            if read != wanted:
                wrong[f"{mnemonic} {operands} ({first:04x} {second:04x}): {read:x}, not {wanted:x}"] += 1
    assert not wrong, (len(wrong), checked, wrong.most_common(20))
    assert checked > 1500


def expand(text: str) -> list[str]:
    """``{r0, r4-r7, lr}`` → the registers."""
    result: list[str] = []
    for part in text[text.index("{") + 1 : text.index("}")].split(","):
        ends = part.strip().split("-")
        if len(ends) == 2:
            names = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "sl", "fp", "ip", "sp", "lr", "pc"]
            result += names[names.index(ends[0]) : names.index(ends[1]) + 1]
        else:
            result += ends
    return result


RISCV_CLASSES = [
    (r"(c\.)?(lb|lh|lw|lbu|lhu|lwsp)", "load"),
    (r"(c\.)?(sb|sh|sw|swsp)", "store_immediate"),
    (r"mul(h|hu|hsu)?", "multiply"),
    (r"(div|divu|rem|remu)", "divide"),
    (r"(c\.)?(beq|bne|blt|bge|bltu|bgeu|beqz|bnez|bltz|bgez|blez|bgtz|bgt|ble|bgtu|bleu)", "branch_conditional"),
    (r"(c\.)?j", "branch"),
    (r"(c\.)?jal", "call"),
    (r"(c\.)?(jr|jalr|ret)", "branch_indirect"),
    (r"fence(\.i)?", "barrier"),
    (r"(ecall|ebreak|c\.ebreak|csr\w+|fr\w+|fs\w+|rd\w+|mret)", "system"),
]


@pytest.mark.skipif(not shutil.which("riscv64-unknown-elf-objdump"), reason="needs riscv64-unknown-elf-objdump")
def test_riscv_decoding_agrees_with_objdump(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = driver(tmp_path_factory.getbasetemp())
    folder = Path("/usr/lib/picolibc/riscv64-unknown-elf/lib/rv32imac/ilp32")
    items = [item for name in ("libc.a", "libm.a") for item in disassemble("riscv64-unknown-elf-", str(folder / name))]
    items = [item for item in items if item[3] != "unimp" and not item[3].startswith(("amo", "lr.", "sc."))]
    assert len(items) > 3000
    wrong: Counter[str] = Counter()
    for item, (size, name, _, _) in zip(items, decode(program, "riscv", items)):
        _, _, wanted_size, mnemonic, operands = item
        wanted = next((kind for pattern, kind in RISCV_CLASSES if re.fullmatch(pattern, mnemonic)), "alu")
        if (size, name) != (wanted_size, wanted):
            wrong[f"{mnemonic} {operands}: {name}/{size}, not {wanted}/{wanted_size}"] += 1
    assert not wrong, wrong.most_common(20)
