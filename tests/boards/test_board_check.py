"""Checking a board file finds every error with its line, and what is allowed but probably a slip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.packs.sample_pack import DESCRIPTION, write_description
from tinyopt.board import check_board_file, load_board
from tinyopt.cli.app import app
from tinyopt.errors import BoardError, TinyoptError
from tinyopt.resources import resource

GOOD = """name: desk
title: A board on a desk
core: cortex-m4
features: [thumb2, dsp, fpu]
clock_hz: 120 MHz
reset_clock_hz: 4MHz
memories:
  - {name: flash, kind: flash, origin: 0x08000000, size: 2M}
  - name: ram
    kind: ram
    origin: 0x20000000
    size: 640K
toolchain:
  prefix: arm-none-eabi-
  flags: [-mthumb, -mcpu=cortex-m4, -mfpu=fpv4-sp-d16, -mfloat-abi=hard]
port: semihosting
startup: cortex_m
stack_bytes: 8K
programmers:
  - {tool: pyocd, target: stm32l4r5zitx}
source: A data sheet
"""


def write(folder: Path, text: str, name: str = "desk.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_a_good_file_has_neither_errors_nor_doubts(tmp_path: Path) -> None:
    findings = check_board_file(write(tmp_path, GOOD))
    assert findings.board is not None and not findings.errors and not findings.warnings
    assert (findings.board.clock_hz, findings.board.reset_clock_hz) == (120_000_000, 4_000_000)


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("120MHz", 120_000_000), ("32.768 kHz", 32768), ("1.5 GHz", 1_500_000_000), ("16 Hz", 16), ("7", 7)],
)
def test_clocks_have_units(tmp_path: Path, text: str, hertz: int) -> None:
    assert load_board(write(tmp_path, changed("120 MHz", text).replace("reset_clock_hz: 4MHz\n", ""))).clock_hz == hertz


@pytest.mark.parametrize("text", ["fast", "120 MHertz", "0.0000001 kHz", "-4 MHz", "0 Hz", "200 GHz", "[1]", "1e6 Hz"])
def test_what_is_no_clock_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BoardError, match=r"clock_hz.*\(line 5\)"):
        load_board(write(tmp_path, changed("120 MHz", text)))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("size: 640K", "size: many", 12, "'many' is not a size"),
        ("core: cortex-m4", "core: Cortex M4", 3, "core"),
        ("size: 2M}", "size: 2M, speed: 5}", 8, "memories.0.speed"),
        ("source: A data sheet\n", "", 1, "source: Field required"),
        ("tool: pyocd", "tool: hammer", 20, "programmers.0.tool"),
        ("title: A board", "name: other\ntitle: A board", 2, "name: is there twice"),
        ("kind: ram\n", "kind: ram\n    kind: flash\n", 11, "memories.1.kind: is there twice"),
        ("port: semihosting\n", "", 1, "needs a port, or platformio"),
    ],
)
def test_an_error_has_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    findings = check_board_file(write(tmp_path, changed(old, new)))
    assert findings.board is None
    assert any(problem.line == line and said in str(problem) for problem in findings.errors), findings.errors


def test_all_errors_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = changed("size: 640K", "size: many").replace("cortex-m4\nfeatures", "X\nfeatures").replace("8K", "some")
    lines = [problem.line for problem in check_board_file(write(tmp_path, text)).errors]
    assert lines == [3, 12, 18]


def test_a_file_with_another_name_than_the_board_is_an_error(tmp_path: Path) -> None:
    (error,) = check_board_file(write(tmp_path, GOOD, "table.yaml")).errors
    assert (error.line, error.where) == (1, "name") and "'table.yaml'" in error.message


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("120 MHz", "1200 MHz", 5, "no cortex-m4 is faster"),
        ("4MHz", "400MHz", 6, "faster than clock_hz"),
        ("cortex-m4\nfeatures", "cortex-m9\nfeatures", 3, "knows nothing of 'cortex-m9'"),
        ("[thumb2, dsp, fpu]", "[thumb2, dsp, fpu, mve]", 4, "a cortex-m4 has no 'mve'"),
        ("[thumb2, dsp, fpu]", "[thumb2, fpu]", 4, "every cortex-m4 has 'dsp'"),
        ("[thumb2, dsp, fpu]", "[thumb2, dsp, fpu, neon]", 4, "no kernel asks for 'neon'"),
        ("[thumb2, dsp, fpu]", "[thumb2, dsp]", 15, "-mfloat-abi=hard needs an FPU"),
        ("-mcpu=cortex-m4", "-mcpu=cortex-m7", 15, "-mcpu=cortex-m7 is not the cortex-m4"),
        (", -mfloat-abi=hard", "", 15, "computed in software"),
        ("arm-none-eabi-", "avr-", 13, "'avr-gcc' does not compile"),
        ("origin: 0x20000000", "origin: 0x10000000", 11, "lies in 0x20000000"),
        ("size: 2M", "size: 0", 8, "no bytes"),
        ("stack_bytes: 8K", "stack_bytes: 0", 18, "no stack"),
        ("stack_bytes: 8K", "stack_bytes: 1M", 18, "leaves nothing"),
        ("kind: flash", "kind: ram", 7, "no flash"),
        ("port: semihosting", "port: jtag", 16, "no port 'jtag'"),
        ("programmers:\n  - {tool: pyocd, target: stm32l4r5zitx}\n", "", 1, "how to flash"),
    ],
)
def test_a_doubt_has_its_line_and_is_no_error(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    findings = check_board_file(write(tmp_path, changed(old, new)))
    assert findings.board is not None, findings.errors
    assert any(problem.line == line and said in problem.message for problem in findings.warnings), findings.warnings


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output, messages and the error of the command."""
    result = CliRunner().invoke(app, ["boards", *map(str, arguments)])
    error = str(result.exception) if isinstance(result.exception, TinyoptError) else ""
    assert error or result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return (
        (result.exception.exit_code if isinstance(result.exception, TinyoptError) else result.exit_code),
        (result.output),
        error,
    )


