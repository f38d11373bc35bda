"""Runs the flashing programs: finds them, says how to install them, and makes one line of what they complain about."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hil.holders import permission_advice
from tinyopt.errors import ToolError

TIMEOUT_SECONDS = 300.0

_EXTRA = "pip install 'tinyopt[flash]'"
_INSTALL = {
    "pyocd": _EXTRA,
    "esptool": _EXTRA,
    "pio": "pip install 'tinyopt[platformio]'",
    "openocd": "sudo apt-get install openocd",
    "st-flash": "sudo apt-get install stlink-tools",
    "st-info": "sudo apt-get install stlink-tools",
    "dfu-util": "sudo apt-get install dfu-util",
    "avrdude": "sudo apt-get install avrdude",
}

_PROBE_RULES = (
    "let your user open it: install the udev rules of the tool (Debian packages bring them; for pyOCD copy the rules "
    "of its documentation to /etc/udev/rules.d), then plug the board in again"
)
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"LIBUSB_ERROR_ACCESS|insufficient permissions|Permission denied|Access denied|EACCES|"
        r"Cannot open DFU device|unable to open ftdi",
        f"{_PROBE_RULES}; for serial ports {permission_advice()}",
    ),
    (
        r"readout protect|read protect|RDP|APPROTECT|access port protection|is locked|device is secured|"
        r"chip is protected|MassErase|FLASH_WRPERR|write.?protect",
        "the chip is locked: erase it completely (that also erases what it holds), then flash again",
    ),
    (
        r"Target type .* not recognized|unknown target|target .* is not supported",
        "install the description of the chip: pyocd pack install TARGET",
    ),
    (
        r"No connected debug probe|No target device available|No available debug probe|no device found|"
        r"Couldn't find any ST-Link|Found 0 stlink|unable to find .*(device|CMSIS-DAP)|No J-Link|"
        r"open failed|No DFU capable USB device|unable to open .*probe",
        "plug the board in at its debug connector with a cable that carries data",
    ),
    (
        r"Failed to connect to ESP|No serial data received|Wrong boot mode|not in sync|"
        r"programmer is not responding|stk500.*timeout|Connecting\.+",
        "hold the board's boot button while it connects, and check the port",
    ),
    (
        r"timed? ?out|Failed to connect to target|init mode failed|unable to connect to the target|"
        r"Error connecting DP|SWD/JTAG communication failure|target voltage may be too low|Can not connect",
        "check that the board has power and that nothing else debugs it; press its reset button while it connects",
    ),
    (
        r"port is busy|could not open port|can't open device|Resource busy|LIBUSB_ERROR_BUSY|already in use",
        "another program holds the port or the probe: close it",
    ),
    (r"verif\w* (failed|error|mismatch)|contents differ|checksum mismatch", "flash again; a worn flash does not hold"),
)
_ERROR_LINE = re.compile(r"^\W*(a )?(error|fatal|critical)\b", re.IGNORECASE)
_COMPLAINT = re.compile(
    r"\b(error|errors|failed|fail|fatal|cannot|can't|could not|couldn't|unable|not found|not recognized|critical|"
    r"no (connected|target|available|dfu|device|serial|response)|timed? ?out|denied|locked|protected)\b",
    re.IGNORECASE,
)


def find_program(*names: str) -> str:
    """Path of a program: on the search path, or beside the Python that runs.

    ``names``: what it may be called; the first is its usual name.

    Raises:
        ToolError: it is not installed (says how).
    """
    for name in names:
        path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if path is not None:
            return path
    install = _INSTALL.get(names[0])
    raise ToolError(f"{names[0]} is not installed" + (f"; to install it: {install}" if install else ""))


def is_installed(*names: str) -> bool:
    """Whether one of these names is a program that can be run."""
    try:
        find_program(*names)
    except ToolError:
        return False
    return True


def run_program(
    command: Sequence[str],
    what: str,
    *,
    timeout: float = TIMEOUT_SECONDS,
    good: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end; what it printed.

    ``what``: completes "cannot …" in the error message. ``good``: text whose presence means success whatever the exit
    code is (tools that lose the device at the very end because it restarts).

    Raises:
        ToolError: it cannot be started, takes too long, or fails (with its own complaint and what to do about it).
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            env=None if environment is None else dict(environment),
        )
    except subprocess.TimeoutExpired as error:
        said = complaint((error.stdout or b"").decode("utf-8", "replace"))
        raise ToolError(
            f"cannot {what}: {name} did not finish within {timeout:.0f} s" + (f"; it last said: {said}" if said else "")
        ) from None
    except OSError as error:
        raise ToolError(f"cannot {what}: {name} does not run: {error.strerror or error}") from None
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode and not (good and good in output):
        ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        said = complaint(output)
        message = f"cannot {what}: {name} failed ({ended})" + (f": {said}" if said else " and said nothing")
        hint = advice(output)
        raise ToolError(f"{message}\n{hint}" if hint else message)
    return output


def complaint(output: str, limit: int = 300) -> str:
    """The line of a program's output that says what is wrong: the last that calls itself an error, else the last that
    sounds like one, else the last."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.search(line)]
    suspicious = [line for line in lines if _COMPLAINT.search(line)]
    # pyOCD frames its messages with a time, a level and the module.
    chosen = re.sub(r"^\d{7} [A-Z] (.*?)(?: \[\w+\])?$", r"\1", (errors or suspicious or lines or [""])[-1])
    return chosen if len(chosen) <= limit else chosen[: limit - 1] + "…"


def advice(output: str) -> str | None:
    """What to do about a failure that is known."""
    for pattern, text in _ADVICE:
        if re.search(pattern, output, re.IGNORECASE):
            return text
    return None
