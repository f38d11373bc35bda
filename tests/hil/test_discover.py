"""What is plugged in is recognised by its USB ids; what cannot be used is said with the way out."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hil import discover as discover_module
from hil.discover import discover, find_port, running_emulators, same_serial, serial_ports
from tests.hil.test_images_and_uf2 import drive
from tests.hil.test_programmers import pyocd_list
from tests.support.fake_programs import FakePrograms
from tests.support.fake_usb import hardware_board, plug_in, usb_port
from tinyopt.board import Programmer, UsbId, load_board
from tinyopt.cli.app import app
from tinyopt.errors import DeviceError

ask_for_chips = discover_module._chips


@pytest.fixture(autouse=True)
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the real pyOCD takes seconds."""
    monkeypatch.setattr(discover_module, "_chips", dict)


def test_the_only_board_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0"), usb_port("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001", "CP2102"))
    assert find_port(hardware_board()).device == "/dev/ttyACM0"
    assert find_port(hardware_board(usb=[UsbId(vid=0x10C4, pid=0xEA60)])).device == "/dev/ttyUSB0"


def test_a_product_name_tells_boards_with_the_same_numbers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", product="STM32 STLink"))
    assert find_port(hardware_board(usb=[UsbId(vid=0x483, pid=0x374B, product="stlink")])).device == "/dev/ttyACM0"
    with pytest.raises(DeviceError, match=r"no test_board is plugged in \(USB 0483:374b\)"):
        find_port(hardware_board(usb=[UsbId(vid=0x483, pid=0x374B, product="J-Link")]))


def test_two_boards_are_refused_with_both_named_and_a_serial_number_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", serial="066BFF1"), usb_port("/dev/ttyACM1", serial="0671FF2"))
    with pytest.raises(DeviceError, match=r"several boards fit .*ttyACM0 \(066BFF1\), .*ttyACM1 \(0671FF2\); choose"):
        find_port(hardware_board())
    assert find_port(hardware_board(), "FF2").device == "/dev/ttyACM1"
    assert find_port(hardware_board(), "066b").device == "/dev/ttyACM0"
    with pytest.raises(DeviceError, match="no test_board has the serial number 9; there are: /dev/ttyACM0"):
        find_port(hardware_board(), "9")


