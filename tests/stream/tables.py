"""Members with chunk tables, as ``swagent make`` would make them, with small chunks."""

from collections.abc import Callable
from hashlib import sha256
from itertools import accumulate, pairwise

from swagent.model import Compression
from swagent.stream.chunks import Chunk, pack
from swagent.swu.compress import ChunkedCompressor, Compressor

CHUNK = 4096


def chunked(
    plain: bytes, compression: Compression, encrypt: Callable[[bytes], bytes] | None
) -> tuple[bytes, bytes]:
    """A member as it is stored, and its table."""
    wholes = [plain[at : at + CHUNK] for at in range(0, max(len(plain), 1), CHUNK)]
    stored, lengths = plain, [len(whole) for whole in wholes]
    if compression is Compression.XZ:
        engine = Compressor(compression, len(plain))
        stored = engine.push(memoryview(plain)) + engine.finish()
        lengths = [len(stored[at : at + CHUNK]) for at in range(0, len(stored), CHUNK)]
    elif compression is not Compression.NONE:
        packer = ChunkedCompressor(compression, len(plain), 16 if encrypt else 1)
        stored = b"".join(packer.push(memoryview(whole)) for whole in wholes if whole) + packer.finish()
        lengths = packer.lengths
    ends = list(accumulate(lengths))
    if encrypt:
        stored = encrypt(stored)
        ends[-1] = len(stored)
    points = compression is not Compression.XZ
    if not points:
        wholes = [b""] * len(ends)
    chunks = (
        Chunk(end - start, sha256(stored[start:end]).digest(), sha256(whole).digest())
        for (start, end), whole in zip(pairwise([0, *ends]), wholes, strict=True)
        if end > start
    )
    return stored, pack(chunks, chunk_bytes=CHUNK if points else 0, plain_bytes=len(plain))