def test_the_command_checks_several_files_and_points_at_lines_like_a_compiler(tmp_path: Path) -> None:
    good, doubtful = (
        write(tmp_path, GOOD),
        write(tmp_path, changed("name: desk", "name: two").replace("8K", "0"), "two.yaml"),
    )
    bad = write(tmp_path, changed("name: desk", "name: bad").replace("640K", "many"), "bad.yaml")
    code, output, error = run("check", good, doubtful, bad)
    assert (code, error) == (6, "1 error(s) and 1 warning(s) in 3 file(s)")
    assert f"{bad}:12: error: memories.1.size" in output
    assert f"{doubtful}:18: warning: stack_bytes" in output
    assert f"{good}: ok" in output
    assert run("check", good, doubtful)[0] == 0
    assert run("check", good, doubtful, "--strict")[0] == 6


def test_findings_are_there_as_json(tmp_path: Path) -> None:
    code, output, _ = run("check", write(tmp_path, GOOD), "--json")
    assert code == 0
    assert json.loads(output)[0]["board"] == "desk" and json.loads(output)[0]["errors"] == []


def test_boards_are_listed_by_core_and_by_kind() -> None:
    names = {board["name"] for board in json.loads(run("list", "--json", "--hardware", "--core", "cortex-m33")[1])}
    assert names == {"nucleo_u575zi_q", "nrf5340_dk", "pico2"}
    assert "mps2_an505" in run("list", "--emulated")[1]


def test_showing_a_board_tells_how_it_is_reached() -> None:
    output = run("show", "nucleo_l4r5zi")[1]
    for text in ("4 MHz at reset", "ststm32", "pyocd stm32l4r5zitx", "0483:374b", "115200 baud", "RM0432", "0.278 nJ"):
        assert text in output
    assert "none: a framework builds everything" in run("show", "uno")[1]


def test_a_device_of_a_pack_is_added_as_a_board_file(tmp_path: Path) -> None:
    pack, path = write_description(tmp_path), tmp_path / "boards" / "rocket.yaml"
    code, output, _ = run("add", "--device", "rk100b", "--pack", pack, "-o", path, "--clock", "48 MHz")
    assert code == 0 and "'bank1'" in output and "'sram1'" in output
    assert (load_board(path).name, load_board(path).clock_hz) == ("rocket", 48_000_000)
    assert "is there already" in run("add", "--device", "RK100B", "--pack", pack, "-o", path)[2]
    assert run("add", "--device", "RK050", "--pack", pack, "-o", path, "--force")[0] == 0
    assert load_board(path).core == "cortex-m0plus"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "My Board.yaml"), "write it as my_board.yaml"),
        (("-o", "board.txt"), "write it as board.yaml"),
        (("--clock", "soon"), "--clock: 'soon' is not a rate"),
        (("--core", "slow"), "no processor 'slow'"),
    ],
)
def test_adding_a_board_refuses_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = run("add", "--device", "RK100B", "--pack", write_description(tmp_path), *arguments)
    assert code == 6 and said in error
    assert not list(tmp_path.glob("*.yaml"))


def test_a_pack_that_describes_nonsense_is_reported_and_left_to_be_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pack = write_description(tmp_path, DESCRIPTION.replace('Dclock="64000000"', 'Dclock="900000000000"'))
    code, output, error = run("add", "--device", "RK050", "--pack", pack)
    assert code == 6 and "no valid board" in error and "clock_hz" in output


ORIGINAL = (resource("boards") / "nucleo_h743zi.yaml").read_text()


def use(folder: Path, text: bytes) -> None:
    """Load and check; only errors that name the file may come out."""
    path = folder / "nucleo_h743zi.yaml"
    path.write_bytes(text)
    findings = check_board_file(path)
    try:
        board = load_board(path)
    except BoardError as error:
        assert "nucleo_h743zi.yaml" in str(error)
        assert findings.errors
    else:
        assert findings.board == board or findings.errors


@settings(max_examples=25)
@given(st.integers(0, len(ORIGINAL)))
def test_a_truncated_file_is_an_error_or_a_board(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    use(tmp_path_factory.getbasetemp(), ORIGINAL.encode()[:length])


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, len(ORIGINAL) - 1), st.binary(min_size=1, max_size=4)), max_size=5))
def test_a_damaged_file_is_an_error_or_a_board(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(ORIGINAL.encode())
    for place, new in changes:
        data[place : place + len(new)] = new
    use(tmp_path_factory.getbasetemp(), bytes(data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25)
@given(st.sampled_from(sorted(yaml.safe_load(ORIGINAL))), VALUES)
def test_any_value_of_a_field_is_an_error_or_a_board(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    document = yaml.safe_load(ORIGINAL) | {field: value}
    use(tmp_path_factory.getbasetemp(), yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmemories: [*c, *c]\n",
        "name: &n {<<: *n}\n",
        "memories: &m [*m]\n",
        "? [a, b]\n: c\n",
        "!!python/object/apply:os.system ['true']\n",
        "name: 2001-02-31\n",
        "clock_hz: " + "9" * 5000 + "\n",
        "a: " + "[" * 3000,
        "{1: 2, ~: 3}\n",
        "--- a\n--- b\n",
        "\ufeffname: x\n",
    ],
)
def test_yaml_that_is_out_to_do_harm_is_an_error(tmp_path: Path, text: str) -> None:
    use(tmp_path, text.encode())
    assert check_board_file(tmp_path / "nucleo_h743zi.yaml").errors
