"""Raw flash: an MTD character device, erased by blocks and written by pages (upstream: Linux, include/uapi/mtd)."""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from typing import Any, Protocol

from swagent.errors import DeviceError

NOR, NAND, MLC_NAND = 3, 4, 8
"""Types that matter here; others (RAM, data flash) have neither bad blocks nor bits that only an erase sets."""

_MEMGETINFO = 0x80204D01
_MEMERASE64 = 0x40104D14
_MEMLOCK = 0x40084D05
_MEMUNLOCK = 0x40084D06
_MEMGETBADBLOCK = 0x40084D0B
_INFO = struct.Struct("=B3xIIIIIQ")  # type, flags, size, erasesize, writesize, oobsize, unused
_ENOTSUPP = 524  # the kernel's own, which NAND drivers let out
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOTTY, _ENOTSUPP)


class Flash(Protocol):
    """What ``Mtd`` offers, and ``swagent.testing.FakeFlash`` too. All methods raise DeviceError.

    Attributes:
        kind: MTD type, such as ``NAND``.
        size_bytes: of the whole.
        erase_bytes: of an erase block.
        write_bytes: of a page, the least that can be written; 1 where any byte can.
    """

    kind: int
    size_bytes: int
    erase_bytes: int
    write_bytes: int

    def is_bad(self, at: int) -> bool:
        """Whether the block that begins at ``at`` is marked as bad."""
        ...

    def read(self, at: int, n_bytes: int) -> bytes:
        """Exactly so many bytes; with bit errors that the error correction gave up on, too."""
        ...

    def erase(self, at: int) -> None:
        """Erase the block that begins at ``at``: all its bits become 1."""
        ...

    def write(self, at: int, data: bytes) -> None:
        """Write whole pages to where it has been erased; on NOR, bits may become 0 anywhere."""
        ...

    def unlock(self, at: int, n_bytes: int) -> bool:
        """Lift the write protection; False where the device has none."""
        ...

    def lock(self, at: int, n_bytes: int) -> None:
        """Protect against writing again."""
        ...

    def close(self) -> None:
        """Let the device go."""
        ...


class Mtd:
    """An open MTD character device; a ``Flash``.

    Args:
        path: such as ``/dev/mtd0``, or a link to it.
        writable: open it for writing too.

    Raises:
        DeviceError: it cannot be opened, or is something else.
    """

    def __init__(self, path: str, *, writable: bool = False) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_SYNC if writable else os.O_RDONLY
        self._fd: int = self._try("open", os.open, path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
        answer = bytearray(_INFO.size)
        try:
            if not stat.S_ISCHR(os.fstat(self._fd).st_mode):
                raise DeviceError(f"{path} is no MTD device", path=path, errno=errno.ENODEV)
            self._try("ask", fcntl.ioctl, self._fd, _MEMGETINFO, answer)
            self.kind, _, self.size_bytes, self.erase_bytes, self.write_bytes, _, _ = _INFO.unpack(answer)
            if not (self.erase_bytes and self.write_bytes):
                raise DeviceError(f"{path} is no flash that can be erased", path=path, errno=errno.ENODEV)
        except DeviceError:
            os.close(self._fd)
            raise

    def is_bad(self, at: int) -> bool:
        """See ``Flash.is_bad``."""
        if self.kind not in (NAND, MLC_NAND):
            return False
        where = bytearray(
            struct.pack("=q", at)
        )  # one that may be changed: only then ioctl's own result comes back
        return bool(self._try("ask", fcntl.ioctl, self._fd, _MEMGETBADBLOCK, where) > 0)

    def read(self, at: int, n_bytes: int) -> bytes:
        """See ``Flash.read``."""
        data = b""
        while len(data) < n_bytes:
            piece = self._try("read", os.pread, self._fd, n_bytes - len(data), at + len(data))
            if not piece:
                raise DeviceError(
                    f"{self._path} ends at {at + len(data):#x}", path=self._path, errno=errno.EIO
                )
            data += piece
        return data

    def erase(self, at: int) -> None:
        """See ``Flash.erase``."""
        self._try("erase", fcntl.ioctl, self._fd, _MEMERASE64, struct.pack("=QQ", at, self.erase_bytes))

    def write(self, at: int, data: bytes) -> None:
        """See ``Flash.write``."""
        written = 0
        while written < len(data):
            written += self._try("write", os.pwrite, self._fd, data[written:], at + written)

    def unlock(self, at: int, n_bytes: int) -> bool:
        """See ``Flash.unlock``."""
        try:
            fcntl.ioctl(self._fd, _MEMUNLOCK, struct.pack("=II", at, n_bytes))
        except OSError as exc:
            if exc.errno in _UNKNOWN:
                return False
            raise self._failed("unlock", exc) from exc
        return True

    def lock(self, at: int, n_bytes: int) -> None:
        """See ``Flash.lock``."""
        self._try("lock", fcntl.ioctl, self._fd, _MEMLOCK, struct.pack("=II", at, n_bytes))

    def close(self) -> None:
        """See ``Flash.close``."""
        os.close(self._fd)

    def _try(self, verb: str, call: Callable[..., Any], *args: object) -> Any:
        try:
            return call(*args)
        except OSError as exc:
            raise self._failed(verb, exc) from exc

    def _failed(self, verb: str, exc: OSError) -> DeviceError:
        return DeviceError(
            f"cannot {verb} {self._path}: {exc.strerror or exc}", path=self._path, errno=exc.errno
        )
