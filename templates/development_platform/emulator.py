"""Runs an emulated board in the background, with its console on a pseudo-terminal.

    emulator.py start --folder FOLDER [--timeout SECONDS] -- COMMAND...   start it; a running one is replaced
    emulator.py stop --folder FOLDER
    emulator.py run [--timeout SECONDS] -- COMMAND...                     in the foreground, until a test's last line

FOLDER/console is a link to the terminal. What the board says while nobody listens is kept, up to 64 KiB, for the next
one who opens it. A board that nobody has talked to for the timeout is stopped. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

KEPT_BYTES = 65536
SETTLE_SECONDS = 0.3
"""What opens a terminal flushes it first; the board's words come after that."""
HEARD = "heard"
"""File of the folder that is there once the board has said something."""
STARTING_SECONDS = 3.0
"""A board that has not ended within this time is taken for one that runs, even if it says nothing."""
SUMMARY = re.compile(rb"^(\d+) Tests (\d+) Failures (\d+) Ignored", re.MULTILINE)


def die_with_parent() -> None:
    """The child ends when its parent does, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)


def spawn(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        preexec_fn=die_with_parent,
        start_new_session=True,
    )


def end(board: subprocess.Popen[bytes]) -> None:
    """End the board's process and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(board.pid, signal.SIGKILL)
    board.wait()


def holder(folder: Path) -> int | None:
    """Process that serves a folder: it holds the lock of ``FOLDER/state.json``."""
    try:
        with (folder / "state.json").open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(json.load(file)["pid"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def stop(folder: Path) -> bool:
    """Stop what serves the folder; False when nothing does."""
    pid = holder(folder)
    if pid is None:
        return False
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if holder(folder) is None:
                return True
            time.sleep(0.02)
    sys.exit(f"the emulator (process {pid}) does not stop")


def start(folder: Path, timeout: float, command: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stop(folder)
    (folder / HEARD).unlink(missing_ok=True)
    log = folder / "log.txt"
    arguments = [sys.executable, __file__, "serve", "--folder", str(folder), "--timeout", str(timeout), "--", *command]
    with log.open("wb") as output:
        server = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + 30.0
    while holder(folder) != server.pid:
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            sys.exit(f"the emulator did not start: {log.read_text(errors='replace').strip() or 'it said nothing'}")
        time.sleep(0.02)
    deadline = time.monotonic() + STARTING_SECONDS
    while not (folder / HEARD).exists() and server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if server.poll():
        sys.exit(f"the emulator ended at once: {log.read_text(errors='replace').strip() or 'it said nothing'}")
    print(f"running; its console is {folder / 'console'}")


@contextlib.contextmanager
def console(link: Path) -> Iterator[int]:
    """The master of a new terminal in raw mode, to which ``link`` leads."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave, termios.TCSANOW)
        name = os.ttyname(slave)
        os.close(slave)  # from now on the master sees whether anyone listens
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        yield master
    finally:
        link.unlink(missing_ok=True)
        os.close(master)


def is_open(master: int) -> bool:
    """Whether somebody has the terminal open."""
    poller = select.poll()
    poller.register(master, 0)
    return not any(event & select.POLLHUP for _, event in poller.poll(0))


def serve(folder: Path, timeout: float, command: list[str]) -> None:
    with (folder / "state.json").open("w") as state:
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with console(folder / "console") as master:
            board = spawn(command)
            try:
                json.dump({"pid": os.getpid(), "command": command}, state)
                state.flush()
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
                bridge(board, Path(command[0]).name, master, timeout, folder / HEARD)
            finally:
                end(board)


def bridge(board: subprocess.Popen[bytes], name: str, master: int, timeout: float, heard: Path) -> None:
    """Carry bytes both ways until the board has ended and was heard, or nobody listens for ``timeout`` seconds."""
    assert board.stdin is not None and board.stdout is not None
    said = board.stdout.fileno()
    os.set_blocking(said, False)
    os.set_blocking(master, False)
    kept = bytearray()
    opened: float | None = None
    has_ended = False
    last = time.monotonic()
    while time.monotonic() - last < timeout:
        now = time.monotonic()
        if not is_open(master):
            opened = None
        else:
            opened, last = opened or now, now
        listening = opened is not None and now - opened >= SETTLE_SECONDS
        if has_ended and not kept:
            time.sleep(SETTLE_SECONDS)  # what was written last is read before the terminal goes
            return
        readers = ([] if has_ended else [said]) + ([master] if opened is not None else [])
        ready, _, _ = select.select(readers, [master] if kept and listening else [], [], 0.05)
        if said in ready:
            data = os.read(said, KEPT_BYTES)
            if not data and board.wait(timeout=5.0):
                sys.exit(f"{name} ended with code {board.returncode}")
            has_ended = not data
            if data and not heard.exists():
                heard.touch()
            kept = (kept + data)[-KEPT_BYTES:]
        with contextlib.suppress(BlockingIOError, OSError):
            if master in ready:
                board.stdin.write(os.read(master, 4096))
        if kept and listening:
            with contextlib.suppress(BlockingIOError, OSError):
                del kept[: os.write(master, kept)]


def run(timeout: float, command: list[str]) -> int:
    """0: all tests passed; 1: some failed; 2: the program did not come to its end."""
    board = spawn(command)
    assert board.stdout is not None
    deadline = time.monotonic() + timeout
    heard = b""
    try:
        while time.monotonic() < deadline:
            if not select.select([board.stdout], [], [], 0.1)[0]:
                continue
            data = os.read(board.stdout.fileno(), KEPT_BYTES)
            if not data:
                break
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            heard = (heard + data)[-4096:]
            summary = SUMMARY.search(heard)
            if summary and b"\n" in heard[summary.end() :]:
                return 1 if int(summary[2]) else 0
    finally:
        end(board)
    print("the program ended or fell silent before its tests were done", file=sys.stderr)
    return 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Emulated boards in the background.")
    parser.add_argument("action", choices=("start", "stop", "serve", "run"))
    parser.add_argument("--folder", type=Path, default=Path("emulator"))
    parser.add_argument("--timeout", type=float, default=1800.0)
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    command = arguments[split + 1 :]
    if options.action != "stop" and not command:
        parser.error("a command must follow --")
    if options.action == "stop":
        print("stopped" if stop(options.folder) else "nothing is running")
    elif options.action == "run":
        return run(options.timeout, command)
    elif options.action == "start":
        start(options.folder, options.timeout, command)
    else:
        serve(options.folder, options.timeout, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
