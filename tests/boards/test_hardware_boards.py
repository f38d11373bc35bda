"""The hardware boards: their files are free of doubts, and code for each compiles and links into its memories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tinyopt.board import Board, board_names, check_board_file, load_board
from tinyopt.errors import BoardError
from tinyopt.generate import generate
from tinyopt.generate.measuring import linker_script, measuring_files
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization
from tinyopt.graph.ops import FullyConnected
from tinyopt.plan import make_plan
from tinyopt.resources import resource

PROMISED = {
    "arduino_mega",
    "arduino_nano33ble",
    "arduino_uno",
    "disco_f746ng",
    "disco_l475vg_iot01a",
    "ek_ra8d1",
    "esp32",
    "esp32_c3",
    "esp32_s3",
    "hifive1",
    "microbit_v2",
    "nicla_vision",
    "nrf52840_dk",
    "nrf5340_dk",
    "nucleo_f446re",
    "nucleo_g0b1re",
    "nucleo_h743zi",
    "nucleo_h7a3zi_q",
    "nucleo_l476rg",
    "nucleo_l4r5zi",
    "nucleo_u575zi_q",
    "pico",
    "pico2",
    "pico2_riscv",
    "portenta_h7_m7",
    "teensy41",
}
HARDWARE = tuple(name for name in board_names() if not load_board(name).is_emulated)
BARE_METAL = tuple(name for name in HARDWARE if load_board(name).is_bare_metal)
THROUGH_PLATFORMIO = tuple(name for name in HARDWARE if not load_board(name).is_bare_metal)
Q = Quantization.per_tensor(0.05, 3)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A dense layer of 256 weights."""
    builder = GraphBuilder("small")
    x = builder.input("x", (1, 16), DType.INT8, Q)
    data = np.arange(256, dtype=np.int64).reshape(16, 16) % 255 - 127
    weights = builder.constant("weights", data.astype(np.int8), Quantization.per_tensor(0.02))
    builder.output(builder.add(FullyConnected(), [x, weights], name="layer", quantization=Q))
    return builder.build()


def test_the_promised_boards_are_there() -> None:
    assert set(HARDWARE) >= PROMISED


@pytest.mark.parametrize("name", board_names())
def test_no_shipped_board_has_errors_or_doubts(name: str) -> None:
    findings = check_board_file(resource("boards") / f"{name}.yaml")
    assert not findings.errors
    assert not findings.warnings


@pytest.mark.parametrize("name", HARDWARE)
def test_a_board_says_how_it_is_flashed_found_and_where_the_facts_are_from(name: str) -> None:
    board = load_board(name)
    assert board.programmers or board.platformio
    assert board.usb
    assert len(board.source) > 80


def test_names_and_aliases_are_of_one_board_each() -> None:
    names = [alias for name in board_names() for alias in (name, *load_board(name).aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("uno", "arduino_uno"),
        ("esp32dev", "esp32"),
        ("esp32-s3-devkitc-1", "esp32_s3"),
        ("B-L475E-IOT01A", "disco_l475vg_iot01a"),
        ("corstone_300", "mps3_an547"),
        ("NUCLEO-L4R5ZI", "nucleo_l4r5zi"),
    ],
)
def test_a_board_is_found_by_its_makers_name(called: str, name: str) -> None:
    assert load_board(called).name == name


def test_every_platformio_id_finds_a_board() -> None:
    for name in HARDWARE:
        platformio = load_board(name).platformio
        if platformio is not None:
            assert load_board(platformio.board).platformio == platformio or name == "pico2_riscv"


@pytest.mark.parametrize("name", BARE_METAL)
def test_code_for_a_board_compiles_and_links_into_its_memories(name: str, graph: Graph, tmp_path: Path) -> None:
    board = load_board(name)
    compiler = shutil.which(f"{board.toolchain.prefix}gcc")
    if compiler is None:
        pytest.skip(f"{board.toolchain.prefix}gcc is not installed")
    project = generate(make_plan(graph, board), tmp_path / "project", project="library")
    script = linker_script(board)
    assert script is not None
    (tmp_path / "board.ld").write_text(script)
    (tmp_path / "start.c").write_text(START)
    elf = tmp_path / "firmware.elf"
    command = [compiler, *board.toolchain.flags, "-std=c99", "-O2", "-nostartfiles", f"-T{tmp_path / 'board.ld'}"]
    command += [f"-I{project.directory / folder}" for folder in project.include_dirs]
    command += [str(tmp_path / "start.c"), *map(str, project.paths()), "-lm", "-o", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    _check_places(elf, board)


START = """#include "model.h"
static unsigned char arena[MODEL_ARENA_BYTES + 16];
static int counter = 7;
__attribute__((section(".vectors"), used)) static const unsigned table[16] = {1};
void port_reset(void) { model_run(arena + 16 - (unsigned long)arena % 16); counter++; for (;;) {} }
"""


def _check_places(elf: Path, board: Board) -> None:
    with elf.open("rb") as stream:
        sections = {s.name: s for s in ELFFile(stream).iter_sections() if s["sh_flags"] & 2 and s["sh_size"]}
        places = {name: (s["sh_addr"], s["sh_size"]) for name, s in sections.items()}
    assert {".text", ".data", ".bss", ".vectors"} <= set(places)
    for name, (address, size) in places.items():
        memory = board.ram if name in (".data", ".bss", ".stack") else board.flash
        assert memory.origin <= address and address + size <= memory.origin + memory.size, name
    assert places[".vectors"][0] == board.flash.origin


@pytest.mark.parametrize("name", THROUGH_PLATFORMIO)
def test_a_board_without_bare_metal_firmware_says_how_it_is_built(name: str) -> None:
    board = load_board(name)
    assert board.platformio is not None
    with pytest.raises(BoardError, match=rf"'{name}'.*no bare-metal firmware.*tinyopt compile MODEL -b {name}"):
        measuring_files(board)


@pytest.mark.parametrize("name", THROUGH_PLATFORMIO)
def test_its_model_is_generated_all_the_same(name: str, graph: Graph, tmp_path: Path) -> None:
    project = generate(make_plan(graph, load_board(name)), tmp_path / "project", project="platformio")
    assert (project.directory / "platformio.ini").is_file()


def test_constants_that_are_copied_count_as_ram() -> None:
    builder = GraphBuilder("large")
    x = builder.input("x", (1, 64), DType.INT8, Q)
    data = np.random.default_rng(0).integers(-127, 128, (64, 64)).astype(np.int8)
    weights = builder.constant("weights", data, Quantization.per_tensor(0.02))
    builder.output(builder.add(FullyConnected(), [x, weights], name="layer", quantization=Q))
    graph = builder.build()
    with pytest.raises(BoardError, match=r"its constants 4,\d{3} more, as the core reads them from RAM.*2,048"):
        make_plan(graph, load_board("arduino_uno"))
    assert make_plan(graph, load_board("arduino_mega")).arena_bytes < 1024
