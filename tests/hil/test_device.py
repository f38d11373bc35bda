"""A device is a started board with an open console; it restarts, comes back after a cable was pulled, and lets go."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hil.emulators import start_emulator
from hil.opening import open_device
from hil.protocol import BlockClient
from hil.transports import SerialTransport, open_console
from tests.hil.test_emulated_boards import ready
from tests.hil.test_programmers import OPENOCD, pyocd_list
from tests.support.fake_programs import FakePrograms
from tests.support.fake_usb import hardware_board, plug_in, usb_port, write_elf
from tinyopt.board import Programmer, load_board
from tinyopt.cli.app import app
from tinyopt.errors import BoardError, DeviceError, ToolError


class Line:
    """A pseudo-terminal that is a board: it answers whatever it hears with ``pong``. ``path`` leads to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ttyACM0"
        self.heard = bytearray()
        self.plug_in()

    def plug_in(self) -> None:
        master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(master, self._gone), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        if not self._gone.is_set():
            self._gone.set()
            self._thread.join()
            os.close(self._slave)
            self.path.unlink()

    def _serve(self, master: int, gone: threading.Event) -> None:
        while not gone.is_set():
            if select.select([master], [], [], 0.02)[0]:
                self.heard += os.read(master, 100)
                os.write(master, b"pong")
        os.close(master)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    one = Line(tmp_path)
    yield one
    one.unplug()


@pytest.mark.parametrize("name", ["host", "mps2_an386"])
def test_an_emulated_board_is_started_restarted_and_stopped(name: str) -> None:
    board, firmware = ready(name)
    with open_device(board, firmware) as device:
        assert device.name == f"emulated {name}"
        client = BlockClient(device.transport)
        client.wait_until_ready()
        assert client.hello().name == "fake"
        before = device.transport
        device.restart()
        assert device.transport is not before
        again = BlockClient(device.transport)
        again.wait_until_ready()
        assert again.hello().name == "fake"
    with pytest.raises(DeviceError, match=f"emulated {name} is closed"):
        device.restart()
    with pytest.raises(DeviceError):
        device.transport.read(0.1)


def test_an_emulated_board_needs_a_firmware() -> None:
    with pytest.raises(DeviceError, match="there is no firmware to start"), open_device(load_board("host"), None):
        pass


def test_an_emulated_board_that_already_runs_is_reached_through_a_socket(tmp_path: Path) -> None:
    board, firmware = ready("host")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(tmp_path / "console"))
    server.listen(1)

    def serve() -> None:
        connection, _ = server.accept()
        with start_emulator(board, firmware.elf) as emulator, connection, contextlib.suppress(DeviceError, OSError):
            connection.settimeout(0.01)
            while True:
                with contextlib.suppress(TimeoutError):
                    data = connection.recv(4096)
                    if not data:
                        return
                    emulator.transport.write(data, 1)
                connection.sendall(emulator.transport.read(0.01))

    thread = threading.Thread(target=serve)
    thread.start()
    with open_device(board, firmware, port=f"unix:{tmp_path / 'console'}") as device:
        assert BlockClient(device.transport).find().name == "fake"
        assert device.name == f"host on unix:{tmp_path / 'console'}"
    thread.join(5)
    server.close()


def test_tcp_addresses_are_opened_and_bad_ones_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        transport = open_console(f"tcp://127.0.0.1:{port}")
        connection, _ = server.accept()
        connection.sendall(b"hello")
        assert transport.read(1) == b"hello"
        transport.close()
        transport.close()
        with pytest.raises(DeviceError, match="is closed"):
            transport.read(0)
        connection.close()
    with pytest.raises(DeviceError, match=f"cannot connect to 127.0.0.1, port {port}"):
        open_console(f"tcp://127.0.0.1:{port}")
    for bad in ("tcp://nohost", "tcp://host:port", "tcp://:99999"):
        with pytest.raises(DeviceError, match="is not the address of a TCP port"):
            open_console(bad)


