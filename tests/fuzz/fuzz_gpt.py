"""GPT copies and DOS tables: what is read from a disk, and what is left of it after swapping names."""

import os
import struct
from contextlib import suppress
from zlib import crc32

from swagent.errors import SwagentError
from swagent.hw import mbr
from swagent.hw.gpt import Gpt

SECTOR = 512
SECTORS = 80
_ENTRY_BYTES, _ENTRIES = 128, 8


def one_input(data: bytes) -> None:
    """The bytes are tried as a disk, and as a disk whose header has the checksums that it should have."""
    _read(data)
    disk = bytearray(data[: SECTORS * SECTOR].ljust(SECTORS * SECTOR, b"\0"))
    (header_bytes,) = struct.unpack_from("<I", disk, SECTOR + 12)
    entries_lba, count, entry_bytes = struct.unpack_from("<QII", disk, SECTOR + 72)
    if count * entry_bytes < SECTORS * SECTOR and entries_lba < SECTORS and header_bytes <= SECTOR:
        at = entries_lba * SECTOR
        struct.pack_into("<I", disk, SECTOR + 88, crc32(disk[at : at + count * entry_bytes]))
        struct.pack_into("<I", disk, SECTOR + 16, 0)
        struct.pack_into("<I", disk, SECTOR + 16, crc32(disk[SECTOR : SECTOR + header_bytes]))
        _read(bytes(disk))


def _read(data: bytes) -> None:
    fd = os.memfd_create("disk")
    try:
        os.write(fd, data)
        with suppress(SwagentError):
            mbr.read(fd, "disk")
        table = Gpt(fd, SECTOR, SECTORS, "disk")
        parts = table.copy.partitions()
        if len(parts) > 1:
            one, other = parts[0].number, parts[-1].number
            table.swap_names([(one, other)])
            again = Gpt(fd, SECTOR, SECTORS, "disk")
            assert again.primary is not None
            assert again.backup is not None
            names = {part.number: part.name for part in again.copy.partitions()}
            assert (names[one], names[other]) == (parts[-1].name, parts[0].name)
    except SwagentError:
        return
    finally:
        os.close(fd)


def seeds() -> list[bytes]:
    """A disk with three partitions, and parts of it."""
    entries = bytearray(_ENTRIES * _ENTRY_BYTES)
    for number, name in enumerate(("rootfs-a", "rootfs-b", "data")):
        raw = name.encode("utf-16-le").ljust(72, b"\0")
        struct.pack_into(
            "<16s16sQQQ72s",
            entries,
            number * _ENTRY_BYTES,
            b"\xaf" * 16,
            bytes([number] * 16),
            40,
            50,
            0,
            raw,
        )

    def copy(lba: int, other: int, entries_lba: int) -> bytes:
        header = bytearray(
            struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, lba, other, 8, 70, b"\x11" * 16,
                entries_lba, _ENTRIES, _ENTRY_BYTES, crc32(entries),
            )
        )  # fmt: skip
        struct.pack_into("<I", header, 16, crc32(header))
        return bytes(header).ljust(SECTOR, b"\0")

    disk = bytearray(SECTORS * SECTOR)
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, SECTORS - 1)
    disk[510:512] = b"\x55\xaa"
    disk[SECTOR : 2 * SECTOR] = copy(1, SECTORS - 1, 2)
    disk[2 * SECTOR : 2 * SECTOR + len(entries)] = entries
    disk[-3 * SECTOR : -3 * SECTOR + len(entries)] = entries
    disk[-SECTOR:] = copy(SECTORS - 1, 1, SECTORS - 3)
    return [bytes(disk), bytes(disk[:SECTOR]), bytes(disk[: 4 * SECTOR])]
