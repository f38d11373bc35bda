"""A device of a pack becomes a board file that is valid and free of doubts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.packs.sample_pack import DESCRIPTION, write_description
from tinyopt.board import Board, check_board_file
from tinyopt.errors import BoardError
from tinyopt.packs import Description, board_name, board_text, open_description


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return open_description(write_description(tmp_path_factory.mktemp("pack")))


def board(text: str) -> Board:
    return Board.model_validate(yaml.safe_load(text))


def layout(made: Board) -> list[tuple[str, str, int, int]]:
    return [(m.name, m.kind, m.origin, m.size) for m in made.memories]


def test_core_clock_memories_and_origin_are_those_of_the_pack(pack: Description) -> None:
    text = board_text(pack.device("RK100A"))
    made = board(text)
    assert (made.name, made.core, made.clock_hz, made.device) == ("rk100a", "cortex-m4", 120_000_000, "RK100A")
    assert made.features == {"thumb2", "dsp", "fpu"}
    assert layout(made) == [
        ("flash", "flash", 0x08000000, 1 << 20),
        ("sram1", "ram", 0x20000000, 192 << 10),
        ("sram2", "ram", 0x10000000, 64 << 10),
        ("boot", "flash", 0x1FFF0000, 28 << 10),
    ]
    assert made.toolchain.flags == ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
    assert made.programmers[0].target == "rk100a"
    assert made.source == "CMSIS-Pack Acme::Rocket_DFP@1.2.0, device RK100A"
    assert "# Flash algorithm: Flash/Rocket_All.FLM, 1,048,576 bytes from 0x08000000" in text
    assert "# Registers: SVD/RK1.svd" in text


def test_banks_that_follow_each_other_are_one_memory(pack: Description) -> None:
    made = board(board_text(pack.device("RK100B")))
    assert (made.flash.name, made.flash.size) == ("bank1", 512 << 10)


def test_a_small_core_has_no_features_and_a_small_stack(pack: Description) -> None:
    made = board(board_text(pack.device("RK050")))
    assert (made.core, made.features, made.stack_bytes) == ("cortex-m0plus", frozenset(), 4608)
    assert made.toolchain.flags == ("-mthumb", "-mcpu=cortex-m0plus")


def test_each_processor_of_a_device_is_a_board_of_its_own(pack: Description) -> None:
    device = pack.device("TW747")
    fast, slow = (board(board_text(device, processor=name)) for name in ("fast", "SLOW"))
    assert (fast.name, fast.core, fast.flash.name, fast.ram.name) == ("tw747_fast", "cortex-m7", "flash1", "axi")
    assert {memory.name for memory in fast.memories} == {"flash1", "axi", "dtcm"}
    assert "-mfpu=fpv5-d16" in fast.toolchain.flags
    assert (slow.core, layout(slow)[0][2], len(slow.memories)) == ("cortex-m4", 0x08100000, 2)


def test_one_address_of_memory_that_has_two_is_enough_and_peripherals_are_none(pack: Description) -> None:
    made = board(board_text(pack.device("HE55")))
    assert layout(made) == [
        ("code_s", "flash", 0x10000000, 512 << 10),
        ("data_s", "ram", 0x30000000, 512 << 10),
    ]
    assert made.features == {"thumb2", "dsp", "fpu", "mve", "mve_fp"}
    assert made.toolchain.flags == ("-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard")


def test_a_core_without_its_usual_extensions_gets_flags_that_say_so(pack: Description) -> None:
    integer = board(board_text(pack.device("HE55-INT")))
    assert integer.features == {"thumb2", "dsp", "mve"}
    assert "-mcpu=cortex-m55+nofp" in integer.toolchain.flags
    plain = board(board_text(pack.device("HE33")))
    assert plain.features == {"thumb2", "fpu"}
    assert "-mcpu=cortex-m33+nodsp" in plain.toolchain.flags


def test_a_device_that_starts_from_ram_has_only_that(pack: Description) -> None:
    made = board(board_text(pack.device("HE55-INT")))
    assert made.flash is made.ram


@pytest.mark.parametrize("name", ["RK100A", "RK100AX", "RK100B", "RK050", "HE55", "HE33"])
def test_the_file_is_free_of_doubts(pack: Description, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{board_name(name)}.yaml"
    path.write_text(board_text(pack.device(name)))
    findings = check_board_file(path)
    assert findings.board is not None
    assert not findings.errors and not findings.warnings


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TW747", r"several processors: fast \(Cortex-M7\), slow \(Cortex-M4\); choose one with --core"),
        ("ODD_A7", "'Cortex-A7' core"),
        ("ODD_BIG", "big-endian"),
        ("ODD_ROM", "has no RAM"),
        ("ODD_STILL", "has no clock.*--clock"),
    ],
)
def test_a_device_that_makes_no_board_says_why(pack: Description, name: str, said: str) -> None:
    with pytest.raises(BoardError, match=said):
        board_text(pack.device(name))


def test_a_processor_that_is_not_there_is_named_with_those_that_are(pack: Description) -> None:
    with pytest.raises(BoardError, match="no processor 'middle'; it has fast"):
        board_text(pack.device("TW747"), processor="middle")


def test_a_clock_may_be_given(pack: Description) -> None:
    assert board(board_text(pack.device("ODD_STILL"), clock_hz=8_000_000)).clock_hz == 8_000_000


@pytest.mark.parametrize("evil", ['A"\n- x: "', "a: b # c", "'; rm -rf /", "\\u0041\\", "{[*&", "\u202e"])
def test_hostile_names_stay_text(tmp_path: Path, evil: str) -> None:
    from xml.sax.saxutils import quoteattr

    text = DESCRIPTION.replace('"RK100B"', quoteattr(evil)).replace('"Bank1"', quoteattr(evil))
    device = open_description(write_description(tmp_path, text)).chains
    name = next(name for name in device if name not in DESCRIPTION)
    made = board(board_text(open_description(tmp_path / "Acme.Rocket_DFP.pdsc").device(name)))
    assert made.core == "cortex-m4" and made.flash.size == 512 << 10
