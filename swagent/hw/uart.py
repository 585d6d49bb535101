"""Serial ports: raw, 8N1, without flow control, and nobody else's meanwhile (pyserial)."""

import errno
import os
import select
import stat
import time
from contextlib import suppress
from typing import Any

from swagent.errors import DeadlineError, DeviceError, RegistrationError

CONSOLES = "/sys/class/tty/console/active"
_PIECE_BYTES = 256


def in_use(path: str) -> str:
    """Who uses a serial port, "" if nobody does. Does not open it: that could move its modem lines.

    Raises:
        DeviceError: it is not there, is no serial port, or may not be used.
        RegistrationError: pyserial is not installed.
    """
    _serial()
    try:
        found = os.stat(path)
    except OSError as exc:
        raise DeviceError(f"cannot find {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if not stat.S_ISCHR(found.st_mode):
        raise DeviceError(f"{path} is no serial port", path=path, errno=errno.ENOTTY)
    if not os.access(path, os.R_OK | os.W_OK):
        raise DeviceError(f"{path} may not be used by this user", path=path, errno=errno.EACCES)
    with suppress(OSError), open(CONSOLES, encoding="ascii") as consoles:
        if os.path.basename(os.path.realpath(path)) in consoles.read().split():
            return f"{path} is a console of the kernel, whose messages would disturb"
    return _holder(path, found.st_rdev)


def _holder(path: str, device: int) -> str:
    """Which other process has it open, as far as we may see."""
    for pid in (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
        with suppress(OSError):  # it ended, or is another user's
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    open_file = os.stat(f"/proc/{pid}/fd/{fd}")
                    if open_file.st_rdev == device and stat.S_ISCHR(open_file.st_mode):
                        return f"{path} is open in process {pid} ({_name_of(pid)})"
    return ""


def _name_of(pid: str) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
        return name.read().strip()


class Uart:
    """An open serial port.

    Args:
        path: of the device.
        baudrate: in bit/s.

    Raises:
        DeviceError: it cannot be opened, somebody else has locked it, or it does not know this rate.
        RegistrationError: pyserial is not installed.
    """

    def __init__(self, path: str, baudrate: int) -> None:
        import termios

        serial = _serial()
        self._path = path
        try:
            self._port = serial.Serial(path, baudrate, exclusive=True)
        except (OSError, ValueError, termios.error) as exc:  # its own error is an OSError
            number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else None
            reason = os.strerror(number) if number else str(exc)
            raise DeviceError(
                f"cannot open {path} at {baudrate} bit/s: {reason}", path=path, errno=number
            ) from exc
        self._fd: int = self._port.fileno()

    def fileno(self) -> int:
        """For loops that wait for many ports."""
        return self._fd

    def set_rate(self, baudrate: int) -> None:
        """Change the rate while it is open.

        Raises:
            DeviceError: it does not know this rate, or is gone.
        """
        import termios

        try:
            self._port.baudrate = baudrate
        except (OSError, ValueError, termios.error) as exc:
            raise DeviceError(f"cannot set {self._path} to {baudrate} bit/s: {exc}", path=self._path) from exc

    def read(self, timeout_s: float) -> bytes:
        """What has come, nothing if nothing came in this time.

        Raises:
            DeviceError: the port failed or is gone.
        """
        try:
            ready, _, _ = select.select([self._fd], [], [], timeout_s)
            piece = os.read(self._fd, _PIECE_BYTES) if ready else b""
        except BlockingIOError:
            return b""
        except OSError as exc:
            raise self._error("read from", exc) from exc
        if ready and not piece:
            raise DeviceError(f"{self._path} is gone", path=self._path, errno=errno.EIO)
        return piece

    def write(self, data: bytes, timeout_s: float) -> None:
        """Hand over all of it.

        Raises:
            DeviceError: the port failed or is gone.
            DeadlineError: it did not take it in time.
        """
        until_s = time.monotonic() + timeout_s
        rest = memoryview(data)
        while rest:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise DeadlineError(f"{self._path} takes no more bytes since {timeout_s:g} s")
            try:
                _, ready, _ = select.select([], [self._fd], [], left_s)
                if ready:
                    rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise self._error("write to", exc) from exc

    def discard(self) -> None:
        """Forget what has come and what has not gone yet.

        Raises:
            DeviceError: the port failed or is gone.
        """
        import termios

        try:
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        except termios.error as exc:
            raise self._error("flush", OSError(*exc.args)) from exc

    def close(self) -> None:
        """Close it; never raises."""
        with suppress(OSError):
            self._port.close()

    def _error(self, verb: str, exc: OSError) -> DeviceError:
        return DeviceError(f"cannot {verb} {self._path}: {exc.strerror}", path=self._path, errno=exc.errno)


def _serial() -> Any:
    try:
        import serial
    except ImportError as exc:
        raise RegistrationError("serial ports need pyserial", hint="pip install pyserial") from exc
    return serial
