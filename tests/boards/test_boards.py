"""Boards are data: every file that is shipped is valid, and a wrong one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tinyopt.board import board_names, load_board
from tinyopt.errors import BoardError
from tinyopt.generate.measuring import linker_script, measuring_defines, measuring_files
from tinyopt.resources import resource

ALL = (
    "emulated_l4r5zi",
    "emulated_u575zi",
    "host",
    "microbit",
    "mps2_an385",
    "mps2_an386",
    "mps2_an500",
    "mps2_an505",
    "mps2_m0",
    "mps3_an547",
    "rv32_virt",
)


def test_the_emulated_boards_are_all_there() -> None:
    assert set(ALL) <= set(board_names())


@pytest.mark.parametrize("name", ALL)
def test_a_board_is_named_like_its_file_and_can_be_emulated(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.is_emulated


@pytest.mark.parametrize("name", ALL)
def test_every_board_has_a_port_and_a_linker_script_where_it_needs_one(name: str) -> None:
    board = load_board(name)
    files = measuring_files(board)
    assert all(file.absolute.is_file() for file in files)
    assert {"main.c", "text.c", "block.c", "port.h"} <= {file.path.name for file in files}
    script = linker_script(board)
    assert (script is None) == (name == "host")
    if script is not None:
        assert f"0x{board.ram.origin:08X}" in script and str(board.ram.size) in script


def test_the_microbit_has_its_real_memories() -> None:
    board = load_board("microbit")
    assert (board.flash.size, board.ram.size) == (256 * 1024, 16 * 1024)
    assert "TINYOPT_KEEP_INPUT=0" in measuring_defines(board)


def with_flash(tmp_path: Path, **fields: object) -> Path:
    document = yaml.safe_load((resource("boards") / "mps2_an386.yaml").read_text())
    document["memories"][0].update(fields)
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_board_may_have_slow_flash_with_caches(tmp_path: Path) -> None:
    fields = {"wait_states": 5, "line_bytes": 16, "prefetch": True, "instruction_cache": {"size": "1K", "ways": 2}}
    flash = load_board(with_flash(tmp_path, **fields)).flash
    assert flash.instruction_cache is not None and flash.instruction_cache.size == 1024
    assert flash.data_cache is None and flash.shared_cache is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"shared_cache": {"size": "1K"}, "data_cache": {"size": 256}}, "excludes"),
        ({"line_bytes": 16, "data_cache": {"size": 40}}, "40 bytes of cache"),
        ({"line_bytes": 16, "data_cache": {"size": 96, "ways": 4}}, "sets of 16-byte lines"),
        ({"line_bytes": 12}, "line_bytes"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, object], why: str) -> None:
    with pytest.raises(BoardError, match=why):
        load_board(with_flash(tmp_path, **fields))


def test_features_follow_the_core() -> None:
    assert load_board("mps2_an385").features == {"thumb2"}
    assert load_board("mps2_an386").features == {"thumb2", "dsp", "fpu"}
    assert load_board("mps3_an547").features == {"thumb2", "dsp", "fpu", "mve", "mve_fp"}
    assert load_board("mps2_m0").features == load_board("microbit").features == frozenset()


def test_an_unknown_board_is_answered_with_near_names() -> None:
    with pytest.raises(BoardError, match="did you mean mps2_an386"):
        load_board("mps2_an368")


def _changed(tmp_path: Path, **fields: object) -> Path:
    document = yaml.safe_load((resource("boards") / "mps2_an386.yaml").read_text())
    document.update(fields)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"memories": []}, "memories"),
        ({"memories": [{"name": "a", "kind": "flash", "origin": 0, "size": "1K"}]}, "memory of kind ram"),
        (
            {
                "memories": [
                    {"name": "a", "kind": "flash", "origin": 0, "size": "2K"},
                    {"name": "b", "kind": "ram", "origin": 1024, "size": "2K"},
                ]
            },
            "overlap",
        ),
        ({"vectors": "nowhere"}, "vectors names the memory 'nowhere'"),
        ({"clock_hz": 0}, "clock_hz"),
        ({"colour": "blue"}, "colour"),
        ({"toolchain": {"prefix": "x; rm -rf"}}, "toolchain.prefix"),
        ({"toolchain": {"prefix": "", "flags": ["-O2 -o /etc/passwd"]}}, "toolchain.flags"),
        ({"emulator": {"program": "../qemu"}}, "emulator.program"),
        ({"source": None}, "source"),
        ({"memories": [{"name": "a", "kind": "ram", "origin": 0, "size": "many"}]}, "is not a size"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    with pytest.raises(BoardError) as caught:
        load_board(_changed(tmp_path, **fields))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [", "\x00", "name: mps2\n" * 3, "&a [*a]"])
def test_a_file_that_is_no_board_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(BoardError, match=r"broken\.yaml"):
        load_board(path)


def test_an_unknown_port_is_named_with_those_that_exist(tmp_path: Path) -> None:
    board = load_board(_changed(tmp_path, port="jtag"))
    with pytest.raises(BoardError, match=r"port 'jtag'.*mps.*nrf51"):
        measuring_files(board)
