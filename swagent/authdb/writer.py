"""Writes ``UniAuth.db``: lists of any length in constant memory, checksum, signature (authorization db §2, §9).

Records of a list have one length, so the longest must be known before the first is written: lists are read twice.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from swagent.crypto.digest import sha256
from swagent.errors import MetadataError, RegistrationError
from swagent.store import open_replacement

from . import signing
from .ciphers import RecordCipher
from .crc16 import Crc16
from .layout import (
    LP64,
    MAJOR,
    MINOR,
    RECORD_BYTES_MAX,
    SECTIONS_MAX,
    SIGNATURE,
    Abi,
    Header,
    Matching,
    Section,
    check_name,
    pack_header,
    pack_section,
)
from .reader import PIECE_BYTES, Database

if TYPE_CHECKING:
    from swagent.crypto.schemes import PrivateKey
    from swagent.plugins import Registry

    from .ciphers import CipherClass, Key


class NewList(NamedTuple):
    """A list to be written.

    Attributes:
        records: gives them out, from the first on, each time it is called.
    """

    name: str
    allow: bool
    records: Callable[[], Iterator[bytes]]
    matching: Matching = Matching.RAW
    alg: str = "none"


class _Stored(NamedTuple):
    """A section as it will be, its place apart, and its stored records in blocks."""

    section: Section
    blocks: Iterable[bytes]


def write(
    path: str,
    lists: Iterable[NewList],
    *,
    ciphers: "Registry[CipherClass]",
    key: "Key | None" = None,
    project: str = "",
    abi: Abi = LP64,
    signer: "PrivateKey | None" = None,
) -> None:
    """Make a database; it replaces ``path`` whole.

    Args:
        path: the result.
        lists: one for each section.
        ciphers: the record ciphers that there are.
        key: of encrypted lists.
        project: for the header.
        abi: the layout.
        signer: signs it; None for no signature.

    Raises:
        MetadataError: a name or record does not fit, or a list changes between its two passes.
        RegistrationError: there is no cipher of a name.
        SettingsError: a key is missing or cannot be used.
        DeviceError: it cannot be written.
    """
    _write(path, [_prepared(one, ciphers, key) for one in lists], project, abi, signer)


def rewrite(path: str, database: Database, *, signer: "PrivateKey | None", abi: Abi | None = None) -> None:
    """The same lists, records as they are stored, signed anew or not at all; ``path`` may be the database itself.

    Raises:
        MetadataError: it does not fit into the layout, or has changed since it was opened.
        DeviceError: it cannot be written.
    """
    stored = [_Stored(section, database.blocks(section)) for section in database.sections]
    _write(path, stored, database.header.project, abi or database.abi, signer)


def _prepared(one: NewList, ciphers: "Registry[CipherClass]", key: "Key | None") -> _Stored:
    check_name(one.name, "the name of a list")
    if one.name == SIGNATURE:
        raise MetadataError(f"no list can be called {SIGNATURE}")
    found = ciphers.get(check_name(one.alg, "the name of a cipher"))
    if found is None:
        raise RegistrationError(
            f"there is no record cipher {one.alg!r}", hint=f"known are {', '.join(ciphers.names())}"
        )
    cipher = found(key)
    count = longest = 0
    for record in one.records():
        if not record or b"\0" in record or cipher.stored_bytes(len(record)) > RECORD_BYTES_MAX:
            raise MetadataError(
                f"record {record[:40]!r} of {one.name} is empty, has a NUL, or is longer than {RECORD_BYTES_MAX} bytes"
            )
        count += 1
        longest = max(longest, len(record))
    size = cipher.stored_bytes(longest) if count else 0
    section = Section(one.name, one.alg, one.allow, one.matching, count, size, 0)
    return _Stored(section, _blocks(section, one.records(), longest, cipher))


def _blocks(section: Section, records: Iterator[bytes], width: int, cipher: RecordCipher) -> Iterator[bytes]:
    per_block = max(1, PIECE_BYTES // max(1, section.entity_size))
    first = 0
    while padded := [record.ljust(width, b"\0") for record in islice(records, per_block)]:
        block = b"".join(padded)
        if len(block) != len(padded) * width:
            break  # one is longer than any was before
        yield cipher.seal(section, first, block, width)
        first += per_block


def _write(path: str, stored: "list[_Stored]", project: str, abi: Abi, signer: "PrivateKey | None") -> None:
    if project:
        check_name(project, "the project")
    if len(stored) + 1 > SECTIONS_MAX:
        raise MetadataError(f"more than {SECTIONS_MAX} lists")
    sections = [one.section for one in stored]
    if signer is not None:
        alg, size = signing.algorithm(signer), signing.record_bytes(signer)
        sections.append(Section(SIGNATURE, alg, True, Matching.RAW, 1, size, 0))
    header = Header(project, MAJOR, MINOR, abi.header.size, len(sections), 0)
    at = abi.header.size + len(sections) * abi.section.size
    placed = []
    for section in sections:
        placed.append(section._replace(entry=at))
        at += section.size_bytes
    table = b"".join(pack_section(abi, section) for section in placed)
    crc = Crc16()
    crc.update(table)
    with open_replacement(path) as file:
        file.write(pack_header(abi, header) + table)
        for one in stored:
            _write_blocks(file, one, crc)
        # the signature adds nothing to the checksum, but its place counts as one of NULs
        crc.update(bytes(sections[-1].size_bytes if signer is not None else 0))
        file.seek(0)
        file.write(pack_header(abi, header._replace(content_crc=crc.value())))
        file.flush()
        if signer is not None:
            file.seek(placed[-1].entry)
            file.write(signing.sign(signer, _digest(file.fileno(), placed[-1].entry)))


def _write_blocks(file: BinaryIO, one: _Stored, crc: Crc16) -> None:
    written = 0
    for block in one.blocks:
        crc.update(block)
        file.write(block)
        written += len(block)
    if written != one.section.size_bytes:
        raise MetadataError(f"the records of {one.section} changed while they were written")


def _digest(fd: int, until: int) -> bytes:
    digest = sha256()
    for at in range(0, until, PIECE_BYTES):
        digest.update(os.pread(fd, min(PIECE_BYTES, until - at), at))
    return digest.digest()