def test_a_port_belongs_to_one_process(line: Line) -> None:
    name = os.path.realpath(line.path)
    program = (
        "import sys, time\nfrom hil.transports import open_console\n"
        "held = open_console(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(30)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(DeviceError, match=rf"{name} is busy: held by process {other.pid} \(.*\); close that first"):
            open_console(name)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    open_console(name).close()  # nothing stays locked


def test_a_port_is_opened_once_by_a_process_and_free_after(line: Line) -> None:
    name = os.path.realpath(line.path)
    transport = open_console(name)
    assert isinstance(transport, SerialTransport)
    with pytest.raises(DeviceError, match="is busy: held by this process"):
        open_console(name)
    transport.close()
    open_console(name).close()


def test_what_is_no_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="there is no serial port /dev/none: is the board plugged in"):
        open_console("/dev/none")
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match="file"):
        open_console(str(tmp_path / "file"))


def test_a_hardware_board_is_flashed_then_its_console_opened(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, usb_port(os.path.realpath(line.path)))
    fakes = FakePrograms(tmp_path / "bin", monkeypatch).add("openocd")
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    with open_device(hardware_board(OPENOCD), elf, port="auto") as device:
        assert device.name == f"test_board (066BFF303435) on {os.path.realpath(line.path)}"
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"
        assert [call.arguments[-1] for call in fakes.calls()] == [f"program {{{elf}}} verify reset exit"]
        assert "adapter serial 066BFF303435" in fakes.calls()[0].arguments
        device.restart()
        assert fakes.calls()[-1].arguments[-3:] == ["reset run", "-c", "shutdown"]
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"


def test_a_board_is_not_flashed_where_that_is_not_wanted(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch)
    fakes = FakePrograms(tmp_path / "bin", monkeypatch).add("openocd")
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    with open_device(hardware_board(OPENOCD), elf, port=str(line.path), flash=False) as device:
        assert device.name == f"test_board on {line.path}"
    assert fakes.calls() == []


def test_a_failed_flash_leaves_nothing_open(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, usb_port(os.path.realpath(line.path)))
    FakePrograms(tmp_path / "bin", monkeypatch).add("openocd").answer("openocd", err="Error: open failed\n", code=1)
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    with pytest.raises(ToolError, match="Error: open failed"), open_device(hardware_board(OPENOCD), elf, port="auto"):
        pass
    open_console(os.path.realpath(line.path)).close()


