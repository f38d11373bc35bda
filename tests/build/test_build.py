"""A project becomes firmware for its board, and the sizes of its parts are told apart."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.support.fake_project import fake_project
from tinyopt.board import Board, Toolchain, board_names, load_board
from tinyopt.build import Firmware, build, function_at
from tinyopt.build.toolchain import find_compiler
from tinyopt.errors import BoardError, ToolError


def compiler_or_skip(board: Board) -> None:
    program = f"{board.toolchain.prefix}gcc"
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


def built(tmp_path: Path, name: str, *defines: str, optimise: str = "-O2") -> Firmware:
    board = load_board(name)
    compiler_or_skip(board)
    return build(fake_project(tmp_path / name, board, defines), optimise=optimise)


@pytest.mark.parametrize("name", board_names())
def test_every_board_builds_without_a_warning(tmp_path: Path, name: str) -> None:
    firmware = built(tmp_path, name)
    assert firmware.elf.is_file() and firmware.map_file.is_file()
    assert "gcc" in firmware.compiler
    assert firmware.sections.text > 0


@pytest.mark.parametrize("optimise", ["-Os", "-O3"])
@pytest.mark.parametrize("name", ["mps2_an386", "mps3_an547", "mps2_m0", "rv32_virt"])
def test_the_firmware_compiles_at_other_levels_of_optimisation(tmp_path: Path, name: str, optimise: str) -> None:
    assert built(tmp_path, name, optimise=optimise).flash_bytes > 0


@pytest.mark.parametrize("name", ["mps2_an386", "rv32_virt", "host"])
def test_weights_are_those_that_the_program_kept(tmp_path: Path, name: str) -> None:
    firmware = built(tmp_path, name)
    assert firmware.weights_bytes == 96  # the thousand bytes that nobody uses are not linked


@pytest.mark.parametrize("name", ["mps2_an386", "mps2_m0", "rv32_virt"])
def test_code_is_the_model_alone_without_harness_and_weights(tmp_path: Path, name: str) -> None:
    firmware = built(tmp_path, name)
    assert 100 < firmware.code_bytes < 1000
    # A part of the C library that a kernel pulls in is paid for by the model.
    source = firmware.project.directory / "src" / "fake.c"
    source.write_text(source.read_text().replace("sum % 128", "(int32_t)((int64_t)sum * 7 / (sum | 1)) % 128"))
    assert build(firmware.project).code_bytes > firmware.code_bytes + 100


def test_hooks_around_layers_are_not_part_of_the_model(tmp_path: Path) -> None:
    firmware = built(tmp_path, "mps2_an386")
    alone = firmware.map_file.with_name("model_alone.map").read_text()
    assert "profile_begin" not in alone.partition("Linker script and memory map")[2]


def test_static_ram_of_the_microbit_firmware_is_small(tmp_path: Path) -> None:
    firmware = built(tmp_path, "microbit")
    arena = 64
    assert firmware.ram_bytes - arena < 256
    assert firmware.flash_bytes < 16 * 1024


def test_the_stack_bound_covers_the_deepest_path(tmp_path: Path) -> None:
    bound = built(tmp_path, "mps2_an386").stack_bound
    assert bound is not None
    assert 384 <= bound.known_bytes < 512  # fake_dense has 384 bytes of products
    assert set(bound.unknown) <= {"memcpy", "memset"}


def test_functions_are_found_by_address(tmp_path: Path) -> None:
    firmware = built(tmp_path, "mps2_an386")
    text = firmware.map_file.read_text().partition("Linker script")[2]
    address = int(text[text.index(".text.fake_dense") :].split()[1], 16)
    assert function_at(firmware.elf, address + 6) == "fake_dense"
    assert function_at(firmware.elf, 0x7FFFFFFF) is None


def test_a_model_that_is_too_large_for_ram_is_refused_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(BoardError) as caught:
        built(tmp_path, "microbit", "MODEL_ARENA_BYTES=20000")
    message = str(caught.value)
    assert "board 'microbit'" in message and "16,384 bytes" in message and "too many" in message


def test_a_model_that_is_too_large_for_flash_is_refused_with_numbers(tmp_path: Path) -> None:
    board = load_board("microbit")
    compiler_or_skip(board)
    project = fake_project(tmp_path / "p", board)
    source = project.directory / "src" / "model_weights.c"
    source.write_text(source.read_text().replace("[96]", "[300000]"))
    (project.directory / "src" / "model_weights.h").write_text(
        "#include <stdint.h>\nextern const int8_t model_fake_weights[300000];\n"
        "extern const int8_t model_unused_weights[1000];\n"
    )
    with pytest.raises(BoardError, match=r"flash \(flash\) has 262,144 bytes; code and constants need 3\d\d,\d\d\d"):
        build(project)


def test_a_missing_compiler_is_named_with_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"arm-none-eabi-gcc is not installed.*apt-get install gcc-arm-none-eabi"):
        build(fake_project(tmp_path / "p", load_board("mps2_an386")))
    with pytest.raises(ToolError, match="xtensa-gcc"):
        find_compiler(Toolchain(prefix="xtensa-"))


def test_an_error_in_a_source_is_shown(tmp_path: Path) -> None:
    board = load_board("mps2_an386")
    compiler_or_skip(board)
    project = fake_project(tmp_path / "p", board)
    (project.directory / "src" / "fake.c").write_text("int fake_dense(void) { return x; }\n")
    with pytest.raises(ToolError, match=r"(?s)cannot compile src/fake\.c.*'x' undeclared"):
        build(project)


def test_a_missing_function_is_shown(tmp_path: Path) -> None:
    board = load_board("mps2_an386")
    compiler_or_skip(board)
    project = fake_project(tmp_path / "p", board)
    sources = tuple(source for source in project.sources if source.role != "kernel")
    with pytest.raises(ToolError, match=r"(?s)cannot link.*undefined reference to `fake_"):
        build(dataclasses.replace(project, sources=sources))


def test_progress_counts_the_files(tmp_path: Path) -> None:
    board = load_board("host")
    compiler_or_skip(board)
    project = fake_project(tmp_path / "p", board)
    steps: list[tuple[int, int]] = []
    build(project, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i + 1, len(project.sources)) for i in range(len(project.sources))]
