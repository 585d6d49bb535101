"""Chunk tables: nothing is given out or written before it was judged, and an install goes on where one was cut."""

import os
import struct
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, HashError, SizeError, SwagentError
from swagent.model import Compression, Sink
from swagent.stream import ArtifactData, Codec
from swagent.stream.chunks import Chunk, ChunkTable, Resume, pack
from swagent.stream.decrypt import Decryptor
from tests.faults.images import AES_IV, AES_KEY, encrypted, half_noise

from . import tables
from .sources import BytesReader
from .tables import CHUNK

PLAIN = half_noise(10 * CHUNK + 1000, 3)
WAYS = [
    (compression, cipher)
    for compression in (Compression.NONE, Compression.ZLIB, Compression.ZSTD)
    for cipher in (False, True)
]


def chunked(plain: bytes, compression: Compression, *, cipher: bool) -> tuple[bytes, ChunkTable]:
    stored, raw = tables.chunked(plain, compression, encrypted if cipher else None)
    return stored, ChunkTable(raw, "m.chunks")


def codec_of(stored: bytes, table: ChunkTable, compression: Compression, *, cipher: bool) -> Codec:
    return Codec(
        "m",
        len(stored),
        bytes(32),  # the table stands for it
        compression,
        (lambda vector: Decryptor(AES_KEY, vector or AES_IV)) if cipher else None,
        table.plain_bytes,
        table,
    )


class Source(BytesReader):
    """Counts what is read."""

    read_bytes = 0

    def readinto(self, buffer: memoryview) -> int:
        n = super().readinto(buffer)
        self.read_bytes += n
        return n

    def skip(self, n_bytes: int) -> None:
        self._data = self._data[n_bytes:]


def pour(
    path: Path, stored: bytes, codec: Codec, *, resume: bool = False, offset: int = 0
) -> tuple[Source, list[int], ArtifactData]:
    """Pour into a file; what was read, what was said to be there already."""
    told: list[int] = []
    source = Source(stored, 1000)
    data = ArtifactData(source, codec, None, Resume(source.skip, told.append) if resume else None)
    data.want_plain_sha256()
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        data.pour(Sink(fd, offset_bytes=offset))
    finally:
        os.close(fd)
    return source, told, data


@pytest.mark.parametrize(("compression", "cipher"), [*WAYS, (Compression.XZ, False)])
@pytest.mark.parametrize("plain", [b"", b"x", PLAIN[:CHUNK], PLAIN], ids=len)
def test_whole(tmp_path: Path, compression: Compression, cipher: bool, plain: bytes) -> None:
    stored, table = chunked(plain, compression, cipher=cipher)
    codec = codec_of(stored, table, compression, cipher=cipher)
    _, _, data = pour(tmp_path / "target", stored, codec)
    assert (tmp_path / "target").read_bytes() == plain
    assert data.plain_sha256 == sha256(plain).digest()
    reader = ArtifactData(BytesReader(stored), codec)
    buffer = memoryview(bytearray(700))
    found = b""
    while n := reader.readinto(buffer):
        found += buffer[:n]
    assert found == plain


@pytest.mark.parametrize(("compression", "cipher"), WAYS)
@pytest.mark.parametrize("there", [0, 1, 5, 10, 11])
@pytest.mark.parametrize("offset", [0, 512])
def test_goes_on(tmp_path: Path, compression: Compression, cipher: bool, there: int, offset: int) -> None:
    stored, table = chunked(PLAIN, compression, cipher=cipher)
    codec = codec_of(stored, table, compression, cipher=cipher)
    kept = min(there * CHUNK, len(PLAIN))
    target = tmp_path / "target"
    target.write_bytes(bytes(offset) + PLAIN[:kept] + b"torn")
    source, told, data = pour(target, stored, codec, resume=True, offset=offset)
    assert target.read_bytes()[offset : offset + len(PLAIN)] == PLAIN
    assert data.plain_sha256 == sha256(PLAIN).digest()
    assert told == ([kept] if there else [])
    left = len(stored) - table.stored_before(there)
    once_more = table[there - 1].stored_bytes if cipher and 0 < there < len(table) else 0
    assert source.read_bytes == left + once_more


