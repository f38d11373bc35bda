"""Programmers call their tools as the tools want it, choose the right probe, and say in a line what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil import programs as programs_module
from hil.discover import Probe
from hil.programmers import choose_programmer, find_resetter
from hil.programmers.bootloaders import Avrdude, DfuUtil, EspTool, Uf2Copy
from hil.programmers.platformio import PlatformioUpload, project_of
from hil.programmers.probes import OpenOcd, PyOcd, StFlash
from tests.hil.test_images_and_uf2 import decode_uf2, drive, leave_soon
from tests.support.fake_programs import FakePrograms
from tests.support.fake_usb import hardware_board, plug_in, usb_port, write_elf
from tinyopt.board import Programmer
from tinyopt.errors import BoardError, ToolError

CODE = bytes(range(200))
PYOCD = Programmer(tool="pyocd", target="stm32l4r5zitx")
OPENOCD = Programmer(tool="openocd", target="board/st_nucleo_l4.cfg")
ST_FLASH = Programmer(tool="st-flash")
ESPTOOL = Programmer(tool="esptool", target="esp32s3", options=("--baud", "460800"))
DFU = Programmer(tool="dfu-util", target="0483:df11")
UF2 = Programmer(tool="uf2", target="RPI-RP2")
AVRDUDE = Programmer(tool="avrdude", target="m2560", options=("-c", "wiring", "-b", "115200"))
PLATFORMIO = Programmer(tool="platformio")


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    plug_in(monkeypatch)
    return FakePrograms(tmp_path / "bin", monkeypatch)


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    return write_elf(tmp_path / "firmware.elf", (0x0800_0000, CODE))


def pyocd_list(*serials: str) -> str:
    """As `pyocd json --probes` of 0.46 prints it."""
    one = {"info": "STMicroelectronics STLINK-V3", "board_vendor": None, "board_name": "NUCLEO-L4R5ZI"}
    one |= {"target": "stm32l4r5zitx", "vendor_name": "STMicroelectronics", "product_name": "STLINK-V3"}
    boards = [{"unique_id": serial, **one} for serial in serials]
    return json.dumps({"pyocd_version": "0.46.0", "version": {"major": 1, "minor": 1}, "status": 0, "boards": boards})


def test_pyocd_writes_the_elf_file_through_the_only_probe(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("066BFF303435"))
    programmer = choose_programmer(hardware_board(PYOCD))
    programmer.flash(elf)
    programmer.reset()
    listing, load, _, reset = fakes.calls()
    assert listing.arguments == ["json", "--probes"]
    assert load.line == f"pyocd load --no-wait --target stm32l4r5zitx --uid 066BFF303435 --format elf {elf}"
    assert reset.line == "pyocd reset --no-wait --target stm32l4r5zitx --uid 066BFF303435"


def test_pyocd_takes_its_target_from_the_device_where_the_board_names_none(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("1"))
    choose_programmer(hardware_board(Programmer(tool="pyocd"))).flash(elf)
    assert "--target stm32l4r5zitx" in fakes.calls()[1].line
    with pytest.raises(BoardError, match="names no target"):
        choose_programmer(hardware_board(Programmer(tool="pyocd"), device="")).flash(elf)


def test_two_probes_are_refused_with_both_named(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("066BFF303435", "0671FF505152"))
    with pytest.raises(ToolError, match=r"2 debug probes are attached: 066BFF303435 .*0671FF505152.*--serial-number"):
        choose_programmer(hardware_board(PYOCD)).flash(elf)
    assert [call.arguments[0] for call in fakes.calls()] == ["json"]


@pytest.mark.parametrize("serial", ["0671FF505152", "671ff", "5152"])
def test_a_serial_number_or_an_end_of_it_chooses_the_probe(fakes: FakePrograms, elf: Path, serial: str) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("066BFF303435", "0671FF505152"))
    choose_programmer(hardware_board(PYOCD), serial_number=serial).flash(elf)
    assert "--uid 0671FF505152" in fakes.calls()[1].line


def test_a_serial_number_that_no_probe_has_is_refused(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("066BFF303435", "066BFF999999"))
    with pytest.raises(ToolError, match="no debug probe has the serial number 77; pyocd sees: 066BFF303435"):
        choose_programmer(hardware_board(PYOCD), serial_number="77").flash(elf)
    with pytest.raises(ToolError, match="several debug probes have the serial number 066B"):
        choose_programmer(hardware_board(PYOCD), serial_number="066B").flash(elf)


def test_of_two_probes_the_one_with_the_boards_usb_ids_is_taken(
    fakes: FakePrograms, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", serial="0671FF505152"), usb_port("/dev/ttyACM1", 0x1366, 0x105, "68"))
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("000000000068", "0671FF505152"))
    choose_programmer(hardware_board(PYOCD)).flash(elf)
    assert "--uid 0671FF505152" in fakes.calls()[1].line


def test_no_probe_is_an_error_that_says_what_to_do(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list())
    with pytest.raises(ToolError, match="pyocd sees no debug probe: plug the board in"):
        choose_programmer(hardware_board(PYOCD)).flash(elf)


def test_an_unknown_list_of_probes_is_reported(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out="Traceback")
    with pytest.raises(ToolError, match="in a form that is not known"):
        choose_programmer(hardware_board(PYOCD)).flash(elf)


FAILURES = [
    (
        "0000372 I Target type is stm32l4r5zitx [board]\n0000972 C Memory transfer fault: APPROTECT is enabled, chip "
        "is locked [__main__]\n",
        "APPROTECT is enabled",
        "the chip is locked: erase it completely",
    ),
    (
        "0000512 C Target type nonsense not recognized. Use 'pyocd list --targets' to see currently available target "
        "types. [__main__]\n",
        "Target type nonsense not recognized",
        "pyocd pack install",
    ),
    ("0001000 C Error connecting DP: SWD/JTAG timeout [__main__]\n", "Error connecting DP", "board has power"),
    ("0000100 C STLink error (18): usb.core.USBError: [Errno 13] Access denied\n", "Access denied", "udev rules"),
    ("", "said nothing", ""),
]


@pytest.mark.parametrize(("output", "said", "hint"), FAILURES)
def test_a_failure_is_told_with_the_tools_own_words_and_advice(
    fakes: FakePrograms, elf: Path, output: str, said: str, hint: str
) -> None:
    fakes.add("pyocd").answer("pyocd", "json", out=pyocd_list("1")).answer("pyocd", "load", err=output, code=1)
    with pytest.raises(ToolError) as caught:
        choose_programmer(hardware_board(PYOCD)).flash(elf)
    first, _, second = str(caught.value).partition("\n")
    assert first.startswith("cannot flash test_board: pyocd failed (code 1)")
    assert said in first and hint in second


def test_a_tool_that_hangs_is_stopped(fakes: FakePrograms, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        programs_module.run_program,
        "__kwdefaults__",
        {
            **(programs_module.run_program.__kwdefaults__ or {}),
            "timeout": 1.0,
        },
    )
    fakes.add("openocd").answer("openocd", seconds=30)
    with pytest.raises(ToolError, match="openocd did not finish within 1 s"):
        choose_programmer(hardware_board(OPENOCD)).flash(elf)


def test_openocd_programs_verifies_and_resets(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("openocd")
    programmer = choose_programmer(hardware_board(OPENOCD), serial_number="066BFF")
    programmer.flash(elf)
    programmer.reset()
    flash, reset = fakes.calls()
    assert flash.arguments[:4] == ["-f", "board/st_nucleo_l4.cfg", "-c", "adapter serial 066BFF"]
    assert flash.arguments[-2:] == ["-c", f"program {{{elf}}} verify reset exit"]
    assert reset.arguments[-6:] == ["-c", "init", "-c", "reset run", "-c", "shutdown"]
    assert all(f"{server} disabled" in flash.arguments for server in ("gdb_port", "tcl_port", "telnet_port"))


def test_openocd_reads_several_configuration_files(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("openocd")
    entry = Programmer(tool="openocd", target="interface/cmsis-dap.cfg,target/rp2040.cfg", options=("-d0",))
    choose_programmer(hardware_board(entry)).flash(elf)
    assert fakes.calls()[0].line.startswith("openocd -f interface/cmsis-dap.cfg -f target/rp2040.cfg -c gdb_port")
    assert "-d0" in fakes.calls()[0].arguments


def test_openocd_gets_the_full_serial_number_from_usb_and_refuses_two_boards(
    fakes: FakePrograms, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.add("openocd")
    plug_in(monkeypatch, usb_port("/dev/ttyACM0", serial="066BFF303435"), usb_port("/dev/ttyACM1", serial="0671FF5051"))
    with pytest.raises(ToolError, match=r"2 debug probes are attached: 066BFF303435.*0671FF5051"):
        choose_programmer(hardware_board(OPENOCD)).flash(elf)
    choose_programmer(hardware_board(OPENOCD), serial_number="5051").flash(elf)
    assert "adapter serial 0671FF5051" in fakes.calls()[0].arguments


def test_openocd_is_given_nothing_that_tcl_would_run(fakes: FakePrograms, tmp_path: Path) -> None:
    fakes.add("openocd")
    folder = tmp_path / "a}; exec rm {b"
    folder.mkdir()
    with pytest.raises(ToolError, match="no file with braces"):
        choose_programmer(hardware_board(OPENOCD)).flash(write_elf(folder / "a.elf", (0, b"x")))
    with pytest.raises(ToolError, match="not the serial number"):
        choose_programmer(hardware_board(OPENOCD), serial_number="1; exec ls").reset()
    assert fakes.calls() == []


ST_INFO = """Found 1 stlink programmers
  version:    V2J43S28
  serial:     0671FF343056363043090732
  flash:      2097152 (pagesize: 4096)
  sram:       655360
  chipid:     0x470
  dev-type:   STM32L4Rx
