"""Installing through the daemon while many listen: how long it takes, and how much memory.

``python -m tests.daemon.load FOLDER COUNT IDLE`` is the crowd: it listens at the progress sockets, keeps connections to
the control socket open that say nothing, says ``here``, and when all have heard of a success, how many messages came.
"""

import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from swagent.ipc import Request, Status
from tests.programs import PROJECT

from .running import Running


class Load(NamedTuple):
    """What an install took.

    Attributes:
        peak_kib: of the daemon, the most memory that it had in its life so far.
        cpu_s: what it has computed meanwhile.
        heard: messages that the crowd got.
    """

    seconds: float
    peak_kib: int
    cpu_s: float
    heard: int


def measured(running: Running, image: Path, *, listeners: int = 0, idle: int = 0) -> Load:
    """Hand the update in, from the first byte to the verdict."""
    crowd = None
    if listeners or idle:
        crowd = subprocess.Popen(
            [sys.executable, "-m", "tests.daemon.load", str(running.folder), str(listeners), str(idle)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "here\n"
    cpu_s = _cpu_s(running)
    since_s = time.monotonic()
    with running.client.install(Request()) as upload, image.open("rb") as file:
        upload.socket.sendfile(file)
    for reply in running.client.lines(interval_s=0.02):
        result = reply.last_result
    seconds = time.monotonic() - since_s
    assert result == Status.SUCCESS, running.text()
    heard = 0
    if crowd is not None:
        told, _ = crowd.communicate(timeout=60)
        heard = int(told)
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return Load(seconds, int(peak), _cpu_s(running) - cpu_s, heard)


def _cpu_s(running: Running) -> float:
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(folder: str, listeners: int, idle: int) -> int:
    selector = selectors.DefaultSelector()
    for number in range(listeners):
        old = number % 2
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{folder}/{'swupdateprog.2022' if old else 'swupdateprog'}")
        if not old:
            assert len(sock.recv(8, socket.MSG_WAITALL)) == 8
        selector.register(sock, selectors.EVENT_READ, 2416 if old else 2408)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(idle)]
    for sock in silent:
        sock.connect(f"{folder}/sockinstctrl")
    sys.stdout.write("here\n")
    sys.stdout.flush()
    heard = 0
    waiting = listeners
    buffer = bytearray(2408 * 2416)  # whole messages of both kinds
    while waiting:
        for key, _ in selector.select():
            n = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]  # they are sockets
            assert n, "it was dropped"
            assert n % key.data == 0, "a message came in pieces"
            heard += n // key.data
            statuses = (buffer[at] for at in range(4, n, key.data))
            waiting -= Status.SUCCESS in statuses
    sys.stdout.write(f"{heard}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
