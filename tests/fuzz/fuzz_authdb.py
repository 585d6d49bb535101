"""UniAuth.db of any bytes: a database that can be judged, or one of our errors."""

import os
import struct
from contextlib import suppress

from swagent.authdb import known_ciphers, known_lists
from swagent.authdb.crc16 import crc16
from swagent.authdb.judge import Judge
from swagent.authdb.layout import ABIS, ILP32, LP64, SECTIONS_MAX, abi_of
from swagent.authdb.reader import Database
from swagent.errors import SwagentError
from tests.authdb.databases import KEY, Told


def one_input(data: bytes) -> None:
    """As it is, and with a right checksum."""
    for raw in (data, _summed(data)):
        fd = os.memfd_create("fuzz")
        try:
            os.write(fd, raw)
            _judge(fd, len(raw))
        finally:
            os.close(fd)


def _judge(fd: int, size: int) -> None:
    try:
        database = Database(fd, "fuzz")
    except SwagentError:
        return
    assert len(database.sections) <= SECTIONS_MAX
    assert sum(section.size_bytes for section in database.sections) <= size
    told = Told({"msn": "SN1", "model_number": "M", "activation_code": "00", "image_version": "1"})
    with suppress(SwagentError):
        Judge(known_lists(), known_ciphers(), KEY, told).check(database)


def _summed(data: bytes) -> bytes:
    changed = bytearray(data)
    with suppress(SwagentError):
        abi = abi_of(data[: LP64.header.size])
        struct.pack_into("<H", changed, abi.crc_offset, crc16(data[abi.header.size :]))
    return bytes(changed)


def seeds() -> list[bytes]:
    """Lists of every kind in both layouts."""
    made = []
    for abi in ABIS.values():
        for name, alg, flags, records in (
            (b"msn", b"none", 1, [b"SN0", b"SN1"]),
            (b"msn", b"none", 3, [b"SN[0-9]*"]),
            (b"model_number", b"none", 4, [b"(a|b)+"]),
            (b"date", b"none", 1, [b"2026-01-01..2026-12-31"]),
            (b"time", b"none", 0, [b"22:00..06:00"]),
            (b"activation_code", b"aes-256-cbc", 1, [bytes(48)]),
            (b"msn", b"aes-256-gcm", 1, [bytes(40)]),
            (b"signature", b"ed25519", 1, [bytes(66)]),
        ):
            size = max(len(record) for record in records)
            at = abi.header.size + abi.section.size
            table = abi.section.pack(name, alg, flags, len(records), size, at)
            rest = table + b"".join(record.ljust(size, b"\0") for record in records)
            head = abi.header.pack(
                b"UNI\0",
                b"p",
                1,
                1,
                abi.header.size,
                abi.header.size,
                1,
                abi.section.size,
                0xA001,
                crc16(rest),
            )
            made.append(head + rest)
    empty = ILP32.header.pack(b"UNI\0", b"", 1, 1, 44, 44, 0, 48, 0xA001, 0)
    return [*made, empty, made[0][:70]]
