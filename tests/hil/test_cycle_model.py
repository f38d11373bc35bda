"""The cycle model counts instructions exactly and gives hand-counted loops their documented cycles."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hil.cycles import Counts, InferenceCounts, plugin_option, read_counts
from tinyopt.board import Memory

needs_arm = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="needs qemu-system-arm and arm-none-eabi-gcc",
)
needs_riscv = pytest.mark.skipif(
    not (shutil.which("qemu-system-riscv32") and shutil.which("riscv64-unknown-elf-gcc")),
    reason="needs qemu-system-riscv32 and riscv64-unknown-elf-gcc",
)

ARM = """
    .syntax unified
    .thumb
    .section .vectors, "a"
    .word {ram} + 0x8000, start + 1
    .text
    .thumb_func
start:
    ldr r0, ={ram}
    mov r8, r0
    mov r9, r0
    {setup}
    .balign 32
    {begin}
{body}
    {end}
    movs r0, #0x18
    ldr r1, =0x20026
    bkpt 0xab
1:  b 1b
    .ltorg
"""

ALLOW_COPROCESSORS = """
    ldr r0, =0xE000ED88
    ldr r1, =0xF00000
    str r1, [r0]
    isb
"""

RISCV = """
    .text
    .globl start
start:
    li s0, 0x80010000
    slti x0, x0, 0x40
{body}
    slti x0, x0, 0x41
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b
"""


def count_arm(
    tmp_path: Path,
    body: str,
    core: str = "cortex-m4",
    machine: str = "mps2-an386",
    memories: Sequence[Memory] = (),
) -> InferenceCounts:
    is_secure = machine in ("mps2-an505", "mps3-an547")
    ram, text, vectors = (0x20000000, 0x100, 0)
    if is_secure:
        ram, text, vectors = (0x38000000 if machine == "mps2-an505" else 0x30000000, 0x10000200, 0x10000000)
    begin, end = (".inst.w 0xf3af8040", ".inst.w 0xf3af8041") if core != "cortex-m0" else ("mov r9, r9", "mov r10, r10")
    setup = ALLOW_COPROCESSORS if is_secure else ""
    (tmp_path / "t.S").write_text(ARM.format(body=body, ram=ram, setup=setup, begin=begin, end=end))
    cpu = {"cortex-m55": "-march=armv8.1-m.main+mve"}.get(core, f"-mcpu={core}")
    subprocess.run(
        ["arm-none-eabi-gcc", cpu, "-mthumb", "-nostdlib", f"-Wl,-Ttext={text:#x}"]
        + [f"-Wl,--section-start=.vectors={vectors:#x}"]
        + ["-mfloat-abi=hard"] * (core == "cortex-m55")
        + ["-o", str(tmp_path / "t.elf"), str(tmp_path / "t.S")],
        check=True,
        capture_output=True,
    )
    option = plugin_option("qemu-system-arm", core, tmp_path / "counts.jsonl", memories)
    command = ["qemu-system-arm", "-M", machine, "-nographic", "-serial", "none", "-monitor", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "t.elf"), "-plugin", option]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    (result,) = read_counts(tmp_path / "counts.jsonl")
    return result


# Cycles are those of the Cortex-M4 technical reference manual, section 3.3, and the rules beside it.
LOOPS = {
    "100 single-cycle instructions": ("    adds r0, r0, #1\n" * 100, 100, 100),
    "a multiply-accumulate takes one cycle": ("    smlad r0, r1, r2, r0\n" * 10, 10, 10),
    "a load by itself takes two": ("    ldr r0, [r8]\n    adds r1, r1, #1\n" * 10, 20, 30),
    "independent loads pipeline to n + 1": ("    ldr r0, [r8]\n    ldr r1, [r8, #4]\n    ldr r2, [r8, #8]\n", 3, 4),
    "a load that needs the one before does not pipeline": (
        "    str r9, [r8]\n    nop\n    ldr r0, [r8]\n    ldr r1, [r0]\n",
        4,
        1 + 1 + 2 + 2,
    ),
    "an address made by the instruction before costs one more": ("    add r0, r8, #4\n    ldr r1, [r0]\n", 2, 4),
    "a multiple load takes one more than its registers": ("    ldmia r8, {r0-r3}\n", 1, 5),
    "a taken branch costs a refill of two": (
        "    mov.w r0, #10\n2:  subs r0, r0, #1\n    bne 2b\n",
        1 + 20,
        1 + 10 + 10 + 9 * 2,
    ),
    "IT folds into the instruction before": ("    cmp r0, r0\n    it eq\n    moveq r1, r0\n", 3, 2),
}


@needs_arm
@pytest.mark.parametrize("name", LOOPS)
def test_hand_counted_code_on_the_m4(tmp_path: Path, name: str) -> None:
    body, instructions, cycles = LOOPS[name]
    assert count_arm(tmp_path, body).total == Counts(instructions, cycles)


@needs_arm
def test_layers_add_up_and_profiling_code_between_them_is_not_counted(tmp_path: Path) -> None:
    begin, end = "    .inst.w 0xf3af8042\n", "    .inst.w 0xf3af8043\n"
    add = "    adds r0, r0, #1\n"
    body = add * 3 + begin + add * 10 + end + add * 50 + begin + add * 7 + end + add * 2
    result = count_arm(tmp_path, body)
    assert [layer.instructions for layer in result.layers] == [10, 7]
    assert result.total.instructions == 17


FLASH = Memory(name="flash", kind="flash", origin=0, size=0x100000)
RAM = Memory(name="ram", kind="ram", origin=0x20000000, size=0x100000)
MEMORIES = (FLASH, RAM)


@needs_arm
def test_bytes_of_data_are_counted_by_memory(tmp_path: Path) -> None:
    body = """
    ldr r0, [r8]
    ldrh r1, [r8, #4]
    movs r2, #0
    ldrsb r3, [r2, #3]
    ldmia r8, {r4-r7}
    ldrd r4, r5, [r8]
    strb r0, [r8]
    strd r4, r5, [r8]
    """
    total = count_arm(tmp_path, body, memories=MEMORIES).total
    assert total.bytes_read == (1, 4 + 2 + 16 + 8)
    assert total.bytes_written == (0, 1 + 8)


@needs_arm
def test_bytes_of_vectors_are_counted(tmp_path: Path) -> None:
    memories = (Memory(name="ram", kind="ram", origin=0x30000000, size=0x100000),)
    body = "    mov r4, r8\n    vldrb.u8 q0, [r4]\n    vldrb.s32 q1, [r4]\n    vstrw.32 q0, [r8, #16]\n"
    total = count_arm(tmp_path, body, "cortex-m55", "mps3-an547", memories).total
    assert (total.bytes_read, total.bytes_written) == ((16 + 4,), (16,))


@needs_arm
def test_layers_and_totals_count_the_same_bytes(tmp_path: Path) -> None:
    begin, end = "    .inst.w 0xf3af8042\n", "    .inst.w 0xf3af8043\n"
    load, store = "    ldr r0, [r8]\n", "    strh r0, [r8]\n"
    body = begin + load * 3 + store + end + load * 5 + begin + store * 2 + end
    result = count_arm(tmp_path, body, memories=MEMORIES)
    assert [(layer.bytes_read[1], layer.bytes_written[1]) for layer in result.layers] == [(12, 2), (0, 4)]
    assert (result.total.bytes_read, result.total.bytes_written) == ((0, 12), (0, 6))


# Per repetition; on cores that issue two instructions a cycle.
ALTERNATING = """
    mov.w r0, #{n}
2:  tst r0, #1
    beq 3f
    nop
3:  subs r0, r0, #1
    bne 2b
"""
PAIRS = {
    "m7: two independent additions share a cycle": ("cortex-m7", "    adds r0, r0, #1\n    adds r1, r1, #1\n", 1),
    "m7: an addition waits for the one it needs": ("cortex-m7", "    adds r0, r0, #1\n    adds r0, r0, #1\n", 2),
    "m7: there is one multiplier": ("cortex-m7", "    mul r0, r1, r2\n    mul r3, r1, r2\n", 2),
    "m7: sums of products follow each other": ("cortex-m7", "    smlad r0, r1, r2, r0\n", 1),
    "m7: a product is used two cycles later": ("cortex-m7", "    mul r0, r0, r2\n", 2),
    "m7: two loads share a cycle": ("cortex-m7", "    ldr r0, [r4]\n    ldr r1, [r4, #4]\n", 1),
    "m7: a load and a store do not": ("cortex-m7", "    ldr r0, [r4]\n    str r1, [r4, #4]\n", 2),
    "m7: an address comes a cycle late": ("cortex-m7", "    add.w r5, r4, #4\n    ldr r6, [r5]\n    mov r4, r5\n", 3),
    "m7: a loaded word can be used in the next cycle": ("cortex-m7", "    ldr r0, [r4]\n    ands r1, r0\n", 1),
    "m7: a loaded byte a cycle later": ("cortex-m7", "    ldrb r0, [r4]\n    ands r1, r0\n", 2),
    "m7: a shifted operand is needed early": ("cortex-m7", "    add.w r0, r1, r0, lsl #2\n", 2),
    "m33: a short addition pairs with other short code": ("cortex-m33", "    adds r0, #1\n    eors r1, r2\n", 1),
    "m33: short code without a simple one does not": ("cortex-m33", "    ands r0, r2\n    eors r1, r2\n", 2),
    "m33: long code does not": ("cortex-m33", "    add.w r0, r0, #1\n    add.w r1, r1, #1\n", 2),
    "m33: a load is used two cycles later": ("cortex-m33", "    ldr r1, [r4]\n    ands r0, r1\n", 3),
    "m55: a shifted sum is used two cycles later": ("cortex-m55", "    add.w r0, r1, r0, lsl #2\n", 2),
}
MACHINES = {"cortex-m7": "mps2-an500", "cortex-m33": "mps2-an505", "cortex-m55": "mps3-an547"}


@needs_arm
@pytest.mark.parametrize("name", PAIRS)
def test_hand_counted_pairs(tmp_path: Path, name: str) -> None:
    core, body, cycles = PAIRS[name]
    once, twice = (count_arm(tmp_path, "    mov r4, r8\n" + body * n, core, MACHINES[core]).total for n in (10, 20))
    assert twice.cycles - once.cycles == 10 * cycles


@needs_arm
def test_a_branch_that_alternates_is_predicted_every_other_time(tmp_path: Path) -> None:
    once, twice = (count_arm(tmp_path, ALTERNATING.format(n=n), "cortex-m7", "mps2-an500").total for n in (100, 200))
    # Odd: a cycle up to the branch, two for the rest. Even: one and one, and six for the wrong guess.
    assert twice.cycles - once.cycles == 50 * (1 + 2 + 1 + 1 + 6)


@needs_arm
def test_a_loop_that_repeats_is_predicted(tmp_path: Path) -> None:
    loop = "    mov.w r0, #{n}\n2:  subs r0, r0, #1\n    bne 2b\n"
    once, twice = (count_arm(tmp_path, loop.format(n=n), "cortex-m7", "mps2-an500").total for n in (100, 200))
    assert twice.cycles - once.cycles == 100


def slow(**fields: Any) -> tuple[Memory, Memory]:
    return (Memory(name="flash", kind="flash", origin=0, size=0x100000, wait_states=5, **fields), RAM)


# The mark that begins lies on a 32-byte boundary: 4 bytes of the first line, which is fetched before it.
STRAIGHT = "    adds r0, r0, #1\n" * 16
# Three lines of 8 bytes, the first of them with the mark; runs ten times.
LOOP = "    movs r1, #10\n2:" + "    adds r0, r0, #1\n" * 5 + "    subs r1, r1, #1\n    bne 2b\n"
# Three lines of code of 8 bytes; reads three such lines of data.
READS = "    movs r0, #0\n" + "".join(f"    ldr r1, [r0, #{at}]\n" for at in (0, 4, 8, 0, 16, 8, 0))
ONE_LINE, TWO_LINES, BIG = ({"size": size} for size in (8, 16, 1024))

WAITS: dict[str, tuple[str, dict[str, Any], int]] = {
    "each 8-byte line of straight code waits": (STRAIGHT, {"line_bytes": 8}, 5 * 4),
    "lines of 16 bytes are half as many": (STRAIGHT, {"line_bytes": 16}, 5 * 2),
    "lines are words where the board does not say": (STRAIGHT, {}, 5 * 9),
    "prefetch hides the cycles that the line before it takes": (
        STRAIGHT,
        {"line_bytes": 8, "prefetch": True},
        # Two instructions of the first line, then four a line, hide as many of six cycles.
        (6 - 2) + 3 * (6 - 4),
    ),
    "a loop of three lines fetches them each time": (LOOP, {"line_bytes": 8}, 5 * (2 + 9 * 3)),
    "an instruction cache fetches them once": (LOOP, {"line_bytes": 8, "instruction_cache": BIG}, 5 * 2),
    "a cache of two lines forgets a loop of three": (
        LOOP,
        {"line_bytes": 8, "instruction_cache": TWO_LINES},
        5 * (2 + 9 * 3),
    ),
    "every read of data waits where nothing caches": (READS, {"line_bytes": 32, "instruction_cache": BIG}, 5 * 7),
    "a data cache of one line": (
        READS,
        {"line_bytes": 8, "instruction_cache": BIG, "data_cache": ONE_LINE},
        5 * (2 + 6),
    ),
    "two lines keep the one that was used last": (
        READS,
        {"line_bytes": 8, "instruction_cache": BIG, "data_cache": TWO_LINES},
        5 * (2 + 5),
    ),
    "a direct-mapped cache of two lines keeps one of each set": (
        READS,
        {"line_bytes": 8, "instruction_cache": BIG, "data_cache": {"size": 16, "ways": 1}},
        5 * (2 + 4),
    ),
    "a large cache reads a line once": (READS, {"line_bytes": 8, "shared_cache": BIG}, 5 * (2 + 3)),
}


@needs_arm
def test_without_wait_states_nothing_waits(tmp_path: Path) -> None:
    assert count_arm(tmp_path, STRAIGHT, memories=MEMORIES).total.wait_cycles == 0


@needs_arm
@pytest.mark.parametrize("name", WAITS)
def test_hand_counted_waits_for_slow_flash(tmp_path: Path, name: str) -> None:
    body, fields, waits = WAITS[name]
    total = count_arm(tmp_path, body, memories=slow(**fields)).total
    fast = count_arm(tmp_path, body, memories=MEMORIES).total
    assert total.wait_cycles == waits
    assert total.cycles == fast.cycles + waits


@needs_arm
def test_a_core_without_wide_hints_marks_by_moves_of_a_register_to_itself(tmp_path: Path) -> None:
    begin, end = "    mov r11, r11\n", "    mov r12, r12\n"
    body = "    movs r0, #1\n" + begin + "    adds r0, r0, #1\n    ldr r1, =5\n" + end + "    mov r9, r8\n"
    result = count_arm(tmp_path, body, "cortex-m0", "microbit")
    assert result.total == result.layers[0] == Counts(2, 3)


@needs_arm
def test_two_runs_count_the_same(tmp_path: Path) -> None:
    body = LOOPS["a taken branch costs a refill of two"][0] * 20
    assert count_arm(tmp_path, body) == count_arm(tmp_path, body)


@needs_riscv
def test_hand_counted_code_on_rv32(tmp_path: Path) -> None:
    body = "    li t0, 10\n2:  addi t0, t0, -1\n    bnez t0, 2b\n    lw t1, 0(s0)\n    mul t2, t1, t1\n"
    (tmp_path / "t.S").write_text(RISCV.format(body=body))
    command = ["riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "-nostdlib"]
    command += ["-Wl,-Ttext=0x80000000", "-e", "start"]
    subprocess.run([*command, "-o", tmp_path / "t.elf", tmp_path / "t.S"], check=True, capture_output=True)
    option = plugin_option("qemu-system-riscv32", "rv32imc", tmp_path / "counts.jsonl")
    command = [
        "qemu-system-riscv32",
        "-M",
        "virt",
        "-bios",
        "none",
        "-nographic",
        "-serial",
        "none",
        "-monitor",
        "none",
    ]
    subprocess.run(
        [*command, "-kernel", str(tmp_path / "t.elf"), "-plugin", option],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    (result,) = read_counts(tmp_path / "counts.jsonl")
    assert result.total == Counts(1 + 20 + 2, 1 + 10 + 10 + 9 + 2 + 1)