"""


def test_st_flash_writes_a_flat_binary_to_its_address(fakes: FakePrograms, tmp_path: Path) -> None:
    fakes.add("st-flash", "st-info").answer("st-info", out=ST_INFO)
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"vectors"), (0x0800_0010, b"code"))
    programmer = choose_programmer(hardware_board(ST_FLASH))
    programmer.flash(elf)
    programmer.reset()
    _, flash, _, reset = fakes.calls()
    assert flash.arguments[:4] == ["--serial", "0671FF343056363043090732", "--reset", "write"]
    assert flash.arguments[-1] == "0x08000000"
    assert flash.files == [b"vectors" + b"\xff" * 9 + b"code"]
    assert reset.arguments == ["--serial", "0671FF343056363043090732", "reset"]


def test_st_flash_without_a_probe(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("st-flash", "st-info").answer("st-info", out="Found 0 stlink programmers\n")
    with pytest.raises(ToolError, match="st-info sees no debug probe"):
        choose_programmer(hardware_board(ST_FLASH)).flash(elf)


def test_esptool_makes_an_image_where_only_an_elf_file_is_there(fakes: FakePrograms, elf: Path, tmp_path: Path) -> None:
    fakes.add("esptool")
    port = tmp_path / "ttyUSB0"
    port.touch()
    choose_programmer(hardware_board(ESPTOOL)).flash(elf, str(port))
    image, write = fakes.calls()
    assert image.arguments[:4] == ["--chip", "esp32s3", "elf2image", "--output"] and image.arguments[-1] == str(elf)
    assert write.arguments[:7] == ["--chip", "esp32s3", "--port", str(port), "--baud", "460800", "write_flash"]
    assert write.arguments[7:] == ["0x10000", image.arguments[4]]


def test_esptool_writes_bootloader_and_partitions_of_a_build(fakes: FakePrograms, elf: Path, tmp_path: Path) -> None:
    fakes.add("esptool.py")
    for name in ("firmware.bin", "bootloader.bin", "partitions.bin"):
        (elf.parent / name).write_text(name)
    port = tmp_path / "ttyUSB0"
    port.touch()
    for chip, start in (("esp32", "0x1000"), ("esp32c3", "0x0")):
        entry = Programmer(tool="esptool", target=chip)
        choose_programmer(hardware_board(entry)).flash(elf, str(port))
        call = fakes.calls()[-1]
        assert call.program == "esptool.py"
        assert call.arguments[5::2] == [start, "0x8000", "0x10000"]
        assert call.files[-3:] == [b"bootloader.bin", b"partitions.bin", b"firmware.bin"]


def test_esptool_writes_what_an_esp_idf_build_lists(fakes: FakePrograms, elf: Path, tmp_path: Path) -> None:
    fakes.add("esptool")
    port = tmp_path / "ttyUSB0"
    port.touch()
    files = {"0x10000": "app.bin", "0x0": "bootloader/bootloader.bin"}
    (elf.parent / "flasher_args.json").write_text(json.dumps({"flash_files": files}))
    choose_programmer(hardware_board(ESPTOOL)).flash(elf, str(port))
    assert fakes.calls()[0].arguments[-4:] == [
        "0x0", str(elf.parent / "bootloader/bootloader.bin"), "0x10000", str(elf.parent / "app.bin"),
    ]  # fmt: skip
    (elf.parent / "flasher_args.json").write_text("[]")
    with pytest.raises(ToolError, match="does not list the files"):
        choose_programmer(hardware_board(ESPTOOL)).flash(elf, str(port))


def test_tools_that_need_a_port_find_the_boards_or_ask_for_it(
    fakes: FakePrograms, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.add("esptool")
    board = hardware_board(ESPTOOL)
    with pytest.raises(ToolError, match=r"needs the serial port of the board \(--port\); none that fits"):
        choose_programmer(board).flash(elf)
    plug_in(monkeypatch, usb_port("/dev/ttyACM7"), usb_port("/dev/ttyACM8", serial="AB"))
    with pytest.raises(ToolError, match="these fit: /dev/ttyACM7, /dev/ttyACM8"):
        choose_programmer(board).flash(elf)
    choose_programmer(board, serial_number="AB").flash(elf)
    assert "--port /dev/ttyACM8" in fakes.calls()[-1].line
    with pytest.raises(ToolError, match="there is no serial port /dev/ttyUSB99"):
        choose_programmer(board).flash(elf, "/dev/ttyUSB99")


def test_esptool_without_a_chip_that_answers(fakes: FakePrograms, elf: Path, tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    said = "esptool v5.6.0\nConnecting......................................\n\n"
    wrong = (
        "A fatal error occurred: Failed to connect to ESP32-S3: No serial data received.\nFor troubleshooting visit\n"
    )
    fakes.add("esptool").answer("esptool", "write_flash", out=said, err=wrong, code=2)
    with pytest.raises(
        ToolError, match=r"Failed to connect to ESP32-S3: No serial data received.\nhold the board's boot"
    ):
        choose_programmer(hardware_board(ESPTOOL)).flash(elf, str(port))


DFU_LIST = """dfu-util 0.11

