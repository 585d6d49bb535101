"""A microcontroller with a serial boot loader, for ``ucfw``: on a pseudo-terminal, or at the far end of a real line.

It serves in a thread of its own, as well or as badly as it is told:

    with Microcontroller(Fault("silent", at=3), None) as mcu:
        ...  # flash mcu.device: the first attempt gets no answer to its third packet, the second one succeeds
    assert mcu.firmware == sent
"""

import os
import re
import select
import termios
import threading
import tty
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from swagent.handlers.ucdialogue import checksum, frame

FAULTS = {
    "silent": "says nothing from then on",
    "late": "answers after late_s",
    "garbage": "answers with noise",
    "checksum": "answers with a wrong checksum",
    "other": "answers with a message that nobody knows",
    "endless": "answers without ever ending the line",
    "twice": "gives the same answer twice",
    "early": "says that it has everything",
    "reboots": "runs its old program again, which talks and does not listen",
    "unplugged": "takes the port away, for good",
    "incomplete": "acknowledges every packet and never says that it has everything, wherever `at` is",
    "ready-after": "goes on talking when everything is done, wherever `at` is",
    "pieces": "nothing is wrong, but answers come byte by byte, wherever `at` is",
}
_SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if re.match(r"B[0-9]+\Z", name)}
_TICK_S = 0.02


class Fault(NamedTuple):
    """What goes wrong in one attempt.

    Attributes:
        kind: a key of ``FAULTS``.
        at: at the answer to which packet; 0 is that to ``$PROG``.
    """

    kind: str
    at: int = 0


class Microcontroller:
    """Serves from ``with`` on until its block is left.

    Args:
        faults: for the first attempt, the second and so on; None for none, and none for all later ones.
        line: path of the serial port that it sits at; None makes a pseudo-terminal.
        in_boot_loader: asked at each ``$PROG`` whether its boot loader runs, as its reset and prog lines are.
        is_last: whether a packet is the last one; by default the end record of an Intel HEX file.
        late_s: how late ``late`` is.

    Attributes:
        device: path of the serial port to reach it by; "" when it sits at a real one.
        attempts: the baud rate at each ``$PROG`` that it heard.
        firmware: what it was given last, once that was complete; None before.
    """

    def __init__(
        self,
        *faults: Fault | None,
        line: str | None = None,
        in_boot_loader: Callable[[], bool] = lambda: True,
        is_last: Callable[[bytes], bool] = lambda packet: packet.startswith(b":00000001FF"),
        late_s: float = 1.5,
    ) -> None:
        unknown = [fault.kind for fault in faults if fault is not None and fault.kind not in FAULTS]
        if unknown:
            raise ValueError(f"there is no fault {unknown[0]!r}")
        self.attempts: list[int] = []
        self.firmware: bytes | None = None
        self._faults = faults
        self._fault: Fault | None = None
        self._in_boot_loader = in_boot_loader
        self._is_last = is_last
        self._late_s = late_s
        self._packets: list[bytes] = []
        self._listens = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="microcontroller", daemon=True)
        if line is not None:
            self._fd = os.open(line, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            self.device = ""
            tty.setraw(self._fd)
        else:
            self._fd, theirs = os.openpty()
            self.device = os.ttyname(theirs)
            tty.setraw(theirs)
            os.close(theirs)  # so that whoever looks finds nobody at the port

    def __enter__(self) -> "Microcontroller":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._fd >= 0:
            os.close(self._fd)

    def _serve(self) -> None:
        arrived = bytearray()
        while not self._stop.is_set() and self._fd >= 0:
            try:
                ready, _, _ = select.select([self._fd], [], [], _TICK_S)
                arrived += os.read(self._fd, 4096) if ready else b""
            except OSError:  # nobody has the pseudo-terminal open
                arrived.clear()
                self._stop.wait(_TICK_S / 4)
                continue
            while b"\n" in arrived:
                packet, _, arrived = arrived.partition(b"\n")
                self._take(bytes(packet) + b"\n")

    def _take(self, packet: bytes) -> None:
        if packet == frame("PROG"):
            self._listens = self._in_boot_loader()
            if self._listens:
                at = len(self.attempts)
                self.attempts.append(_SPEEDS.get(termios.tcgetattr(self._fd)[5], 0))
                self._fault = self._faults[at] if at < len(self._faults) else None
                self._packets = []
                self._answer(packet)
        elif self._listens:
            self._packets.append(packet)
            self._answer(packet)

    def _answer(self, packet: bytes) -> None:
        done = self._is_last(packet)
        kind = self._fault.kind if self._fault is not None else ""
        now = self._fault is not None and self._fault.at == len(self._packets)
        right = frame("COMPLETED" if done else "READY")
        if done and kind == "incomplete":
            right = frame("READY")
        elif done:
            self.firmware = b"".join(self._packets)
            if kind == "ready-after":
                right += frame("READY")
        if kind == "pieces":
            for byte in right:
                self._stop.wait(0.001)
                self._say(bytes((byte,)))
            return
        self._say(self._wrong(kind, right) if now else right)

    def _wrong(self, kind: str, right: bytes) -> bytes:
        """What it says instead, at the place of its fault."""
        match kind:
            case "silent":
                self._listens = False
                return b""
            case "reboots":
                self._listens = False
                return b"\0\0application 1.0 starts\r\n"
            case "unplugged":
                os.close(self._fd)
                self._fd = -1
                return b""
            case "late":
                self._stop.wait(self._late_s)
                if select.select([self._fd], [], [], 0)[0]:
                    return b""  # it was reset meanwhile, and asked again
            case "garbage":
                return b"\xff\x00\x7f$$\x80\n"
            case "checksum":
                return b"$READY;%02X\r\n" % (checksum(b"READY;") ^ 1)
            case "other":
                return frame("ERROR")
            case "endless":
                return b"$READY" * 100
            case "twice":
                return right * 2
            case "early":
                return frame("COMPLETED")
        return right

    def _say(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # nobody listens any more
            return
