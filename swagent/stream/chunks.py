"""Signed chunk tables: a member's stored bytes in pieces that are judged before they are used (docs/adr/0004).

A table is a member of its own, and sw-description has its digest. All numbers are big-endian:

    8  magic ``swchunks``          4  version, 1
    4  plain bytes of each chunk but the last, 0 when an install cannot go on at a chunk
    8  plain bytes of the member   8  stored bytes of the member

then for each chunk: 4 its stored bytes, 32 SHA-256 of these, and unless the plain size is 0: 32 SHA-256 of its plain
bytes. How many chunks there are follows from the length of the table.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from swagent.errors import ArchiveError, HashError, SizeError
from swagent.model import Reader

CHUNK_BYTES = 1024 * 1024
"""What chunks have unless somebody wants it otherwise."""
CHUNK_BYTES_MAX = 4 * 1024 * 1024
STORED_BYTES_MAX = 8 * 1024 * 1024
"""Of one chunk: what cannot be compressed becomes a little longer."""
TABLE_BYTES_MAX = 16 * 1024 * 1024
ALIGNMENT_BYTES = 4096

_MAGIC, _VERSION = b"swchunks", 1
_HEAD = struct.Struct(">8sIIQQ")
_STORED = struct.Struct(">I32s")
_BOTH = struct.Struct(">I32s32s")


class Chunk(NamedTuple):
    """One piece of a member.

    Attributes:
        plain_sha256: b"" when an install cannot go on here.
    """

    stored_bytes: int
    sha256: bytes
    plain_sha256: bytes = b""


class ChunkTable:
    """A table that makes sense.

    Args:
        raw: the table.
        name: of its member, for messages.

    Raises:
        ArchiveError: it is none.

    Attributes:
        chunk_bytes: plain bytes of each chunk but the last; 0 when an install cannot go on at a chunk.
        plain_bytes: of the whole member.
        stored_bytes: of the whole member.
        largest_bytes: stored bytes of the largest chunk.
    """

    def __init__(self, raw: bytes, name: str) -> None:
        self.name = name
        self._raw = raw
        if len(raw) < _HEAD.size or raw[: len(_MAGIC)] != _MAGIC:
            raise self._error("it is no chunk table")
        self.chunk_bytes: int
        self.plain_bytes: int
        self.stored_bytes: int
        _, version, self.chunk_bytes, self.plain_bytes, self.stored_bytes = _HEAD.unpack_from(raw)
        if version != _VERSION:
            raise self._error(f"its version is {version}, and {_VERSION} is known here")
        if self.chunk_bytes % ALIGNMENT_BYTES or self.chunk_bytes > CHUNK_BYTES_MAX:
            raise self._error(f"chunks of {self.chunk_bytes} bytes are not supported")
        self._row = _BOTH if self.chunk_bytes else _STORED
        count, rest = divmod(len(raw) - _HEAD.size, self._row.size)
        if rest:
            raise self._error("it ends in the middle of a row")
        self._count = count
        if self.chunk_bytes:
            wanted = max(-(-self.plain_bytes // self.chunk_bytes), bool(self.stored_bytes))
            if count != wanted:
                raise self._error(f"it has {count} chunks for {self.plain_bytes} bytes")
        sizes = [row[0] for row in self._row.iter_unpack(memoryview(raw)[_HEAD.size :])]
        self.largest_bytes = max(sizes, default=0)
        if not all(sizes) or self.largest_bytes > STORED_BYTES_MAX or sum(sizes) != self.stored_bytes:
            raise self._error("the lengths of its chunks make no sense")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Chunk:
        return Chunk(*self._row.unpack_from(self._raw, _HEAD.size + number * self._row.size))

    def plain_length(self, number: int) -> int:
        """Plain bytes of one chunk of a table with ``chunk_bytes``."""
        return min(self.chunk_bytes, self.plain_bytes - number * self.chunk_bytes)

    def stored_before(self, number: int) -> int:
        """Stored bytes of all chunks before this one."""
        return sum(self[i].stored_bytes for i in range(number))

    def judge_fit(self, stored_bytes: int, plain_bytes: int | None, name: str) -> None:
        """Whether it can be the table of this member.

        Raises:
            SizeError: it cannot.
        """
        if stored_bytes != self.stored_bytes:
            raise SizeError(
                f"{self.name} is for {self.stored_bytes} bytes, {name} has {stored_bytes}", artifact=name
            )
        if plain_bytes not in (None, self.plain_bytes):
            raise SizeError(
                f"{self.name} is for {self.plain_bytes} plain bytes, sw-description promises {plain_bytes}",
                artifact=name,
            )

    def _error(self, why: str) -> ArchiveError:
        return ArchiveError(
            f"{self.name}: {why}", artifact=self.name, hint="the image was put together wrongly"
        )


def pack(chunks: Iterator[Chunk], *, chunk_bytes: int, plain_bytes: int) -> bytes:
    """The bytes of a table.

    Args:
        chunks: all of a member's.
        chunk_bytes: plain bytes of each but the last; 0 when an install cannot go on at a chunk.
        plain_bytes: of the whole member.

    Raises:
        SizeError: there are more than a table may have.
    """
    rows = bytearray()
    stored_bytes = 0
    for chunk in chunks:
        stored_bytes += chunk.stored_bytes
        rows += _BOTH.pack(*chunk) if chunk_bytes else _STORED.pack(*chunk[:2])
    if len(rows) + _HEAD.size > TABLE_BYTES_MAX:
        raise SizeError(
            f"a chunk table would have more than {TABLE_BYTES_MAX} bytes",
            hint="the image is too large for it",
        )
    return _HEAD.pack(_MAGIC, _VERSION, chunk_bytes, plain_bytes, stored_bytes) + rows


class ChunkReader:
    """Reads stored bytes chunk by chunk; gives out none before its digest was found right.

    Args:
        stored: the member's bytes from the first chunk on.
        table: what they must be; it fits the member.
        name: the member, for messages.
        first: number of the first chunk.
    """

    def __init__(self, stored: Reader, table: ChunkTable, name: str, first: int = 0) -> None:
        self._stored = stored
        self._table = table
        self._name = name
        self._next = first

    def fill(self, view: memoryview) -> int:
        """The next chunk, whole and right; 0 at the end.

        Raises:
            HashError: it is not what the table promises.
            ArchiveError: the member ends too early.
        """
        from hashlib import sha256

        if self._next == len(self._table):
            if self._stored.readinto(view[:1]):  # at the end a sum is judged, if there is one
                raise SizeError(f"{self._name} is longer than its chunks", artifact=self._name)
            return 0
        chunk = self._table[self._next]
        done = 0
        while done < chunk.stored_bytes:
            n = self._stored.readinto(view[done : chunk.stored_bytes])
            if n == 0:
                raise ArchiveError(f"{self._name} ends in chunk {self._next}", artifact=self._name)
            done += n
        found = sha256(view[:done]).digest()
        if found != chunk.sha256:
            raise HashError(
                f"{self._name}: chunk {self._next} of {len(self._table)} is not what sw-description promised: sha256 "
                f"is {found.hex()}, expected {chunk.sha256.hex()}; it was not written",
                artifact=self._name,
                hint="install again: what was written is kept if a journal is; or fetch the image again",
            )
        self._next += 1
        return done

    def blocks(self) -> Iterator[memoryview]:
        """All chunks in one buffer: each is valid until the next."""
        buffer = memoryview(bytearray(max(self._table.largest_bytes, 1)))
        while n := self.fill(buffer):
            yield buffer[:n]


class Resume(NamedTuple):
    """An earlier install of the same image may have left chunks in the target.

    Attributes:
        skip: passes over so many stored bytes, unread if that can be.
        tell: hears how many plain bytes are there already, if any.
    """

    skip: Callable[[int], None]
    tell: Callable[[int], None]
