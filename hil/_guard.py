"""Becomes another program that cannot outlive the process that asked for it.

Run as a script with the parent's process number and a command. On Linux the kernel then kills the program when the
parent is gone, however it went. The program is replaced, not wrapped: it keeps this process's number and pipes.
"""

import os
import sys


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform.startswith("linux"):
        import ctypes
        import signal

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it went before the line above
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
