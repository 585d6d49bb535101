"""The header of a zchunk file: which chunks the file has, where each lies and what its digests are.

Layout and compressed integers: handlers §2.18. Only what a delta update can use is accepted: SHA-256 throughout,
digests of the plain bytes, no dictionary, and not one byte behind the header.
"""

from array import array
from hashlib import sha256
from typing import NamedTuple

from swagent.errors import ArchiveError

HEADER_BYTES_MAX = 16 * 1024 * 1024
"""Room for a quarter of a million chunks, some 9 GiB of image."""
CHUNK_BYTES_MAX = 16 * 1024 * 1024
"""A chunk is in memory whole; zchunk's own tool makes none above 10 MiB, and by itself none above 128 KiB."""
FILE_BYTES_MAX = 2**62

MAGIC, _DETACHED = b"\0ZCK1", b"\0ZHR1"
_SHA1, _SHA256 = 0, 1
_DIGEST_BYTES = 32
_STREAMS, _OPTIONAL, _PLAIN_DIGESTS = 1, 2, 4
_NONE, _ZSTD = 0, 2
_INTEGER_BYTES_MAX = 10  # 64 bits
_HOW = "make the file with `zck -u -h sha256`"


class Chunk(NamedTuple):
    """One chunk of the file.

    Attributes:
        offset: of its stored bytes in the file.
        stored_sha256: digest of the stored bytes; zeros where they are the plain ones.
    """

    offset: int
    stored_bytes: int
    plain_bytes: int
    stored_sha256: bytes
    plain_sha256: bytes


class Header:
    """The chunks of a file, in order, those without bytes left out; kept small, as there are many.

    Attributes:
        size_bytes: of the header, which is where the first chunk lies.
        file_bytes: of the whole file.
        plain_bytes: of what the file holds.
        compressed: whether chunks are zstd frames, else they are stored plain.
    """

    def __init__(self, size_bytes: int, *, compressed: bool) -> None:
        self.size_bytes = self.file_bytes = size_bytes
        self.plain_bytes = 0
        self.compressed = compressed
        self._offsets = array("Q")
        self._stored = array("L")
        self._plain = array("L")
        self._plain_offsets = array("Q")
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Chunk:
        at = index * 2 * _DIGEST_BYTES
        return Chunk(
            self._offsets[index],
            self._stored[index],
            self._plain[index],
            bytes(self._digests[at : at + _DIGEST_BYTES]),
            bytes(self._digests[at + _DIGEST_BYTES : at + 2 * _DIGEST_BYTES]),
        )

    def plain_sha256(self, index: int) -> bytes:
        """Digest of a chunk's plain bytes."""
        at = (2 * index + 1) * _DIGEST_BYTES
        return bytes(self._digests[at : at + _DIGEST_BYTES])

    def plain_span(self, index: int) -> tuple[int, int]:
        """Where a chunk's plain bytes begin in what the file holds, and how many they are."""
        return self._plain_offsets[index], self._plain[index]

    def append(self, stored_bytes: int, plain_bytes: int, digests: bytes) -> None:
        """Add the next chunk of the file."""
        if plain_bytes:
            self._offsets.append(self.file_bytes)
            self._plain_offsets.append(self.plain_bytes)
            self._stored.append(stored_bytes)
            self._plain.append(plain_bytes)
            self._digests += digests
        self.file_bytes += stored_bytes
        self.plain_bytes += plain_bytes


def read_header(data: bytes, name: str) -> Header:
    """Read a header, from the first to the last byte of ``data``.

    Args:
        data: at most ``HEADER_BYTES_MAX`` bytes.
        name: what messages call it.

    Raises:
        ArchiveError: it is none, it is damaged, or nothing that a delta update can use.
    """
    fields = _Fields(data, name)
    size_bytes, checksum = _read_lead(fields)
    start = fields.at
    if start + size_bytes != len(data):
        raise fields.error(
            f"has {len(data)} bytes, its header says {start + size_bytes}",
            "the artifact is the header alone, which `swagent make` takes from the front of the file",
        )
    found = sha256(MAGIC + data[len(MAGIC) : start - _DIGEST_BYTES])
    found.update(memoryview(data)[start:])
    if found.digest() != checksum:
        raise fields.error("is damaged: the checksum of the header is another")
    fields.take(_DIGEST_BYTES)  # of the body: each chunk has digests of its own
    header = Header(len(data), compressed=_read_preface(fields))
    index_bytes = fields.integer()
    index_end = fields.at + index_bytes
    fields.expect_sha256("chunks")
    _read_chunks(fields, header, fields.integer())
    if fields.at != index_end:
        raise fields.error("is malformed: its index is not as long as it says")
    for _ in range(fields.integer()):
        fields.integer()
        fields.take(fields.integer())
    if fields.at != len(data):
        raise fields.error("is malformed: something follows its last field")
    return header


