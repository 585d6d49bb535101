"""The bytes of one copy of U-Boot's environment: a checksum, a flags byte when there are two copies, the variables.

The checksum is zlib's CRC-32 over the variables to the end of the copy, in the byte order of this machine, and does not
cover the flags byte. Variables are ``name=value`` with a NUL behind each and one more at the end (handlers §4.1).
"""

import struct
import zlib
from collections.abc import Mapping

from swagent.errors import BootEnvError

_CRC = struct.Struct("=I")


def split_copy(raw: bytes, *, redundant: bool) -> tuple[int, bytes] | None:
    """Flags (0 when not ``redundant``) and variables of a copy; None when it is short or its checksum is wrong."""
    header_bytes = _CRC.size + redundant
    if len(raw) <= header_bytes:
        return None
    data = raw[header_bytes:]
    if _CRC.unpack_from(raw)[0] != zlib.crc32(data):
        return None
    return raw[_CRC.size] if redundant else 0, data


def newer(first: int, second: int) -> int:
    """Which of two valid copies counts, 0 or 1, by their flags: the higher one, 0 being next to 255."""
    if {first, second} == {0, 0xFF}:
        return 0 if first == 0 else 1
    return 1 if second > first else 0


def newer_by_mark(first: int, second: int) -> int:
    """As ``newer`` for NOR flash, where flags do not count: 1 in force, 0 obsolete, 255 in force and not yet marked."""
    if first == second or (first, second) == (1, 0):
        return 0
    if (first, second) == (0, 1):
        return 1
    return 1 if second == 0xFF and first != 0xFF else 0


def parse_variables(data: bytes) -> dict[str, str]:
    """Variables by name; of two with the same name the last, entries without ``=`` or name left out.

    Bytes that are no UTF-8 become surrogate escapes.
    """
    variables = {}
    for entry in data.split(b"\0"):
        if not entry:
            break
        name, equals, value = entry.partition(b"=")
        if name and equals:
            variables[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
    return variables


def build_copy(variables: Mapping[str, str], size_bytes: int, *, flags: int | None) -> bytes:
    """A whole copy of ``size_bytes``, variables sorted by name; ``flags`` is None for a single copy.

    Raises:
        BootEnvError: a name or value cannot be stored, or they do not fit.
    """
    data = b"".join(sorted(_encode(name, value) for name, value in variables.items())) + b"\0"
    if not variables:
        data = b"\0\0"
    room_bytes = size_bytes - _CRC.size - (flags is not None)
    if len(data) > room_bytes:
        raise BootEnvError(
            f"the boot environment has room for {room_bytes} bytes, its variables need {len(data)}",
            hint="remove variables, or make the environment larger in U-Boot and in fw_env.config",
        )
    data = data.ljust(room_bytes, b"\0")
    return _CRC.pack(zlib.crc32(data)) + (b"" if flags is None else bytes([flags])) + data


def check_variable(name: str, value: str) -> None:
    """Whether a variable can be stored at all.

    Raises:
        BootEnvError: its name is empty or has ``=`` or a line end, or a NUL or an impossible character is in it.
    """
    if "\n" in name:  # one that is stored already is kept: others may change beside it
        raise BootEnvError(f"{name!r} is no name for a boot variable", hint="it needs a name of one line")
    _encode(name, value)


def _encode(name: str, value: str) -> bytes:
    if not name or "=" in name or "\0" in name:
        raise BootEnvError(f"{name!r} is no name for a boot variable", hint="it needs a name without `=`")
    if "\0" in value:
        raise BootEnvError(f"the value of boot variable {name!r} has a NUL in it")
    try:
        return f"{name}={value}".encode("utf-8", "surrogateescape") + b"\0"
    except UnicodeEncodeError as exc:
        raise BootEnvError(f"boot variable {name!r} has a character that cannot be stored") from exc
