"""Emulated boards are boards of PlatformIO: build, start, talk to, replace, stop and test, without network."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_generate import small_plan

from tinyopt.board import load_board
from tinyopt.errors import BoardError, TinyoptError
from tinyopt.generate import Project, generate
from tinyopt.generate.development_platform import emulated_boards, install_platform, install_scons, platform_files
from tinyopt.plan import make_plan
from tinyopt.resources import resource

EMULATOR = resource("templates") / "development_platform" / "emulator.py"
BOARD = "mps2_an386"


def test_every_emulated_board_is_in_the_platform() -> None:
    files = {file.path: file.content for file in platform_files(emulated_boards())}
    for board in emulated_boards():
        manifest = json.loads(files[f"boards/{board.name}.json"])
        assert {"name", "url", "vendor"} <= set(manifest)
        for source in manifest["build"]["sources"]:
            assert source in files
        if manifest["build"]["sources"]:
            assert manifest["build"]["linker_script"] in files


def test_hardware_is_no_board_of_the_platform() -> None:
    with pytest.raises(BoardError, match="has no emulator"):
        platform_files([load_board("nucleo_l4r5zi")])


def test_an_older_installation_is_replaced_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    folder = install_platform(tmp_path)
    (folder / "old").touch()
    assert install_platform(tmp_path) == folder and not (folder / "old").exists()
    (folder / "platform.json").write_text('{"name": "else"}')
    with pytest.raises(TinyoptError, match="is not tinyopt's"):
        install_platform(tmp_path)


def emulator(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EMULATOR), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def heard(terminal: int, wanted: bytes, seconds: float = 60.0) -> bytes:
    data = b""
    deadline = time.monotonic() + seconds
    while wanted not in data and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                data += os.read(terminal, 4096)
            except OSError:
                break
    return data


ECHO = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print('>' + line, end='', flush=True)\n"


def test_a_background_board_keeps_what_it_said_for_who_comes_and_answers(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    started = emulator("start", "--folder", folder, "--", sys.executable, "-c", ECHO)
    assert started.returncode == 0, started.stderr
    try:
        for _ in range(2):
            terminal = os.open(folder / "console", os.O_RDWR | os.O_NOCTTY)
            os.write(terminal, b"hello\n")
            assert b">hello" in heard(terminal, b">hello")
            os.close(terminal)
            time.sleep(0.2)
        first = json.loads((folder / "state.json").read_text())["pid"]
        assert emulator("start", "--folder", folder, "--", sys.executable, "-c", ECHO).returncode == 0
        assert json.loads((folder / "state.json").read_text())["pid"] != first
        terminal = os.open(folder / "console", os.O_RDWR | os.O_NOCTTY)
        assert b"ready" in heard(terminal, b"ready")
        os.close(terminal)
    finally:
        assert "stopped" in emulator("stop", "--folder", folder).stdout
    assert not (folder / "console").is_symlink()
    assert "nothing is running" in emulator("stop", "--folder", folder).stdout


def test_a_board_that_nobody_talks_to_ends_by_itself(tmp_path: Path) -> None:
    assert emulator("start", "--folder", tmp_path, "--timeout", "0.5", "--", "sleep", "600").returncode == 0
    deadline = time.monotonic() + 30
    while (tmp_path / "console").is_symlink() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "nothing is running" in emulator("stop", "--folder", tmp_path).stdout


def test_a_board_that_does_not_start_says_why(tmp_path: Path) -> None:
    failed = emulator("start", "--folder", tmp_path, "--", "sh", "-c", "echo no such machine >&2; exit 3")
    assert failed.returncode != 0 and "no such machine" in failed.stderr


@pytest.mark.parametrize(
    "text, code", [("2 Tests 0 Failures 0 Ignored", 0), ("2 Tests 1 Failures 0 Ignored", 1), ("nothing", 2)]
)
def test_a_test_run_ends_with_its_last_line(text: str, code: int) -> None:
    end = "sleep 600" if code < 2 else "exit 0"
    assert emulator("run", "--timeout", "60", "--", "sh", "-c", f"echo '{text}'; {end}").returncode == code


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PlatformIO core folder that needs no network."""
    for module in ("platformio", "SCons"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("core")
    install_scons(folder)
    assert install_scons(folder) is None
    install_platform(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    plan = make_plan(small_plan().source, load_board(BOARD))
    return generate(plan, tmp_path_factory.mktemp("pio") / "project", project="platformio")


def environment(core: Path) -> dict[str, str]:
    return {**os.environ, "PLATFORMIO_CORE_DIR": str(core), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}


def pio(core: Path, project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "platformio", *arguments]
    done = subprocess.run(
        command, cwd=project.directory, env=environment(core), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_upload_starts_the_board_the_monitor_talks_to_it_and_stop_ends_it(core: Path, project: Project) -> None:
    name = f"{BOARD}_measure"
    pio(core, project, "run", "-e", name, "-t", "upload")
    try:
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(project.directory)
            command = [sys.executable, "-m", "platformio", "device", "monitor", "-e", name]
            os.execvpe(sys.executable, command, environment(core))
        assert b"m-ready" in heard(terminal, b"m-ready")
        os.write(terminal, b"name%")
        assert b"m-name-dut-[" in heard(terminal, b"m-name-dut-[")
        os.write(terminal, b"\x03")
        os.waitpid(process, 0)
    finally:
        stopped = pio(core, project, "run", "-e", name, "-t", "stop")
    assert "stopped" in stopped.stdout
    assert not (project.directory / ".pio" / "emulator" / name / "console").is_symlink()


@pytest.mark.slow
def test_the_unit_test_passes_here_and_on_the_emulated_board(core: Path, project: Project) -> None:
    done = pio(core, project, "test", "-e", "native", "-e", BOARD)
    assert done.stdout.count("[PASSED]") == 2 * 3 + 2, done.stdout
