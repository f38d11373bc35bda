"""Who holds a serial port, and what to do when it cannot be opened."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

_PSEUDO_TERMINALS = range(136, 144)
"""Major numbers of the pseudo-terminals on Linux (Documentation/admin-guide/devices.txt)."""


def holders(port: str) -> list[int]:
    """Numbers of the processes that have a device open, this one included; as far as this user may look.

    Empty where there is no ``/proc`` to look at.
    """
    try:
        wanted = Path(port).stat()
    except OSError:
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                seen = descriptor.stat()
            except OSError:
                continue
            if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == wanted.st_rdev and seen.st_ino == wanted.st_ino:
                found.append(int(process.name))
                break
    return sorted(found)


def describe_process(number: int) -> str:
    """``process 4711 (pio)``."""
    try:
        command = Path(f"/proc/{number}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        command = ""
    return f"process {number}" + (f" ({command})" if command else "")


def other_users(port: str) -> list[str]:
    """Processes other than this one that have a serial port open; two readers would each get half of the bytes.

    Pseudo-terminals are left out: the program behind one may hold both of its ends.
    """
    try:
        device = Path(port).stat()
    except OSError:
        return []
    if not stat.S_ISCHR(device.st_mode) or os.major(device.st_rdev) in _PSEUDO_TERMINALS:
        return []
    return [describe_process(number) for number in holders(port) if number != os.getpid()]


def explain_serial_error(port: str, error: BaseException) -> str:
    """Why a serial port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number is None:
        cause = error.__cause__ or error.__context__
        number = getattr(cause, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        users = holders(port)
        others = [describe_process(user) for user in users if user != os.getpid()]
        if not others and os.getpid() in users:
            others = ["this process"]
        return f"the serial port {port} is busy: held by {', '.join(others) or 'another process'}; close that first"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission to open the serial port {port}; {permission_advice()}"
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            f"there is no serial port {port}: is the board plugged in with a cable that carries data? "
            "`tinyopt hil discover` lists what is there"
        )
    if number == errno.ENOTTY:
        return f"{port} is not a serial port"
    return f"cannot open the serial port {port}: {text}"


def permission_advice() -> str:
    """What to do where this user may not open serial ports."""
    if not sys.platform.startswith("linux"):
        return "check the rights of your user"
    try:
        import grp

        group = "dialout" if any(entry.gr_name == "dialout" for entry in grp.getgrall()) else "uucp"
    except ImportError:
        group = "dialout"
    return f"join its group (sudo usermod -aG {group} $USER), then log out and in"