def test_a_board_without_a_programmer_cannot_be_flashed(line: Line, tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    board = hardware_board()
    with pytest.raises(BoardError, match="names no programmer"), open_device(board, elf, port=str(line.path)):
        pass


def test_a_hardware_board_needs_a_port() -> None:
    message = "is hardware: name its serial port, or let --port auto look"
    with pytest.raises(DeviceError, match=message), open_device(hardware_board(), None):
        pass


def test_an_unplugged_board_is_reported_and_comes_back(line: Line) -> None:
    with open_device(hardware_board(usb=[]), None, port=str(line.path)) as device:
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"
        line.unplug()
        with pytest.raises(DeviceError, match=f"{line.path} is gone: the board was unplugged"):
            while True:
                device.transport.read(0.5)
        threading.Timer(0.4, line.plug_in).start()
        device.reconnect()
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"


def test_a_board_may_come_back_under_another_name(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = os.path.realpath(line.path)
    plug_in(monkeypatch, usb_port(first))
    with open_device(hardware_board(), None, port="auto") as device:
        held = os.open(first, os.O_RDWR | os.O_NOCTTY)  # keeps its number from being given out again
        line.unplug()
        (tmp_path / "again").mkdir()
        other = Line(tmp_path / "again")
        plug_in(monkeypatch, usb_port(os.path.realpath(other.path)))
        device.reconnect()
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"
        os.close(held)
    other.unplug()


def test_a_board_that_stays_away_is_reported(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hil.device.RETURN_SECONDS", 0.3)
    with open_device(hardware_board(usb=[]), None, port=str(line.path)) as device:
        line.unplug()
        with pytest.raises(DeviceError, match="there is no serial port"):
            device.reconnect()


@pytest.mark.parametrize(("tool", "kind"), [("avrdude", "data_terminal_ready"), ("esptool", "request_to_send")])
def test_boards_without_a_probe_are_reset_by_a_control_line(
    line: Line, monkeypatch: pytest.MonkeyPatch, tool: str, kind: str
) -> None:
    pulses: list[dict[str, bool]] = []
    monkeypatch.setattr(SerialTransport, "pulse", lambda self, **lines: pulses.append(lines))
    board = hardware_board(Programmer(tool=tool, target="m328p"), usb=[])  # type: ignore[arg-type]
    with open_device(board, None, port=str(line.path)) as device:
        device.restart()
        device.transport.write(b"ping", 1)
        assert device.transport.read(1) == b"pong"
    assert pulses == [{kind: True}]


def test_a_busy_port_is_refused_before_anything_is_flashed(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = usb_port(os.path.realpath(line.path))
    plug_in(monkeypatch, port)
    monkeypatch.setattr("hil.discover.holders", lambda device: [1])
    fakes = FakePrograms(tmp_path / "bin", monkeypatch).add("openocd")
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    message = r"is busy: held by process 1 .*; close that first"
    with pytest.raises(DeviceError, match=message), open_device(hardware_board(OPENOCD), elf, port="auto"):
        pass
    assert fakes.calls() == []


# The commands


def test_flash_writes_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    FakePrograms(tmp_path / "bin", monkeypatch).add("pyocd").answer("pyocd", "json", out=pyocd_list("066B"))
    elf = write_elf(tmp_path / "a.elf", (0x0800_0000, b"code"))
    result = CliRunner().invoke(app, ["hil", "flash", str(elf), "-b", "nucleo_l4r5zi"])
    assert result.exit_code == 0 and "nucleo_l4r5zi runs a.elf; flashing took" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flash", "a.elf", "-b", "mps2_an386"], "is emulated: there is nothing to flash"),
        (["flash", "none.elf", "-b", "nucleo_l4r5zi"], "there is no firmware none.elf"),
        (["monitor", "-b", "mps2_an386"], "say with --firmware what the emulated board"),
        (["monitor", "-b", "host", "--firmware", "none.elf"], "there is no firmware none.elf"),
        (["monitor", "-b", "nucleo_l4r5zi"], "no nucleo_l4r5zi is plugged in"),
        (["meter", "scale:COM1"], "there is no meter 'scale'"),
    ],
)
def test_commands_that_cannot_work_say_why(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    monkeypatch.setattr("hil.discover.running_emulators", list)
    result = CliRunner().invoke(app, ["hil", *arguments])
    assert message in str(result.exception)


def test_the_monitor_shows_what_a_board_says_and_sends_what_it_is_given() -> None:
    _, firmware = ready("host")
    command = [sys.executable, "-m", "tinyopt", "hil", "monitor", "-b", "host", "--firmware", str(firmware.elf)]
    done = subprocess.run(
        [*command, "--send", "name%", "--seconds", "3"], input=b"profile%", capture_output=True, timeout=200
    )
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "m-ready" in text and "m-name-dut-[" in text and "m-model-[fake]" in text
    assert b"emulated host; Ctrl-C ends" in done.stderr


def test_the_monitor_ends_with_the_emulator(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.write_text("#!/bin/sh\necho goodbye\nexit 3\n")
    dead.chmod(0o755)
    command = [sys.executable, "-m", "tinyopt", "hil", "monitor", "-b", "host", "--firmware", str(dead)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
    assert done.returncode == DeviceError.exit_code
    assert done.stdout == b"goodbye\n" and b"dead ended with code 3" in done.stderr


def test_the_monitor_waits_for_a_board_that_was_unplugged_and_ends_at_control_c(line: Line) -> None:
    command = [sys.executable, "-m", "tinyopt", "hil", "monitor", "-b", "nucleo_l4r5zi", "--port", str(line.path)]
    process = subprocess.Popen(
        [*command, "--send", "ping"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.read(4) == b"pong"
    line.unplug()
    time.sleep(0.5)
    line.heard.clear()
    line.plug_in()
    process.stdin.write(b"again\n")
    process.stdin.flush()
    assert process.stdout.read(4) == b"pong"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (out, process.returncode) == (b"", 130), err
    assert b"is gone: the board was unplugged" in err and b"connected again" in err
    assert line.heard == b"again\n"
    open_console(os.path.realpath(line.path)).close()
