"""Android's sparse images: blocks that are there, blocks that are all the same, and holes."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from swagent.errors import FormatError

BLOCK_BYTES = 4096
MAGIC = 0xED26FF3A
_HEADER, _CHUNK = struct.Struct("<IHHHHIIII"), struct.Struct("<HHII")
_RAW, _FILL, _HOLE, _CRC = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4
_PIECE_BYTES = 1 << 20
_BLOCK_BYTES_MAX = 1 << 20


def sparse_of(start_block: int, data: bytes) -> bytes:
    """A sparse image with data behind a hole; a last block that is not full is filled with zeroes."""
    blocks = -(-len(data) // BLOCK_BYTES)
    head = [(_HOLE, start_block, 0)] if start_block else []
    chunks = [*head, (_RAW, blocks, blocks * BLOCK_BYTES)]
    made = [
        _HEADER.pack(
            MAGIC, 1, 0, _HEADER.size, _CHUNK.size, BLOCK_BYTES, start_block + blocks, len(chunks), 0
        )
    ]
    made += [_CHUNK.pack(kind, 0, count, _CHUNK.size + n_bytes) for kind, count, n_bytes in chunks]
    return b"".join((*made, data, bytes(blocks * BLOCK_BYTES - len(data))))


def read_sparse(file: BinaryIO) -> tuple[int, Iterator[tuple[int, bytes]]]:
    """The size of what a sparse image makes, and its pieces: where each goes, at most 1 MiB each.

    Raises:
        FormatError: it is none; while reading, that it is damaged.
    """
    head = _exactly(file, _HEADER.size)
    magic, major, _, head_bytes, chunk_bytes, block_bytes, blocks, chunks, _ = _HEADER.unpack(head)
    if magic != MAGIC or major != 1:
        raise FormatError("this is no sparse image of Android's version 1")
    if head_bytes < _HEADER.size or chunk_bytes < _CHUNK.size:
        raise FormatError("the sparse image has headers that are too small")
    if not 0 < block_bytes <= _BLOCK_BYTES_MAX or block_bytes % 4:
        raise FormatError(f"the sparse image has blocks of {block_bytes} bytes")
    _exactly(file, head_bytes - _HEADER.size)
    return blocks * block_bytes, _pieces(file, chunks, chunk_bytes, block_bytes, blocks)


def _pieces(
    file: BinaryIO, chunks: int, chunk_bytes: int, block_bytes: int, blocks: int
) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(chunks):
        kind, _, count, total = _CHUNK.unpack(_exactly(file, _CHUNK.size))
        _exactly(file, chunk_bytes - _CHUNK.size)
        inside, size, start = total - chunk_bytes, count * block_bytes, at * block_bytes
        if kind == _CRC:
            if inside != 4:
                raise FormatError("a checksum of the sparse image has not 4 bytes")
            _exactly(file, 4)
            continue
        at += count
        if at > blocks:
            raise FormatError("the sparse image has more blocks than it says")
        if kind == _RAW and inside == size:
            for done in range(0, size, _PIECE_BYTES):
                yield start + done, _exactly(file, min(_PIECE_BYTES, size - done))
        elif kind == _FILL and inside == 4:
            piece = _exactly(file, 4) * (_PIECE_BYTES // 4)
            for done in range(0, size, _PIECE_BYTES):
                yield start + done, piece[: min(_PIECE_BYTES, size - done)]
        elif kind != _HOLE or inside:
            raise FormatError(f"a chunk of the sparse image is of kind {kind:#x} with {inside} bytes")
    if at != blocks:
        raise FormatError("the sparse image has fewer blocks than it says")


def _exactly(file: BinaryIO, n_bytes: int) -> bytes:
    found = file.read(n_bytes) if n_bytes else b""
    while len(found) < n_bytes:
        more = file.read(n_bytes - len(found))
        if not more:
            raise FormatError("the sparse image ends too early")
        found += more
    return found
