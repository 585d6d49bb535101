"""zchunk files: by the real ``zck``, and headers byte by byte for what it would not make."""

from hashlib import sha256
from pathlib import Path

from tests.programs import must, need, run


def zck(folder: Path, data: bytes, *words: str) -> tuple[bytes, bytes]:
    """What ``zck`` makes of an image: the header, and the whole file."""
    need("zck", "zck_read_header")
    (folder / "zck-image").write_bytes(data)
    must(["zck", *(words or ("-u", "-h", "sha256")), "-o", "zck-file", "zck-image"], cwd=folder)
    told = run(["zck_read_header", "zck-file"], cwd=folder).text
    header_bytes = next(int(line.split()[-1]) for line in told.splitlines() if line.startswith("Header size"))
    whole = (folder / "zck-file").read_bytes()
    return whole[:header_bytes], whole


def integer(number: int) -> bytes:
    """zchunk's compressed integer."""
    whole = bytearray()
    while number > 0x7F:
        whole.append(number & 0x7F)
        number >>= 7
    return bytes(whole) + bytes([number | 0x80])


def zck_header(
    chunks: list[tuple[bytes, bytes]],
    *,
    magic: bytes = b"\0ZCK1",
    kind: int = 1,
    flags: int = 4,
    compression: int = 2,
    chunk_kind: int = 1,
    dictionary: tuple[int, int] = (0, 0),
    optional: bytes = b"",
    signatures: bytes = b"\x80",
    count: int | None = None,
    index_bytes: int | None = None,
    sizes: tuple[int, int] | None = None,
    behind: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """A header whose every field can be bent.

    Args:
        chunks: plain and stored bytes of each.
        magic: first bytes.
        kind: of the checksum over the header.
        flags: bit 2 for digests of the plain bytes.
        compression: 0 for none, 2 for zstd.
        chunk_kind: of the chunks' digests.
        dictionary: its stored and plain size.
        optional: elements for flag 1, with their count.
        signatures: with their count.
        count: of the chunks, None for the truth.
        index_bytes: None for the truth.
        sizes: stored and plain size that every chunk claims to have.
        behind: what follows the last field, within the header.
        checksum: None for the right one.
    """
    entries = bytes(64) + integer(dictionary[0]) + integer(dictionary[1])
    for plain, stored in chunks:
        stored_bytes, plain_bytes = sizes or (len(stored), len(plain))
        entries += (
            sha256(stored).digest() + sha256(plain).digest() + integer(stored_bytes) + integer(plain_bytes)
        )
    index = integer(chunk_kind) + integer(len(chunks) + 1 if count is None else count) + entries
    rest = bytes(32) + integer(flags) + integer(compression) + optional
    rest += integer(len(index) if index_bytes is None else index_bytes) + index + signatures + behind
    lead = integer(kind) + integer(len(rest))
    found = sha256(b"\0ZCK1" + lead + rest).digest() if checksum is None else checksum
    return magic + lead + found + rest
