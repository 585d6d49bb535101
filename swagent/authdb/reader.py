"""Reads ``UniAuth.db``: structure, checksum and signature first, then records (authorization db §2).

Every offset, count and size comes from outside, up to 2^64-1: each is held against the length of the file before a byte
is allocated for it. The first pass reads the whole file once; what is read again later must have the same digest.
"""

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from swagent.crypto.digest import sha256
from swagent.errors import DeviceError, MetadataError, SwagentError

from . import FILE_NAME, signing
from .crc16 import Crc16, crc16
from .layout import (
    LP64,
    RECORD_BYTES_MAX,
    SECTIONS_MAX,
    SIGNATURE,
    Section,
    abi_of,
    read_header,
    read_section,
)

if TYPE_CHECKING:
    from swagent.crypto.schemes import PublicKey

PIECE_BYTES = 1 << 20


class Database:
    """An open database whose structure, checksum and (where somebody is trusted) signature are right.

    Args:
        fd: a regular file, open for reading; closed by ``close``.
        where: its path, for messages.
        trust: keys of which one must have signed it; empty asks for no signature.

    Attributes:
        where: its path, or what it is called.
        size_bytes: of the file.
        abi: its layout.
        header: its header.
        sections: its lists, in the order of the file; the signature is none.
        signature: the section of the signature, None when there is none.
        signer: algorithm of the signature that was verified, "" when nobody asked.

    Raises:
        MetadataError: it does not parse, or its checksum is wrong.
        SignatureError: nobody who is trusted signed it.
        DeviceError: it cannot be read.
    """

    def __init__(self, fd: int, where: str, trust: "tuple[PublicKey, ...]" = ()) -> None:
        self._fd = fd
        self.where = where
        self._digests: dict[Section, bytes] = {}
        try:
            self._read_structure()
            digest = self._read_through()
            self.signer = signing.verify(trust, self.signature, self._record, digest) if trust else ""
        except SwagentError as exc:
            exc.message = f"{where}: {exc.message}"
            raise

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def blocks(self, section: Section) -> Iterator[bytes]:
        """The stored records of a list, some whole ones at a time.

        Whoever stops before the end has not been told whether they are those that were verified.

        Raises:
            MetadataError: they are not: the file has changed since it was opened.
            DeviceError: it cannot be read.
        """
        digest = sha256()
        step = max(1, PIECE_BYTES // max(1, section.entity_size)) * section.entity_size
        end = section.entry + section.size_bytes
        for at in range(section.entry, end, step or 1):
            block = self._read(at, min(step, end - at))
            digest.update(block)
            yield block
        if digest.digest() != self._digests[section]:
            raise MetadataError(f"{self.where}: {section} has changed since it was verified")

    # -- structure

    def _read_structure(self) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise MetadataError("it is no regular file")
        self.size_bytes = status.st_size
        head = self._read(0, min(self.size_bytes, LP64.header.size))
        self.abi = abi_of(head)
        self._head = head[: self.abi.header.size]
        self.header = read_header(self.abi, self._head)
        self._table_size = self.header.sections * self.abi.section.size
        if self.header.sections > SECTIONS_MAX:
            raise MetadataError(f"it has {self.header.sections} sections; {SECTIONS_MAX} are the most")
        self._check_range("the section headers", self.header.section_entry, self._table_size)
        self._table = self._read(self.header.section_entry, self._table_size) if self._table_size else b""
        sections = [read_section(self.abi, self._table, number) for number in range(self.header.sections)]
        for section in sections:
            self._check_section(section)
        self.signature = self._take_signature(sections)
        self.sections = tuple(sections)
        self._ranges = self._check_ranges()

    def _check_section(self, section: Section) -> None:
        if section.entities and not 0 < section.entity_size <= RECORD_BYTES_MAX:
            raise MetadataError(
                f"records of {section} have {section.entity_size} bytes, not 1 to {RECORD_BYTES_MAX}"
            )
        self._check_range(str(section), section.entry, section.size_bytes)

    def _check_range(self, what: str, start: int, size_bytes: int) -> None:
        if size_bytes and not self.abi.header.size <= start <= start + size_bytes <= self.size_bytes:
            raise MetadataError(
                f"{what}: bytes {start} to {start + size_bytes} are not in the file, which has {self.size_bytes}"
            )

    def _take_signature(self, sections: list[Section]) -> Section | None:
        found = [section for section in sections if section.name == SIGNATURE]
        if not found:
            return None
        section = sections.pop()
        if found != [section] or section.entities != 1 or section.entity_size <= signing.CRC_BYTES:
            raise MetadataError("a signature is a single record in the last section")
        if section.alg not in signing.ALGS:
            raise MetadataError(f"the signature is of an unknown kind, {section.alg}")
        return section

    def _check_ranges(self) -> list[tuple[int, int, Section | None]]:
        """The whole file as ranges in order: what is a list's or the signature's, and what is neither."""
        claimed: list[tuple[int, int, Section | None]] = [
            (section.entry, section.entry + section.size_bytes, section)
            for section in (*self.sections, *([self.signature] if self.signature else []))
            if section.entities
        ]
        if self._table:
            start = self.header.section_entry
            claimed.append((start, start + self._table_size, None))
        claimed.sort(key=lambda claim: claim[:2])
        ranges: list[tuple[int, int, Section | None]] = []
        at = self.abi.header.size
        for start, end, section in claimed:
            if start < at:
                raise MetadataError(f"two parts of the file overlap at byte {start}")
            ranges += [(at, start, None)] if at < start else []
            ranges.append((start, end, section))
            at = end
        return ranges + ([(at, self.size_bytes, None)] if at < self.size_bytes else [])

    # -- content

    def _read_through(self) -> bytes:
        """Check the checksums; returns the digest of everything but the signature's record."""
        crc = Crc16()
        whole = sha256(self._head)
        self._record = b""
        known_at = self.header.section_entry if self._table else None
        for start, end, section in self._ranges:
            own = sha256()
            for at in range(start, end, PIECE_BYTES):
                piece = self._read(at, min(PIECE_BYTES, end - at))
                crc.update(piece)
                own.update(piece)
                if section is not None and section is self.signature:
                    self._record = piece
                else:
                    whole.update(piece)
            if section is not None:
                self._digests[section] = own.digest()
            elif known_at == start and own.digest() != sha256(self._table).digest():
                raise MetadataError("it changes while it is read")
        for section in self.sections:
            self._digests.setdefault(section, sha256().digest())  # empty ones have no range
        if crc.value() != self.header.content_crc:
            raise MetadataError(
                f"content_crc is 0x{self.header.content_crc:04x}, and the content has 0x{crc.value():04x}",
                hint="it was damaged or changed",
            )
        if crc16(self._record):
            raise MetadataError("the signature's own checksum is wrong")
        return whole.digest()

    def _read(self, offset: int, n_bytes: int) -> bytes:
        parts = []
        try:
            while n_bytes:
                part = os.pread(self._fd, n_bytes, offset)
                if not part:
                    raise MetadataError(f"it ends at byte {offset}")
                parts.append(part)
                offset += len(part)
                n_bytes -= len(part)
        except OSError as exc:
            raise DeviceError(f"cannot be read: {exc.strerror}", path=self.where, errno=exc.errno) from exc
        return b"".join(parts)


def open_bytes(data: bytes, where: str, trust: "tuple[PublicKey, ...]" = ()) -> Database:
    """As ``open_database``, of a database in memory.

    Raises:
        DeviceError: there is no memory for it.
        MetadataError, SignatureError: as of ``Database``.
    """
    try:
        fd = os.memfd_create(FILE_NAME)
        with open(os.dup(fd), "wb") as file:
            file.write(data)
    except OSError as exc:
        raise DeviceError(f"{where}: {exc.strerror}", path=where, errno=exc.errno) from exc
    return _database(fd, where, trust)


def open_database(path: str, trust: "tuple[PublicKey, ...]" = ()) -> Database:
    """Open and verify a database; close it, or use it in a ``with``.

    Args:
        path: the file.
        trust: as of ``Database``; ``signing.load_trust`` reads them.

    Raises:
        DeviceError: it cannot be opened or read; ``errno`` is ENOENT where it is missing.
        MetadataError, SignatureError: as of ``Database``.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not keep us waiting
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        number = exc.errno if isinstance(exc, OSError) else None
        raise DeviceError(f"cannot open {path}: {reason}", path=path, errno=number) from exc
    return _database(fd, path, trust)


def _database(fd: int, where: str, trust: "tuple[PublicKey, ...]") -> Database:
    try:
        return Database(fd, where, trust)
    except BaseException:
        os.close(fd)
        raise
