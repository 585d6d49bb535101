"""Any bytes as a delta of librsync: bytes of base and delta, or an error; never memory for what is promised."""

import os
import struct
import tempfile

from swagent.errors import SwagentError
from swagent.handlers.basefile import BaseFile
from swagent.handlers.rdiffstream import PatchedReader
from swagent.testing import FakeData

_BASE = bytes(range(256)) * 16
_OUTPUT_BYTES_MAX = 1 << 20
_FILE = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
_FILE.write(_BASE)
_FILE.flush()


def one_input(data: bytes) -> None:
    """Patch, in pieces of an odd size, up to a megabyte."""
    delta = FakeData(data, chunk_bytes=97)
    reader = PatchedReader(delta, BaseFile("base", os.dup(_FILE.fileno())), len(_BASE), "fuzz")
    buffer = memoryview(bytearray(1009))
    total = 0
    with reader._base:
        try:
            while total < _OUTPUT_BYTES_MAX and (n := reader.readinto(buffer)):
                total += n
        except SwagentError:
            return
    assert total >= _OUTPUT_BYTES_MAX or delta.ended


def seeds() -> list[bytes]:
    """Every kind of command, and ends that are none."""
    magic = struct.pack(">I", 0x72730236)
    return [
        magic + b"\x03abc\0",
        magic + b"\x41\x05hello\x42\x00\x03abc\0",
        magic + b"\x43" + struct.pack(">I", 300) + bytes(300) + b"\0",
        magic + b"\x45\x10\x20\x4a" + struct.pack(">HI", 256, 512) + b"\0",
        magic + b"\x54" + struct.pack(">QQ", 0, 4096) + b"\0",
        magic + b"\x54" + struct.pack(">QQ", 1, 4096) + b"\0",
        magic + b"\x44" + struct.pack(">Q", 2**63) + b"x",
        magic + b"\0trailing",
    ]
