"""A program of its own: becomes another program, which the kernel ends when whoever started it ends.

Run by path, so that it needs nothing of swagent: ``python -I -S leash.py PARENT PROGRAM ARGUMENT...``. It stands
between because only the new process itself can ask for this (``PR_SET_PDEATHSIG``, prctl(2)), and a server with
threads must not run Python between fork and exec.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Ask for it, and become ``argv``."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - this is what it is for; no shell takes part
    except OSError as exc:
        os.write(2, f"{argv[0]} cannot be started: {exc.strerror}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