def test_several_ports_of_one_board_are_one_board(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {"vid": 0x1366, "pid": 0x1051, "serial": "001050123456", "product": "J-Link"}
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", **ids), usb_port("/dev/ttyACM1", **ids))
    board = hardware_board(usb=[UsbId(vid=0x1366, pid=0x1051)])
    assert find_port(board).device == "/dev/ttyACM0"
    assert find_port(board, "1050123456").device == "/dev/ttyACM0"


def test_the_chip_of_the_probe_tells_two_boards_of_one_maker_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", serial="066BFF1"), usb_port("/dev/ttyACM1", serial="0671FF2"))
    monkeypatch.setattr(discover_module, "_chips", ask_for_chips)
    listed = json.loads(pyocd_list("066BFF1", "0671FF2"))
    listed["boards"][0]["target"] = "stm32f446retx"
    FakePrograms(tmp_path / "bin", monkeypatch).add("pyocd").answer("pyocd", out=json.dumps(listed))
    stlink = UsbId(vid=0x0483, pid=0x374B, product="STM32 STLink")
    board = hardware_board(Programmer(tool="pyocd", target="stm32l4r5zitx"), usb=[stlink])
    assert find_port(board).device == "/dev/ttyACM1"
    names = {one.port.device: one.boards for one in discover([board, load_board("nucleo_f446re")]).ports}
    assert names == {"/dev/ttyACM0": ("nucleo_f446re",), "/dev/ttyACM1": ("test_board",)}


def test_a_board_without_usb_ids_needs_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    with pytest.raises(DeviceError, match="has no USB ids in its file: name its serial port with --port"):
        find_port(hardware_board(usb=[]))


def test_other_ports_are_named_where_the_board_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyUSB0", 0x1A86, 0x7523, "", "USB Serial"))
    with pytest.raises(DeviceError, match=r"other serial ports: /dev/ttyUSB0 \(USB Serial\) \(name one with --port\)"):
        find_port(hardware_board())


def test_legacy_ports_of_a_pc_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    legacy = usb_port("/dev/ttyS0")
    legacy.vid = None
    plug_in(monkeypatch, legacy, usb_port("/dev/ttyACM0"))
    assert [port.device for port in serial_ports()] == ["/dev/ttyACM0"]


def test_serial_numbers_match_by_an_end_whatever_their_zeros() -> None:
    assert same_serial("000683123456", "683123456") and same_serial("683123456", "000683123456")
    assert same_serial("066BFF3034", "066bff") and same_serial("066BFF3034", "3034")
    assert not same_serial("066BFF3034", "FF30") and not same_serial("066BFF", "") and not same_serial("", "1")


def test_boards_probes_and_meters_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(
        monkeypatch,
        usb_port("/dev/ttyACM0", 0x0D28, 0x0204, "9904", "BBC micro:bit CMSIS-DAP"),
        usb_port("/dev/ttyACM1", 0x1915, 0xC00A, "AA", "PPK2"),
    )
    first, second = discover().ports
    assert "microbit_v2" in first.boards and first.probe == "DAPLink"
    assert second.boards == () and second.meter == "ppk2"


def test_a_busy_port_names_who_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    master, line = pty.openpty()
    name = os.ttyname(line)
    plug_in(monkeypatch, usb_port(name))
    program = f"import time\nheld = open({name!r}, 'rb')\nprint('open', flush=True)\ntime.sleep(30)"
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        (port,) = serial_ports()
        assert f"process {other.pid} " in port.busy
        assert any(f"is held by process {other.pid}" in note for note in discover().notes)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
        os.close(master)
        os.close(line)


def test_a_missing_permission_says_which_group_to_join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "ttyACM0"
    path.touch()
    plug_in(monkeypatch, usb_port(str(path)))
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    (note,) = discover().notes
    assert note.startswith(f"no permission to open {path}: join its group (sudo usermod -aG ")


def test_nothing_plugged_in_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    monkeypatch.setattr("hil.uf2._mount_points", list)
    monkeypatch.setattr("hil.discover.running_emulators", list)
    result = CliRunner().invoke(app, ["hil", "discover", "--json"])
    answer = json.loads(result.stdout)
    assert answer["ports"] == [] and "connect the board with a cable that carries data" in answer["notes"][0]


def test_discover_lists_ports_and_drives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", 0x0D28, 0x0204, "9904", "BBC micro:bit CMSIS-DAP"))
    monkeypatch.setattr("hil.uf2._mount_points", lambda: [drive(tmp_path)])
    text = CliRunner().invoke(app, ["hil", "discover"]).stdout
    assert all(word in text for word in ("/dev/ttyACM0", "0d28:0204", "9904", "DAPLink", "microbit_v2", "free"))
    assert f"UF2 drive RPI-RP2 at {tmp_path / 'RPI-RP2'}: Raspberry Pi RP2 (RPI-RP2)" in text


def test_emulators_that_run_in_the_background_are_found(tmp_path: Path) -> None:
    script = tmp_path / "emulator.py"
    script.write_text("import time\ntime.sleep(30)\n")
    command = [
        sys.executable,
        str(script),
        "serve",
        "--folder",
        str(tmp_path / "e"),
        "--",
        "qemu-system-arm",
        "-M",
        "x",
    ]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 5
        found = []
        while not found and time.monotonic() < deadline:
            found = [one for one in running_emulators() if one.process == process.pid]
        assert (found[0].console, found[0].command) == (str(tmp_path / "e" / "console"), "qemu-system-arm -M x")
    finally:
        process.kill()
        process.wait()
