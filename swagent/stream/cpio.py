"""Reading cpio archives, newc and crc (swu format §1). Stricter than SWUpdate: see docs/reference/compatibility.md."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from swagent.errors import ArchiveError

from .source import Source
from .verify import Span, SumReader, byte_sum

__all__ = ["Archive", "Member", "byte_sum"]

HEADER_BYTES = 110
NAME_BYTES_MAX = 255
TRAILER = "TRAILER!!!"
PADDING_BYTES_MAX = 1024 * 1024
"""How much zero padding may follow the trailer; cpio pads to its block size, by default 512."""
MEMBERS_MAX = 100_000

_NEWC, _CRC = b"070701", b"070702"
_HEX = re.compile(rb"[0-9A-Fa-f]{104}\Z")


class Member(NamedTuple):
    """One file of the archive.

    Attributes:
        name: plain base name.
        size_bytes: of its data, as stored.
        offset: of its data in the archive, bytes.
        checksum: sum of its bytes modulo 2^32, None in newc archives, which have none.
    """

    name: str
    size_bytes: int
    offset: int
    checksum: int | None


class Archive:
    """The members of an archive, in their order.

    From a file, all headers are read and judged before the first member is given out, so a damaged or cut archive is
    refused before anything is done with it. From a stream that cannot be: each header is judged when it comes.

    Args:
        source: positioned at the first header.
        index: its members, where they are known already.
    """

    def __init__(self, source: Source, index: list[Member] | None = None) -> None:
        self.source = source
        self._names: set[str] = set()
        self._head = memoryview(bytearray(HEADER_BYTES + NAME_BYTES_MAX + 1 + 3))
        self._index = index

    def index(self) -> list[Member]:
        """All members of a file; also checks what follows the trailer.

        Raises:
            ArchiveError: the archive is malformed, cut short, has a name twice, or garbage behind its end.
        """
        if self._index is None:
            self._index = list(self._walk())
        return self._index

    def members(self) -> Iterator[Member]:
        """The members; what the caller leaves unread of one is skipped when the next is asked for.

        Raises:
            ArchiveError: as ``index``; in a stream, only when the fault is reached.
        """
        if self.source.seekable:
            yield from self.index()
        else:
            yield from self._walk()

    def open(self, member: Member, *, verify_sum: bool) -> Span | SumReader:
        """The stored bytes of a member.

        Args:
            member: of a stream, the one last given out.
            verify_sum: judge the header's sum, if it has one, at the end.
        """
        span = Span(self.source, member.offset, member.size_bytes, member.name)
        if verify_sum and member.checksum is not None:
            return SumReader(span, member.checksum, member.name)
        return span

    def _walk(self) -> Iterator[Member]:
        source = self.source
        start = source.position
        while True:
            member = self._read_header(start)
            if member is None:
                break
            end = member.offset + member.size_bytes
            size = source.size_bytes  # a server tells it with its first byte
            if size is not None and end > size:
                raise ArchiveError(
                    f"{source.name} is {size} bytes long, but its member {member.name} would end at byte {end}",
                    artifact=member.name,
                    hint="the file was cut short; fetch it again",
                )
            yield member
            start = end + (-end % 4)
            source.seek(start)
        self._drain()

    def _read_header(self, start: int) -> Member | None:
        source = self.source
        head = self._head
        if source.readinto(head[:HEADER_BYTES]) < HEADER_BYTES:
            raise ArchiveError(
                f"{source.name} ends at byte {source.position}, without the archive's end mark",
                hint="the file was cut short; fetch it again" if start else "it is no .swu file",
            )
        fixed = bytes(head[:HEADER_BYTES])
        magic = fixed[:6]
        if magic not in (_NEWC, _CRC) or not _HEX.match(fixed[6:]):
            raise ArchiveError(
                f"{source.name}: no cpio header (newc or crc) at byte {start}",
                hint="it is no .swu file" if start == 0 else "the file was damaged or put together wrongly",
            )
        size_bytes = int(fixed[54:62], 16)
        name_bytes = int(fixed[94:102], 16)
        checksum = int(fixed[102:110], 16) if magic == _CRC else None
        if not 2 <= name_bytes <= NAME_BYTES_MAX:
            raise ArchiveError(f"{source.name}: the member at byte {start} has a name of {name_bytes} bytes")
        padded = name_bytes + (-(HEADER_BYTES + name_bytes) % 4)
        if source.readinto(head[:padded]) < padded:
            raise ArchiveError(f"{source.name} ends at byte {source.position}, in a member's name")
        name = self._name(bytes(head[:name_bytes]), start)
        if name == TRAILER:
            if size_bytes:
                raise ArchiveError(f"{source.name}: the end mark at byte {start} claims to have data")
            return None
        self._names.add(name)
        if len(self._names) > MEMBERS_MAX:
            raise ArchiveError(f"{source.name} has more than {MEMBERS_MAX} members")
        return Member(name, size_bytes, source.position, checksum)

    def _name(self, raw: bytes, start: int) -> str:
        where = f"{self.source.name}: the name of the member at byte {start}"
        if raw[-1] or 0 in raw[:-1]:
            raise ArchiveError(f"{where} is not one NUL-terminated string")
        try:
            name = raw[:-1].decode()
        except UnicodeDecodeError as exc:
            raise ArchiveError(f"{where} is not UTF-8") from exc
        if "/" in name or name in (".", ".."):
            raise ArchiveError(f"{where}, {name!r}, is not a plain file name", artifact=name)
        if name in self._names:
            raise ArchiveError(f"{self.source.name} has two members named {name!r}", artifact=name)
        return name

    def _drain(self) -> None:
        """Read what follows the end mark: zeros, and not many."""
        source = self.source
        buffer = memoryview(bytearray(64 * 1024))
        zeros = bytes(len(buffer))
        total = 0
        while n := source.readinto(buffer):
            total += n
            if buffer[:n] != zeros[:n] or total > PADDING_BYTES_MAX:
                raise ArchiveError(
                    f"{source.name} has something behind the archive's end mark",
                    hint="it was put together wrongly, or two files were joined",
                )
