"""What the device has already, opened to be read: a file or a block device, or a part of it."""

import os
import stat

from swagent.errors import DeviceError, SizeError

from .api import Context


class BaseFile:
    """An open file or block device; a ``model.Reader`` of the part that ``limit`` says.

    Args:
        path: for messages.
        fd: is closed at the end of a ``with``.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._offset = 0
        self._left = 0

    def __enter__(self) -> "BaseFile":
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def size_bytes(self, ctx: Context) -> int:
        """All there is.

        Raises:
            DeviceError: it is neither a file nor a block device.
        """
        status = os.fstat(self._fd)
        if stat.S_ISREG(status.st_mode):
            return status.st_size
        if stat.S_ISBLK(status.st_mode):
            return ctx.hw.capacity_bytes(self.path) or 0
        raise DeviceError(
            f"cannot read {self.path}: it is neither a file nor a block device",
            path=self.path,
            hint="for an MTD name its /dev/mtdblockN; a folder can be copied with the property recursive",
        )

    def limit(self, offset: int, size_bytes: int) -> None:
        """Which part ``readinto`` gives."""
        self._offset, self._left = offset, size_bytes

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes of the part.

        Raises:
            DeviceError: it cannot be read.
            SizeError: it ends before the part does.
        """
        n = min(len(buffer), self._left)
        if n:
            n = self.read_at(self._offset, buffer[:n])
            self._offset += n
            self._left -= n
        return n

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """At least one byte from ``offset`` on.

        Raises:
            DeviceError: it cannot be read.
            SizeError: it ends there.
        """
        try:
            n = os.preadv(self._fd, [buffer], offset)
        except OSError as exc:
            raise DeviceError(
                f"cannot read {self.path}: {exc.strerror}", path=self.path, errno=exc.errno
            ) from exc
        if n == 0:
            raise SizeError(f"{self.path} became shorter while it was read")
        return n

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            DeviceError, SizeError: as ``read_at``.
        """
        whole = bytearray(n_bytes)
        rest = memoryview(whole)
        while rest:
            n = self.read_at(offset, rest)
            offset += n
            rest = rest[n:]
        return bytes(whole)


def open_source(path: str) -> BaseFile:
    """Open a file or block device to read it.

    Raises:
        DeviceError: it cannot be opened.
    """
    try:
        return BaseFile(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise DeviceError(f"cannot read {path}: {why}", path=path, errno=getattr(exc, "errno", None)) from exc
