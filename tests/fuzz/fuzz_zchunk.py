"""Any bytes as a zchunk header: chunks that fit together, or an error; as they are, and with the checksum put right."""

from hashlib import sha256

from swagent.errors import ArchiveError
from swagent.handlers.zchunk import Header, read_header
from tests.handlers.zckfile import zck_header

_LEAD_BYTES = 6  # magic and kind of checksum


def one_input(data: bytes) -> None:
    """Read it twice."""
    for candidate in (data, repaired(data)):
        try:
            header = read_header(candidate, "fuzz")
        except ArchiveError:
            continue
        judge(header, len(candidate))


def judge(header: Header, size_bytes: int) -> None:
    at, plain = size_bytes, 0
    for index in range(len(header)):
        chunk = header[index]
        assert chunk.offset >= at
        assert header.plain_span(index) == (plain, chunk.plain_bytes)
        assert chunk.plain_bytes > 0
        assert len(chunk.stored_sha256) == len(chunk.plain_sha256) == 32
        at, plain = chunk.offset + chunk.stored_bytes, plain + chunk.plain_bytes
    assert (at <= header.file_bytes) and plain == header.plain_bytes
    assert len(header) * 64 <= size_bytes


def repaired(data: bytes) -> bytes:
    """With the size of the header and its checksum as they must be."""
    at = _LEAD_BYTES
    while at < len(data) and not data[at] & 0x80:
        at += 1
    start = at + 1 + 32
    if start > len(data):
        return data
    rest = data[start:]
    size = bytearray()
    number = len(rest)
    while number > 0x7F:
        size.append(number & 0x7F)
        number >>= 7
    size.append(number | 0x80)
    lead = data[:_LEAD_BYTES] + bytes(size)
    return lead + sha256(b"\0ZCK1" + lead[5:] + rest).digest() + rest


def seeds() -> list[bytes]:
    """Headers of every kind that is read, and of some that are refused."""
    chunks = [(b"one" * 3000, b"stored"), (b"two" * 3000, b"otherwise")]
    return [
        zck_header(chunks),
        zck_header([]),
        zck_header(chunks, magic=b"\0ZHR1"),
        zck_header(chunks, flags=4 | 2, optional=b"\x81\x85\x83abc"),
        zck_header(chunks, signatures=b"\x81\x80\x84sign"),
        zck_header([(data, data) for data, _ in chunks], compression=0),
        zck_header(chunks, flags=0),
        zck_header(chunks, dictionary=(10, 20)),
        zck_header(chunks, chunk_kind=3),
    ]
