"""Raw flash: an MTD character device, erased by blocks and written by pages (upstream: Linux, include/uapi/mtd)."""

import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Callable
from typing import Any, Protocol

from swagent.errors import DeviceError

NOR, NAND, MLC_NAND = 3, 4, 8
"""Types that matter here; others (RAM, data flash) have neither bad blocks nor bits that only an erase sets."""
NANDS = (NAND, MLC_NAND)
SYSFS_MTD = "/sys/class/mtd"

# include/uapi/mtd/mtd-abi.h
_MEMGETINFO = 0x80204D01
_MEMERASE64 = 0x40104D14
_MEMLOCK = 0x40084D05
_MEMUNLOCK = 0x40084D06
_MEMISLOCKED = 0x80084D17
_MEMGETBADBLOCK = 0x40084D0B
_MEMSETBADBLOCK = 0x40084D0C
_MEMREADOOB64 = 0xC0184D16
_MEMWRITE = 0xC0304D18
_MTDFILEMODE = 0x4D13
_INFO = struct.Struct("=B3xIIIIIQ")  # type, flags, size, erasesize, writesize, oobsize, unused
_RANGE = struct.Struct("=II")  # start, length
_RANGE64 = struct.Struct("=QQ")
_OFFSET = struct.Struct("=q")
_READ_OOB = struct.Struct("=QIIQ")  # start, unused, length, pointer
_WRITE = struct.Struct("=QQQQQB7x")  # start, len, ooblen, pointers to data and OOB, mode
_WRITEABLE = 0x400  # a flag
_MODE_RAW = 3  # for MTDFILEMODE
_OPS_PLACE_OOB, _OPS_RAW = 0, 2  # for MEMWRITE
_RANGE_MAX = 0xFFFFFFFF
_BLOCK_MAJOR = 31  # of /dev/mtdblockN, and of what is mounted from flash
_ENOTSUPP = 524  # the kernel's own, which NAND drivers let out
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOTTY, _ENOTSUPP)


