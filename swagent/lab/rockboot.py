"""Rockchip's boot files: the programs that its mask ROM takes over USB (boardswarm §4.3)."""

import struct
from typing import NamedTuple

from swagent.errors import FormatError

FILE_BYTES_MAX = 64 * 1024 * 1024
_TAGS = (b"BOOT", b"LDR ")
_HEADER_BYTES = 102
_TABLES_AT = 25
_TABLE = struct.Struct("<BIB")
_ENTRY = struct.Struct("<BI40sIII")
_DELAY_MS_MAX = 60_000


class Program(NamedTuple):
    """One program of a boot file.

    Attributes:
        delay_s: how long to wait after it was sent.
    """

    name: str
    data: bytes
    delay_s: float


class BootFile(NamedTuple):
    """What a boot file brings for the codes 0x471 and 0x472, in the order in which they are sent."""

    programs_471: tuple[Program, ...]
    programs_472: tuple[Program, ...]


def read_boot_file(data: bytes) -> BootFile:
    """Read a boot file.

    Raises:
        FormatError: it is none, or damaged.
    """
    if data[:4] not in _TAGS:
        raise FormatError("this is no boot file of Rockchip", hint="it begins with BOOT or LDR")
    if len(data) < _HEADER_BYTES:
        raise FormatError("the boot file ends within its header")
    found = []
    for number in range(2):  # the third table is the loader's, which goes to storage
        count, offset, size = _TABLE.unpack_from(data, _TABLES_AT + number * _TABLE.size)
        if count and size < _ENTRY.size:
            raise FormatError(f"an entry of the boot file has {size} bytes instead of {_ENTRY.size}")
        found.append(tuple(_program(data, offset + at * size) for at in range(count)))
    return BootFile(*found)


def _program(data: bytes, at: int) -> Program:
    if at + _ENTRY.size > len(data):
        raise FormatError("the boot file ends within its table")
    _, _, name, offset, size, delay_ms = _ENTRY.unpack_from(data, at)
    if offset + size > len(data):
        raise FormatError("the boot file ends within a program")
    if delay_ms > _DELAY_MS_MAX:
        raise FormatError(f"the boot file wants a pause of {delay_ms} ms")
    text = name.decode("utf-16-le", errors="replace").partition("\0")[0]
    return Program(text, data[offset : offset + size], delay_ms / 1000)