def header_of(front: bytes, name: str) -> bytes:
    """The header at the front of a zchunk file, looked at as ``read_header`` does.

    Args:
        front: as many bytes of the file as there are, up to ``HEADER_BYTES_MAX``.
        name: what messages call it.

    Raises:
        ArchiveError: as ``read_header``.
    """
    fields = _Fields(front, name)
    size_bytes, _ = _read_lead(fields)
    found = fields.from_start(size_bytes)
    read_header(found, name)
    return found


def _read_lead(fields: "_Fields") -> tuple[int, bytes]:
    """How many bytes follow in the header, and its checksum."""
    if fields.take(len(MAGIC)) not in (MAGIC, _DETACHED):
        raise fields.error("is no header of a zchunk file", _HOW)
    fields.expect_sha256("the whole file")
    return fields.integer(), fields.take(_DIGEST_BYTES)


def _read_preface(fields: "_Fields") -> bool:
    """Flags and compression, which is whether chunks are compressed."""
    flags = fields.integer()
    if flags & ~(_STREAMS | _OPTIONAL | _PLAIN_DIGESTS):
        raise fields.error(f"has flags that nobody knows here ({flags:#x})")
    if not flags & _PLAIN_DIGESTS:
        raise fields.error("has no digests of the plain chunks, so nothing can be found in the source", _HOW)
    if flags & _STREAMS:
        raise fields.error("has several streams, which a delta update cannot install", _HOW)
    compression = fields.integer()
    if compression not in (_NONE, _ZSTD):
        raise fields.error(f"has compression {compression}, which is neither none (0) nor zstd (2)", _HOW)
    if flags & _OPTIONAL:
        for _ in range(fields.integer()):
            fields.integer()
            fields.take(fields.integer())
    return compression == _ZSTD


def _read_chunks(fields: "_Fields", header: Header, count: int) -> None:
    if not 1 <= count <= fields.left // (2 * _DIGEST_BYTES):
        raise fields.error(f"is malformed: its index has no room for {count} chunks")
    for number in range(count):
        digests = fields.take(2 * _DIGEST_BYTES)
        stored_bytes, plain_bytes = fields.integer(), fields.integer()
        if number == 0:
            if stored_bytes or plain_bytes:
                raise fields.error("has a dictionary, which is not supported", "make the file without --dict")
            continue
        if max(stored_bytes, plain_bytes) > CHUNK_BYTES_MAX:
            raise fields.error(f"has a chunk of more than {CHUNK_BYTES_MAX} bytes", _HOW)
        is_plain = not header.compressed or not any(digests[:_DIGEST_BYTES])
        if (is_plain and stored_bytes != plain_bytes) or (plain_bytes and not stored_bytes):
            raise fields.error(
                f"is malformed: chunk {number} of {plain_bytes} bytes is stored in {stored_bytes}"
            )
        header.append(stored_bytes, plain_bytes, digests)
    if header.file_bytes > FILE_BYTES_MAX:
        raise fields.error("is malformed: it describes more bytes than a file can have")


class _Fields:
    """Takes fields off the front."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self.at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, n_bytes: int) -> bytes:
        if n_bytes > self.left:
            raise self.error("is cut short", "fetch or build the image again")
        found = self._data[self.at : self.at + n_bytes]
        self.at += n_bytes
        return found

    def from_start(self, n_bytes: int) -> bytes:
        """All that was taken, and so many bytes more."""
        self.take(n_bytes)
        return self._data[: self.at]

    def integer(self) -> int:
        """Seven bits a byte, the lowest first; the last byte has its highest bit set."""
        number = 0
        for place in range(_INTEGER_BYTES_MAX):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << 7 * place
            if byte & 0x80:
                if number >= 2**63:
                    break
                return number
        raise self.error("is malformed: a number has more than 63 bits")

    def expect_sha256(self, what: str) -> None:
        kind = self.integer()
        if kind != _SHA256:
            known = {_SHA1: "SHA-1", 2: "SHA-512", 3: "SHA-512/128"}.get(kind, f"type {kind}")
            raise self.error(f"has digests of {what} by {known}, not SHA-256", _HOW)

    def error(self, what: str, hint: str = "") -> ArchiveError:
        return ArchiveError(f"{self._name} {what}", artifact=self._name, hint=hint)