class Flash(Protocol):
    """What ``Mtd`` offers, and ``swagent.testing.FakeFlash`` too. All methods raise DeviceError.

    Attributes:
        kind: MTD type, such as ``NAND``.
        size_bytes: of the whole.
        erase_bytes: of an erase block.
        write_bytes: of a page, the least that can be written; 1 where any byte can.
        oob_bytes: of the spare area of a page, 0 where there is none.
        read_only: it cannot be written, whoever asks.
    """

    kind: int
    size_bytes: int
    erase_bytes: int
    write_bytes: int
    oob_bytes: int
    read_only: bool

    def is_bad(self, at: int) -> bool:
        """Whether the block that begins at ``at`` is marked as bad."""
        ...

    def read(self, at: int, n_bytes: int) -> bytes:
        """Exactly so many bytes; with bit errors that the error correction gave up on, too."""
        ...

    def erase(self, at: int) -> None:
        """Erase the block that begins at ``at``: all its bits become 1."""
        ...

    def mark_bad(self, at: int) -> None:
        """Mark the block that begins at ``at`` as bad, for good."""
        ...

    def write(self, at: int, data: bytes, oob: bytes = b"") -> None:
        """Write whole pages to where it has been erased; on NOR, bits may become 0 anywhere.

        With ``oob``, ``data`` is one page and that its spare area.
        """
        ...

    def read_oob(self, at: int) -> bytes:
        """The spare area of the page that begins at ``at``."""
        ...

    def is_locked(self, at: int, n_bytes: int) -> bool:
        """Whether it is protected against writing; False where the device cannot tell."""
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
        raw: go past the error correction of NAND: what is written and read are the bits on the chip.

    Raises:
        DeviceError: it cannot be opened, or is something else.
    """

    def __init__(self, path: str, *, writable: bool = False, raw: bool = False) -> None:
        self._path = path
        self._raw = raw
        flags = os.O_RDWR | os.O_SYNC if writable else os.O_RDONLY
        self._fd: int = self._try("open", os.open, path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
        answer = bytearray(_INFO.size)
        try:
            if not stat.S_ISCHR(os.fstat(self._fd).st_mode):
                raise DeviceError(f"{path} is no MTD device", path=path, errno=errno.ENODEV)
            self._try("ask", fcntl.ioctl, self._fd, _MEMGETINFO, answer)
            self.kind, facts, self.size_bytes, self.erase_bytes, self.write_bytes, self.oob_bytes, _ = (
                _INFO.unpack(answer)
            )
            self.read_only = not facts & _WRITEABLE
            if not (self.erase_bytes and self.write_bytes):
                raise DeviceError(f"{path} is no flash that can be erased", path=path, errno=errno.ENODEV)
            if raw:
                self._try("go past the error correction of", fcntl.ioctl, self._fd, _MTDFILEMODE, _MODE_RAW)
        except DeviceError:
            os.close(self._fd)
            raise

    def is_bad(self, at: int) -> bool:
        """See ``Flash.is_bad``."""
        if self.kind not in NANDS:
            return False
        where = bytearray(_OFFSET.pack(at))  # may be changed: only then ioctl's own result comes back
        return bool(self._try("ask", fcntl.ioctl, self._fd, _MEMGETBADBLOCK, where) > 0)

    def mark_bad(self, at: int) -> None:
        """See ``Flash.mark_bad``."""
        self._try("mark a bad block of", fcntl.ioctl, self._fd, _MEMSETBADBLOCK, _OFFSET.pack(at))

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
        self._try("erase", fcntl.ioctl, self._fd, _MEMERASE64, _RANGE64.pack(at, self.erase_bytes))

    def write(self, at: int, data: bytes, oob: bytes = b"") -> None:
        """See ``Flash.write``."""
        if oob:
            self._write_with_oob(at, data, oob)
            return
        written = 0
        while written < len(data):
            written += self._try("write", os.pwrite, self._fd, data[written:], at + written)

    def _write_with_oob(self, at: int, data: bytes, oob: bytes) -> None:
        import ctypes

        page, spare = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(oob, len(oob))
        mode = _OPS_RAW if self._raw else _OPS_PLACE_OOB
        pointers = (ctypes.addressof(page), ctypes.addressof(spare))
        request = bytearray(_WRITE.pack(at, len(data), len(oob), *pointers, mode))
        self._try("write", fcntl.ioctl, self._fd, _MEMWRITE, request)

    def read_oob(self, at: int) -> bytes:
        """See ``Flash.read_oob``."""
        import ctypes

        spare = ctypes.create_string_buffer(self.oob_bytes)
        request = bytearray(_READ_OOB.pack(at, 0, self.oob_bytes, ctypes.addressof(spare)))
        self._try("read the spare area of", fcntl.ioctl, self._fd, _MEMREADOOB64, request)
        return spare.raw

    def is_locked(self, at: int, n_bytes: int) -> bool:
        """See ``Flash.is_locked``."""
        try:
            return bool(fcntl.ioctl(self._fd, _MEMISLOCKED, bytearray(_RANGE.pack(at, n_bytes))) > 0)
        except (OSError, struct.error):  # no such thing there, or beyond what it can be asked about
            return False

    def unlock(self, at: int, n_bytes: int) -> bool:
        """See ``Flash.unlock``."""
        if at + n_bytes > _RANGE_MAX:
            return False  # no flash as large as that has locks
        try:
            fcntl.ioctl(self._fd, _MEMUNLOCK, _RANGE.pack(at, n_bytes))
        except OSError as exc:
            if exc.errno in _UNKNOWN:
                return False
            raise self._failed("unlock", exc) from exc
        return True

    def lock(self, at: int, n_bytes: int) -> None:
        """See ``Flash.lock``."""
        self._try("lock", fcntl.ioctl, self._fd, _MEMLOCK, _RANGE.pack(at, n_bytes))

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


def mtd_numbers(sysfs: str = SYSFS_MTD) -> list[int]:
    """The numbers of all MTDs."""
    try:
        names = os.listdir(sysfs)
    except OSError:
        return []  # this kernel has none
    return sorted(int(name[3:]) for name in names if re.fullmatch(r"mtd[0-9]{1,4}", name))


def mtd_number(device: str, sysfs: str = SYSFS_MTD) -> int:
    """The number of an MTD: of ``mtd4``, ``/dev/mtd4``, a link to that, or the name of the partition (handlers §2.8).

    Raises:
        DeviceError: there is no such MTD, or several have this name.
    """
    there = mtd_numbers(sysfs)
    for word in (device, os.path.realpath(device)):
        match = re.fullmatch(r"(?:/dev/)?mtd(?:block)?([0-9]{1,4})", word)
        if match and int(match[1]) in there:
            return int(match[1])
    named = [number for number in there if _mtd_name(number, sysfs) == device]
    if len(named) > 1:
        raise DeviceError(
            f"several MTDs are called {device}: {', '.join(f'mtd{number}' for number in named)}",
            path=device,
            errno=errno.ENOTUNIQ,
            hint="name the device by its number, such as mtd4",
        )
    if not named:
        raise DeviceError(
            f"there is no MTD {device}", path=device, errno=errno.ENODEV, hint="cat /proc/mtd lists them"
        )
    return named[0]


def in_use(number: int) -> str:
    """Why an MTD must not be written to now: UBI is attached to it, or something is mounted from it; "" for nothing."""
    from .identity import RunningSystem
    from .ubi import KernelUbi

    for device in KernelUbi().devices():
        if device.mtd == number:
            return f"/dev/mtd{number} holds the UBI device ubi{device.number}"
    return RunningSystem().overlap_of(f"/dev/mtd{number}", f"{_BLOCK_MAJOR}:{number}")


def _mtd_name(number: int, sysfs: str) -> str:
    try:
        with open(os.path.join(sysfs, f"mtd{number}", "name"), encoding="utf-8", errors="replace") as file:
            return file.read(4096).rstrip("\n")
    except OSError:
        return ""  # it went away meanwhile
