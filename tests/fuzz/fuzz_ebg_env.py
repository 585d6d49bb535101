"""EFI Boot Guard's environment: what is read from it, and what is left of it after changes."""

import struct
import zlib

from swagent.bootloader import ebgenv
from swagent.errors import SwagentError


def one_input(data: bytes) -> None:
    """The bytes are tried as they are, and with a right checksum, alone and as user variables."""
    for raw in (data, _summed(data), _summed(bytes(ebgenv.HEAD_BYTES) + data)):
        try:
            env = ebgenv.parse(raw, "BGENV.DAT")
            if env is not None:
                _hold(env, raw)
        except SwagentError:
            continue


def _summed(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def _hold(env: ebgenv.Environment, raw: bytes) -> None:
    assert len(ebgenv.build(env)) == len(raw)
    assert ebgenv.parse(ebgenv.build(env), "again") == env
    variables = ebgenv.variables(env)
    names = {name: value for name, value in variables.items() if name not in ebgenv.FIELDS}
    if any("=" in name or "\n" in name for name in names):
        return  # such a name is read, and cannot be set
    assert ebgenv.variables(ebgenv.change(env, names)) == variables
    emptied = ebgenv.variables(ebgenv.change(env, dict.fromkeys(names)))
    assert set(emptied) == set(ebgenv.FIELDS)


def seeds() -> list[bytes]:
    """User variables, good and bad, and a whole environment."""
    string = b"slot\0" + struct.pack("<IQ", 14, 32) + b"a\0"
    number = b"n\0" + struct.pack("<IQ", 16, 5) + b"\1\0\0\0"
    head = "C:k".encode("utf-16-le").ljust(510, b"\0") + bytes(510) + struct.pack("<BBHI", 0, 2, 30, 7)
    return [
        string + number + b"\0\0",
        string + string + b"\0",
        string,
        b"x\0" + struct.pack("<IQ", 11, 32) + b"a\0\0",
        b"x\0" + struct.pack("<IQ", 0xFFFFFFFF, 32) + b"a\0\0",
        _summed(head + string + bytes(100)),
    ]