Found DFU: [0483:df11] ver=2200, devnum=12, cfg=1, intf=0, path="1-1", alt=1, name="@Option Bytes", serial="3276364D"
Found DFU: [0483:df11] ver=2200, devnum=12, cfg=1, intf=0, path="1-1", alt=0, name="@Internal Flash", serial="3276364D"
Found DFU: [2341:0364] ver=0200, devnum=13, cfg=1, intf=0, path="1-2", alt=0, name="other", serial="77"
"""


def test_dfu_util_writes_to_the_address_and_leaves(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("dfu-util").answer("dfu-util", "--list", out=DFU_LIST)
    # It reports an error when the board leaves before it has answered; the firmware is written all the same.
    complaint = "dfu-util: Error during get_status\n"
    fakes.answer("dfu-util", "--download", out="File downloaded successfully\n", err=complaint, code=74)
    choose_programmer(hardware_board(DFU)).flash(elf)
    call = fakes.calls()[-1]
    assert call.arguments[:6] == ["--device", ",0483:df11", "--alt", "0", "--dfuse-address", "0x08000000:leave"]
    assert call.arguments[6] == "--download" and call.files == [CODE]


def test_dfu_util_chooses_among_devices(fakes: FakePrograms, elf: Path) -> None:
    two = DFU_LIST + DFU_LIST.splitlines()[3].replace("3276364D", "AAAA0001").replace("1-1", "1-3") + "\n"
    fakes.add("dfu-util").answer("dfu-util", "--list", out=two)
    with pytest.raises(ToolError, match=r"2 debug probes are attached: 3276364D .*AAAA0001"):
        choose_programmer(hardware_board(DFU)).flash(elf)
    choose_programmer(hardware_board(DFU), serial_number="0001").flash(elf)
    assert "--serial ,AAAA0001" in fakes.calls()[-1].line


def test_dfu_util_without_a_device_says_how_to_get_into_the_bootloader(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("dfu-util").answer("dfu-util", "--list", out="dfu-util 0.11\n")
    with pytest.raises(ToolError, match="no device 0483:df11 is in its bootloader: start it"):
        choose_programmer(hardware_board(DFU)).flash(elf)
    with pytest.raises(BoardError, match="needs a target like 0483:df11"):
        choose_programmer(hardware_board(Programmer(tool="dfu-util", target="stm32"))).flash(elf)


def test_avrdude_writes_intel_hex(fakes: FakePrograms, tmp_path: Path) -> None:
    fakes.add("avrdude")
    port = tmp_path / "ttyACM0"
    port.touch()
    elf = write_elf(tmp_path / "a.elf", (0, b"\x0c\x94\x5d\x00"), machine=83)
    choose_programmer(hardware_board(AVRDUDE)).flash(elf, str(port))
    call = fakes.calls()[0]
    assert call.arguments[:8] == ["-p", "m2560", "-c", "wiring", "-b", "115200", "-P", str(port)]
    assert call.arguments[8:10] == ["-D", "-U"] and call.arguments[10].startswith("flash:w:")
    assert call.files[-1] == b":040000000C945D00FF\n:00000001FF\n"


def test_a_uf2_file_is_copied_with_the_family_of_the_board(
    fakes: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drive(tmp_path / "media")
    monkeypatch.setattr("hil.uf2._mount_points", lambda: [path])
    thread = leave_soon(path)
    elf = write_elf(tmp_path / "a.elf", (0x1000_0000, CODE))
    choose_programmer(hardware_board(UF2)).flash(elf)
    thread.join()
    found, families = decode_uf2((path / "FIRMWARE.UF2").read_bytes())
    assert families == {0xE48BFF56}
    assert bytes(found[0x1000_0000 + i] for i in range(len(CODE))) == CODE


def test_the_uf2_family_follows_from_board_and_core() -> None:
    pico2 = Programmer(tool="uf2", target="RP2350")
    assert Uf2Copy(hardware_board(pico2, core="cortex-m33"), pico2).family() == 0xE48BFF59
    assert Uf2Copy(hardware_board(pico2, core="rv32imac"), pico2).family() == 0xE48BFF5A
    feather = Programmer(tool="uf2", target="FTHR840BOOT", options=("family=NRF52840",))
    assert Uf2Copy(hardware_board(feather), feather).family() == 0xADA52840
    unknown = Programmer(tool="uf2", target="FTHR840BOOT")
    with pytest.raises(BoardError, match="needs an option family=NAME"):
        Uf2Copy(hardware_board(unknown), unknown).family()


def pio_build(folder: Path) -> Path:
    (folder / "platformio.ini").parent.mkdir(parents=True, exist_ok=True)
    (folder / "platformio.ini").write_text("[env:nucleo]\n")
    build = folder / ".pio" / "build" / "nucleo_measure"
    build.mkdir(parents=True)
    return write_elf(build / "firmware.elf", (0x0800_0000, CODE))


def test_platformio_uploads_from_the_project_of_the_firmware(fakes: FakePrograms, tmp_path: Path) -> None:
    fakes.add("pio")
    elf = pio_build(tmp_path / "project")
    choose_programmer(hardware_board(PLATFORMIO)).flash(elf, "/dev/ttyACM0")
    assert fakes.calls()[0].line == (
        f"pio run --project-dir {tmp_path / 'project'} --environment nucleo_measure "
        "--target nobuild --target upload --upload-port /dev/ttyACM0"
    )


def test_platformio_flashes_nothing_that_it_did_not_build(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").touch()
    with pytest.raises(ToolError, match=r"PlatformIO flashes what it has built.*--programmer"):
        project_of(tmp_path / "build" / "firmware.elf")


def test_the_first_programmer_that_is_installed_is_taken(fakes: FakePrograms) -> None:
    board = hardware_board(PYOCD, OPENOCD, UF2)
    assert choose_programmer(board).tool == "uf2"
    fakes.add("openocd")
    assert choose_programmer(board).tool == "openocd"
    assert find_resetter(board) is not None
    assert find_resetter(board, "uf2") is None


def test_platformio_is_passed_over_for_a_firmware_that_it_did_not_build(fakes: FakePrograms, elf: Path) -> None:
    fakes.add("pio", "openocd")
    board = hardware_board(PLATFORMIO, OPENOCD)
    assert choose_programmer(board, elf=elf).tool == "openocd"
    assert choose_programmer(board, elf=pio_build(elf.parent / "project")).tool == "platformio"


def test_a_missing_tool_is_named_with_the_way_to_install_it(fakes: FakePrograms, elf: Path) -> None:
    for entry, advice in (
        (PYOCD, r"pyocd is not installed; to install it: pip install 'tinyopt\[flash\]'"),
        (OPENOCD, "openocd is not installed; to install it: sudo apt-get install openocd"),
        (ST_FLASH, "stlink-tools"),
        (ESPTOOL, r"tinyopt\[flash\]"),
        (DFU, "apt-get install dfu-util"),
        (AVRDUDE, "apt-get install avrdude"),
    ):
        with pytest.raises(ToolError, match=advice):
            choose_programmer(hardware_board(entry)).flash(elf, "COM3")
    with pytest.raises(ToolError, match="none of the programmers of board 'test_board' is installed: pyocd, openocd"):
        choose_programmer(hardware_board(PYOCD, OPENOCD))


def test_a_board_without_the_programmer_says_which_it_has() -> None:
    with pytest.raises(BoardError, match="has no programmer 'uf2'; it has: pyocd, openocd"):
        choose_programmer(hardware_board(PYOCD, OPENOCD), "uf2")
    with pytest.raises(BoardError, match="names no programmer: add `programmers` to its file"):
        choose_programmer(hardware_board())


# The tools themselves, as far as they run with nothing plugged in: they accept the arguments and miss the hardware.


def real(name: str) -> None:
    if not programs_module.is_installed(name):
        pytest.skip(f"not installed: {name}")


REAL = [
    (PyOcd, PYOCD, "pyocd", ": No (target device available|connected debug probe)"),
    (OpenOcd, OPENOCD, "openocd", "open failed|unable to find"),
    (StFlash, ST_FLASH, "st-flash", "Couldn't find any ST-Link"),
    (DfuUtil, DFU, "dfu-util", "No DFU capable USB device"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "entry", "name", "message"), REAL)
def test_real_tools_take_the_arguments_and_miss_only_the_board(
    driver: type, entry: Programmer, name: str, message: str, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real(name)
    plug_in(monkeypatch)
    probe = Probe("066BFF303435", "pretended")
    if hasattr(driver, "probes"):
        monkeypatch.setattr(driver, "probes", lambda self: [probe])
    programmer = driver(hardware_board(entry), entry, "066BFF303435")
    with pytest.raises(ToolError, match=message) as caught:
        programmer.flash(elf)
    assert "plug the board in" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("driver", "entry", "name"), [(one, entry, name) for one, entry, name, _ in REAL if one != OpenOcd]
)
def test_real_tools_list_no_probe_where_there_is_none(driver: type, entry: Programmer, name: str) -> None:
    real(name)
    assert not [
        probe for probe in driver(hardware_board(entry), entry).probes() if probe.serial_number == "066BFF303435"
    ]


@pytest.mark.slow
def test_the_real_esptool_makes_an_image_and_misses_the_chip(tmp_path: Path) -> None:
    real("esptool")
    port = tmp_path / "ttyUSB0"
    port.touch()
    (tmp_path / "firmware.bin").write_bytes(bytes(1024))
    elf = write_elf(tmp_path / "firmware.elf", (0x4200_0020, CODE), machine=94)
    with pytest.raises(ToolError, match=r"esptool failed .*(open|port|termios|ioctl)"):
        EspTool(hardware_board(ESPTOOL), ESPTOOL).flash(elf, str(port))


@pytest.mark.slow
def test_the_real_avrdude_takes_the_arguments(tmp_path: Path, elf: Path) -> None:
    real("avrdude")
    port = tmp_path / "ttyUSB0"
    port.touch()
    entry = Programmer(tool="avrdude", target="m328p", options=("-c", "arduino", "-b", "115200"))
    small = write_elf(tmp_path / "a.elf", (0, CODE), machine=83)
    with pytest.raises(ToolError, match=r"avrdude (failed|did not finish)"):
        Avrdude(hardware_board(entry), entry).flash(small, str(port))


@pytest.mark.slow
def test_the_real_platformio_takes_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real("pio")
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    elf = pio_build(tmp_path / "project")
    with pytest.raises(ToolError, match="Unknown environment names 'nucleo_measure'"):
        PlatformioUpload(hardware_board(PLATFORMIO), PLATFORMIO).flash(elf)
