"""The four entries of a DOS partition table, in the first sector (upstream: Linux, block/partitions/msdos.c).

A sector is written whole or not at all by every medium there is, so each change here is atomic.
"""

import errno
import os
import struct
from typing import NamedTuple

from swagent.errors import DeviceError

SECTOR_BYTES = 512
ACTIVE = 0x80
GPT_PROTECTIVE = 0xEE
EXTENDED = frozenset((0x05, 0x0F, 0x85))
ENTRIES = 4
_ENTRIES_AT = 446
_SIGNATURE_AT, _SIGNATURE = 510, b"\x55\xaa"
_ENTRY = struct.Struct("<B3sB3sII")  # status, first CHS, type, last CHS, first sector, sectors
_NO_CHS = b"\xfe\xff\xff"  # as UEFI has it for what CHS cannot address


class Entry(NamedTuple):
    """One of four.

    Attributes:
        kind: its type; 0 where there is no partition.
        start: first sector.
        size: in sectors.
    """

    kind: int = 0
    start: int = 0
    size: int = 0
    active: bool = False


def read(fd: int, path: str) -> tuple[Entry, ...]:
    """The four entries; () when the sector holds no such table.

    Raises:
        DeviceError: it cannot be read.
    """
    sector = _read(fd, path)
    if sector[_SIGNATURE_AT:] != _SIGNATURE:
        return ()
    found = []
    for number in range(ENTRIES):
        status, _, kind, _, start, size = _ENTRY.unpack_from(sector, _ENTRIES_AT + number * _ENTRY.size)
        if status not in (0, ACTIVE):
            return ()  # a boot sector of a file system, which has the same signature
        found.append(Entry(kind, start, size, status == ACTIVE))
    return tuple(found)


def write(fd: int, entries: tuple[Entry, ...], path: str) -> None:
    """Replace entries, in one write that is durable when this returns; the boot code stays.

    An entry that keeps its place keeps its CHS addresses.

    Raises:
        DeviceError: it cannot be read or written.
    """
    sector = bytearray(_read(fd, path))
    for number, new in enumerate(entries):
        at = _ENTRIES_AT + number * _ENTRY.size
        _, first, kind, last, start, size = _ENTRY.unpack_from(sector, at)
        if (kind, start, size) != new[:3]:
            first = last = _NO_CHS if new.kind else bytes(3)
        status = ACTIVE if new.active else 0
        _ENTRY.pack_into(sector, at, status, first, new.kind, last, new.start, new.size)
    sector[_SIGNATURE_AT:] = _SIGNATURE
    try:
        if os.pwrite(fd, sector, 0) != SECTOR_BYTES:
            raise OSError(errno.EIO, "short write")
        os.fsync(fd)
    except OSError as exc:
        raise DeviceError(
            f"cannot write the partition table of {path}: {exc.strerror}", path=path, errno=exc.errno
        ) from exc


def _read(fd: int, path: str) -> bytes:
    try:
        sector = os.pread(fd, SECTOR_BYTES, 0)
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if len(sector) < SECTOR_BYTES:
        raise DeviceError(f"{path} is too small for a partition table", path=path, errno=errno.ENOSPC)
    return sector
