"""The two copies of a GPT: read with their checksums, and given other names (UEFI specification, section 5.3).

The first copy lies behind the first sector, the other one at the end of the disk; firmware and kernels use the second
when the checksums of the first do not match. So one copy is made durable before the other is touched: wherever the
power goes away, one of them is valid.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple
from zlib import crc32

from swagent.errors import DeviceError

SIGNATURE = b"EFI PART"
PRIMARY_LBA = 1
ENTRIES_BYTES_MAX = 1024 * 1024
"""Of one copy; 128 entries of 128 bytes are usual."""
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
# signature, revision, header size, its checksum, reserved, this LBA, the other's, first and last usable LBA,
# disk GUID, LBA of the entries, their count and size, their checksum
_CRC_AT, _ENTRIES_CRC_AT = 16, 88
_PLACE = struct.Struct("<QQ")  # at 24: this LBA, the other's
_PLACE_AT, _ENTRIES_LBA_AT = 24, 72
_ENTRY = struct.Struct("<16s16sQQQ72s")  # type, GUID, first and last LBA, attributes, name
_NAME_AT, _NAME_BYTES = 56, 72


class Named(NamedTuple):
    """One partition.

    Attributes:
        number: from 1.
        first_lba: its first sector.
        last_lba: its last one, inclusive.
    """

    number: int
    name: str
    first_lba: int = 0
    last_lba: int = 0


class Copy(NamedTuple):
    """One copy, whose checksums match.

    Attributes:
        header: as stored, without what follows it in its sector.
        entries: as stored.
    """

    header: bytes
    entries: bytes

    @property
    def my_lba(self) -> int:
        """Where its header lies."""
        return int(_PLACE.unpack_from(self.header, _PLACE_AT)[0])

    @property
    def other_lba(self) -> int:
        """Where it says the other copy's header lies."""
        return int(_PLACE.unpack_from(self.header, _PLACE_AT)[1])

    @property
    def entries_lba(self) -> int:
        """Where its entries lie."""
        return int(_HEADER.unpack_from(self.header)[10])

    @property
    def usable(self) -> tuple[int, int]:
        """First and last LBA that partitions may have."""
        first, last = _HEADER.unpack_from(self.header)[7:9]
        return int(first), int(last)

    @property
    def entry_bytes(self) -> int:
        """Size of one entry."""
        return int(_HEADER.unpack_from(self.header)[12])

    def partitions(self) -> list[Named]:
        """Those that exist, by number."""
        found = []
        for at in range(0, len(self.entries), self.entry_bytes):
            kind, _, first, last, _, name = _ENTRY.unpack_from(self.entries, at)
            if kind != bytes(16):
                text = name.decode("utf-16-le", "replace").partition("\0")[0]
                found.append(Named(at // self.entry_bytes + 1, text, first, last))
        return found

    def with_names_swapped(self, pairs: Iterable[tuple[int, int]]) -> "Copy":
        """With the names of partitions exchanged (numbers) and the checksums for that."""
        entries = bytearray(self.entries)
        for one, other in pairs:
            places = ((number - 1) * self.entry_bytes + _NAME_AT for number in (one, other))
            here, there = (slice(at, at + _NAME_BYTES) for at in places)
            entries[here], entries[there] = entries[there], entries[here]
        return Copy(_sealed(self.header, entries), bytes(entries))

    def moved(self, to_lba: int, other_lba: int, entries_lba: int) -> "Copy":
        """The same table for the other place."""
        header = bytearray(self.header)
        _PLACE.pack_into(header, _PLACE_AT, to_lba, other_lba)
        struct.pack_into("<Q", header, _ENTRIES_LBA_AT, entries_lba)
        return Copy(_sealed(header, self.entries), self.entries)


class Gpt:
    """Both copies of an open disk; one may be damaged.

    Args:
        fd: open on the disk.
        sector_bytes: of the disk.
        size_sectors: of the disk.
        path: what to call it.

    Raises:
        DeviceError: there is no valid copy, or it cannot be read.
    """

    def __init__(self, fd: int, sector_bytes: int, size_sectors: int, path: str) -> None:
        self._fd = fd
        self._sector_bytes = sector_bytes
        self._path = path
        self._size_sectors = size_sectors
        self.primary = self._read(PRIMARY_LBA)
        self.backup = self._read(self.primary.other_lba if self.primary else size_sectors - 1)
        valid = self.primary or self.backup
        if valid is None:
            raise DeviceError(
                f"{path} has no valid GPT",
                path=path,
                errno=errno.EINVAL,
                hint="`sfdisk -l` tells what it has",
            )
        self.copy = valid

    def swap_names(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Exchange the names of partitions (numbers) in both copies; durable when this returns.

        The copy that is not in use is written first: a damaged one, else the backup.

        Raises:
            DeviceError: it cannot be written; at least one copy is valid then, with the old names or the new ones.
        """
        new = self.copy.with_names_swapped(pairs)
        first_usable, last_usable = new.usable
        n_sectors = -(-len(new.entries) // self._sector_bytes)
        backup_lba = self.backup.my_lba if self.backup else self.copy.other_lba
        if self.backup is None and not last_usable + n_sectors < backup_lba < self._size_sectors:
            raise self._no_place("backup")
        if self.primary is None and PRIMARY_LBA + n_sectors >= first_usable:
            raise self._no_place("first copy")
        primary_entries_lba = self.primary.entries_lba if self.primary else PRIMARY_LBA + 1
        backup_entries_lba = self.backup.entries_lba if self.backup else backup_lba - n_sectors
        primary = new.moved(PRIMARY_LBA, backup_lba, primary_entries_lba)
        backup = new.moved(backup_lba, PRIMARY_LBA, backup_entries_lba)
        for copy in (backup, primary) if self.primary else (primary, backup):
            self._write(copy)

    def _no_place(self, which: str) -> DeviceError:
        return DeviceError(
            f"the {which} of the GPT of {self._path} is damaged, and has no place on this disk",
            path=self._path,
            hint="`sgdisk -e` moves it to the end of the disk",
        )

    def _read(self, lba: int) -> Copy | None:
        if not PRIMARY_LBA <= lba < self._size_sectors:
            return None
        sector = self._pread(self._sector_bytes, lba)
        return parse(sector, lba, self._size_sectors, self._pread)

    def _pread(self, n_bytes: int, lba: int) -> bytes:
        try:
            return os.pread(self._fd, n_bytes, lba * self._sector_bytes)
        except OSError as exc:
            raise DeviceError(
                f"cannot read the GPT of {self._path}: {exc.strerror}", path=self._path, errno=exc.errno
            ) from exc

    def _write(self, copy: Copy) -> None:
        header = copy.header.ljust(self._sector_bytes, b"\0")
        try:
            for data, lba in ((copy.entries, copy.entries_lba), (header, copy.my_lba)):
                if os.pwrite(self._fd, data, lba * self._sector_bytes) != len(data):
                    raise OSError(errno.EIO, "short write")
            os.fsync(self._fd)
        except OSError as exc:
            raise DeviceError(
                f"cannot write the GPT of {self._path}: {exc.strerror}",
                path=self._path,
                errno=exc.errno,
                hint="its other copy is valid; the device may be failing: see dmesg",
            ) from exc


def swaps(there: list[Named], pairs: list[tuple[str, str]], path: str) -> list[tuple[int, int]]:
    """Numbers instead of names; a later pair finds the names where an earlier one has put them.

    Raises:
        DeviceError: a name is not there, or there twice.
    """
    names = [part.name for part in there]
    numbers = {part.name: part.number for part in there}
    found = []
    for one, other in pairs:
        for name in (one, other):
            if names.count(name) != 1:
                count = "no partition" if name not in names else "more than one partition"
                raise DeviceError(f"{path} has {count} named {name!r}", path=path, errno=errno.ENOENT)
        found.append((numbers[one], numbers[other]))
        numbers[one], numbers[other] = numbers[other], numbers[one]
    return found


def parse(sector: bytes, lba: int, size_sectors: int, read: Callable[[int, int], bytes]) -> Copy | None:
    """One copy, None unless its checksums match and it fits the disk.

    Args:
        sector: the sector with its header.
        lba: where that lies.
        size_sectors: of the disk.
        read: gives so many bytes from an LBA on.
    """
    if len(sector) < _HEADER.size:
        return None
    (
        signature, _, header_bytes, crc, _, my_lba, _, first_usable, last_usable, _,
        entries_lba, count, entry_bytes, entries_crc,
    ) = _HEADER.unpack_from(sector)  # fmt: skip
    if signature != SIGNATURE or not _HEADER.size <= header_bytes <= len(sector) or my_lba != lba:
        return None
    header = bytearray(sector[:header_bytes])
    header[_CRC_AT : _CRC_AT + 4] = bytes(4)
    if crc32(header) != crc:
        return None
    if entry_bytes < _ENTRY.size or entry_bytes % 8 or not 0 < count * entry_bytes <= ENTRIES_BYTES_MAX:
        return None
    if not PRIMARY_LBA < first_usable <= last_usable < size_sectors:
        return None
    until_lba = entries_lba + -(-count * entry_bytes // len(sector))
    low, high = (PRIMARY_LBA + 1, first_usable) if lba == PRIMARY_LBA else (last_usable + 1, lba)
    if not low <= entries_lba < until_lba <= high:
        return None
    entries = read(count * entry_bytes, entries_lba)
    if len(entries) != count * entry_bytes or crc32(entries) != entries_crc:
        return None
    return Copy(sector[:header_bytes], entries)


def _sealed(header: bytes | bytearray, entries: bytes | bytearray) -> bytes:
    """The header with the checksums of the entries and of itself."""
    sealed = bytearray(header)
    struct.pack_into("<I", sealed, _ENTRIES_CRC_AT, crc32(entries))
    struct.pack_into("<I", sealed, _CRC_AT, 0)
    struct.pack_into("<I", sealed, _CRC_AT, crc32(sealed))
    return bytes(sealed)
