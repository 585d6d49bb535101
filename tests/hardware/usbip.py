"""USB devices made of Python, on the kernel's own bus: its USB/IP host controller, spoken to over a socket pair."""

import contextlib
import errno
import socket
import struct
import subprocess
import threading
from collections import deque
from pathlib import Path

from tests.lab.usbmodels import Model, Stall

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
_HEADER = struct.Struct(">IIIII")
_SUBMIT, _UNLINK, _RET_SUBMIT, _RET_UNLINK = 1, 2, 3, 4
_HIGH_SPEED = 3


class Plugged:
    """A model that is plugged in, until it is pulled or leaves by itself.

    Args:
        model: the device.
        port: of the controller.
    """

    def __init__(self, model: Model, port: int = 0) -> None:
        subprocess.run(["modprobe", "vhci-hcd"], check=True)
        self._model = model
        self._ours, theirs = socket.socketpair()
        self._waiting: deque[tuple[int, int]] = deque()
        self._is_configured = False
        model.leave = self._leave
        (VHCI / "attach").write_text(f"{port} {theirs.fileno()} {port + 1} {_HIGH_SPEED}")
        theirs.close()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Unplug it, in the middle of whatever it does."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _leave(self) -> None:
        threading.Timer(0.2, self.pull).start()  # what it is asked just now it still answers

    def _serve(self) -> None:
        with contextlib.suppress(OSError, EOFError), self._ours:
            while True:
                command, number, _, is_in, endpoint = _HEADER.unpack(self._get(20))
                rest = self._get(28)
                if command == _UNLINK:
                    self._unlink(number, struct.unpack_from(">I", rest)[0])
                    continue
                assert command == _SUBMIT
                n_bytes, setup = struct.unpack_from(">i", rest, 4)[0], rest[20:]
                data = b"" if is_in else self._get(n_bytes)
                try:
                    self._transfer(number, endpoint, bool(is_in), n_bytes, setup, data)
                except Stall:
                    self._reply(number, -errno.EPIPE, b"", 0)

    def _transfer(
        self, number: int, endpoint: int, is_in: bool, n_bytes: int, setup: bytes, data: bytes
    ) -> None:
        if endpoint == 0:
            kind, request, value, index, length = struct.unpack("<BBHHH", setup)
            if (kind, request) == (
                0x00,
                9,
            ):  # the controller keeps resets to itself; this is what follows on one
                if self._is_configured:
                    self._model.reset()
                self._is_configured = True
            found = self._model.control(kind, request, value, index, data, length)
            self._reply(number, 0, found if is_in else b"", len(found) if is_in else len(data))
        elif is_in:
            self._waiting.append((number, n_bytes))
        else:
            self._model.bulk_out(data)
            self._reply(number, 0, b"", len(data))
        while self._waiting and (answer := self._model.bulk_in(self._waiting[0][1])) is not None:
            self._reply(self._waiting.popleft()[0], 0, answer, len(answer))

    def _unlink(self, number: int, victim: int) -> None:
        found = [one for one in self._waiting if one[0] == victim]
        for one in found:
            self._waiting.remove(one)
        status = -errno.ECONNRESET if found else 0
        self._ours.sendall(_HEADER.pack(_RET_UNLINK, number, 0, 0, 0) + struct.pack(">i24x", status))

    def _reply(self, number: int, status: int, data: bytes, n_bytes: int) -> None:
        head = _HEADER.pack(_RET_SUBMIT, number, 0, 0, 0) + struct.pack(">iiiii8x", status, n_bytes, 0, 0, 0)
        self._ours.sendall(head + data)

    def _get(self, n_bytes: int) -> bytes:
        found = b""
        while len(found) < n_bytes:
            more = self._ours.recv(n_bytes - len(found))
            if not more:
                raise EOFError
            found += more
        return found