@pytest.mark.parametrize(("compression", "cipher"), [*WAYS, (Compression.XZ, False)])
def test_what_is_wrong_is_not_written(tmp_path: Path, compression: Compression, cipher: bool) -> None:
    stored, table = chunked(PLAIN, compression, cipher=cipher)
    codec = codec_of(stored, table, compression, cipher=cipher)
    number = len(table) // 2
    at = table.stored_before(number)
    damaged = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
    target = tmp_path / "target"
    with pytest.raises(HashError, match=f"chunk {number} of {len(table)}"):
        pour(target, damaged, codec)
    written = target.read_bytes()
    assert written == PLAIN[: len(written)]
    assert len(written) <= number * CHUNK or compression is Compression.XZ


def test_a_forged_vector_is_seen(tmp_path: Path) -> None:
    """The block before the first chunk that is read again decides what it decrypts to; so it is judged too."""
    stored, table = chunked(PLAIN, Compression.NONE, cipher=True)
    target = tmp_path / "target"
    target.write_bytes(PLAIN[: 5 * CHUNK])
    at = 5 * CHUNK - 3
    damaged = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
    with pytest.raises(HashError, match="chunk 4 of"):
        pour(target, damaged, codec_of(stored, table, Compression.NONE, cipher=True), resume=True)
    assert target.read_bytes() == PLAIN[: 5 * CHUNK]


def test_xz_starts_over(tmp_path: Path) -> None:
    stored, table = chunked(PLAIN, Compression.XZ, cipher=False)
    target = tmp_path / "target"
    target.write_bytes(PLAIN)
    codec = codec_of(stored, table, Compression.XZ, cipher=False)
    source, told, _ = pour(target, stored, codec, resume=True)
    assert (source.read_bytes, told) == (len(stored), [])


def test_a_pipe_cannot_be_looked_at() -> None:
    stored, table = chunked(PLAIN[:CHUNK], Compression.NONE, cipher=False)
    source = Source(stored)
    codec = codec_of(stored, table, Compression.NONE, cipher=False)
    data = ArtifactData(source, codec, None, Resume(source.skip, lambda n: None))
    reading, writing = os.pipe()
    assert data.pour(Sink(writing, seekable=False)) == CHUNK
    assert os.read(reading, 2 * CHUNK) == PLAIN[:CHUNK]
    os.close(reading)
    os.close(writing)


RAW = pack(iter([Chunk(5, bytes(32), bytes(32))]), chunk_bytes=CHUNK, plain_bytes=7)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no chunk table"),
        (b"?" + RAW[1:], "no chunk table"),
        (RAW[:8] + struct.pack(">I", 2) + RAW[12:], "version is 2"),
        (RAW[:12] + struct.pack(">I", 1000) + RAW[16:], "chunks of 1000 bytes"),
        (RAW[:12] + struct.pack(">I", 8 << 20) + RAW[16:], "chunks of 8388608 bytes"),
        (RAW[:-1], "middle of a row"),
        (RAW + RAW[-68:], "2 chunks for 7 bytes"),
        (RAW[:16] + struct.pack(">Q", 2**63) + RAW[24:], "1 chunks for"),
        (RAW[:24] + struct.pack(">Q", 6) + RAW[32:], "lengths of its chunks"),
        (RAW[:24] + struct.pack(">QI", 0, 0) + RAW[36:], "1 chunks for 7|lengths"),
        (RAW[:24] + struct.pack(">QI", 9 << 20, 9 << 20) + RAW[36:], "lengths"),
    ],
)
def test_tables_that_make_no_sense(raw: bytes, why: str) -> None:
    with pytest.raises(ArchiveError, match=why):
        ChunkTable(raw, "m.chunks")


def test_a_table_for_something_else() -> None:
    table = ChunkTable(RAW, "m.chunks")
    table.judge_fit(5, None, "m")
    table.judge_fit(5, 7, "m")
    for sizes in ((4, 7), (5, 8)):
        with pytest.raises(SizeError, match=r"m\.chunks is for"):
            table.judge_fit(*sizes, "m")


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, len(RAW)))
def test_any_bytes(tail: bytes, keep: int) -> None:
    try:
        table = ChunkTable(RAW[:keep] + tail, "m.chunks")
    except SwagentError:
        return
    assert sum(table[n].stored_bytes for n in range(len(table))) == table.stored_bytes
