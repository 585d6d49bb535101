"""Chunk tables."""

from contextlib import suppress

from swagent.errors import SwagentError
from swagent.stream.chunks import Chunk, ChunkReader, ChunkTable, pack
from tests.stream.sources import BytesReader


def one_input(data: bytes) -> None:
    """What is read as a table makes sense, and can be written again."""
    try:
        table = ChunkTable(data, "chunks")
    except SwagentError:
        return
    chunks = [table[number] for number in range(len(table))]
    assert sum(chunk.stored_bytes for chunk in chunks) == table.stored_bytes
    assert table.stored_before(len(table)) == table.stored_bytes
    assert pack(iter(chunks), chunk_bytes=table.chunk_bytes, plain_bytes=table.plain_bytes) == data
    if table.chunk_bytes and chunks:
        lengths = [table.plain_length(number) for number in range(len(table))]
        assert sum(lengths) == table.plain_bytes
    with suppress(SwagentError):
        list(ChunkReader(BytesReader(data), table, "member").blocks())


def seeds() -> list[bytes]:
    """Tables of both kinds."""
    digest = bytes(range(32))
    rows = [Chunk(4096, digest, digest), Chunk(4096, digest, digest), Chunk(100, digest, digest)]
    return [
        pack(iter(rows), chunk_bytes=4096, plain_bytes=8292),
        pack(iter(rows), chunk_bytes=0, plain_bytes=90_000),
        pack(iter(()), chunk_bytes=4096, plain_bytes=0),
        pack(iter(rows[:1]), chunk_bytes=1 << 20, plain_bytes=0),
    ]
