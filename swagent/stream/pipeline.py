"""From stored bytes to a sink: hash, decrypt, decompress, write; with threads where they pay.

A member passes ``stored bytes -> {hash, decrypt -> decompress} -> plain bytes``. ``ArtifactData.readinto`` does so in
the caller's thread. ``ArtifactData.pour`` overlaps the work for anything large: a plain image is read and written by
the caller while a second thread hashes; an encrypted or compressed one is read and decoded by a second thread, hashed
by a third and written by the caller. Buffers are few, aligned and used again: memory does not grow with the image.

Verdicts: the digest of the stored bytes is judged before the last plain bytes are given out, and a decoder's complaint
is only believed when the digest is right (a damaged member is a HashError, whatever the damage made of its contents).

With a signed chunk table every chunk is judged before it is decoded or given out, and the table, which covers each
stored byte, stands for the digest of the whole (docs/adr/0004). A second thread reads and judges chunk n + 1 while
chunk n is decoded and written; what an earlier install left in the target need not be read again.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from swagent.errors import ArchiveError, HashError, SizeError, SwagentError
from swagent.model import Compression, Reader, Sink

from .chunks import ALIGNMENT_BYTES, ChunkReader, ChunkTable, Resume
from .sink import SinkWriter, chunks_there

if TYPE_CHECKING:
    from .ring import Ring

STORED_BYTES = 256 * 1024
"""Size of the pieces that decoders are fed with."""
INLINE_BYTES = 512 * 1024
"""Members up to this size are not worth a thread."""
EXPANSION_MAX = 128
"""How far a member without ``decompressed-size`` may expand where it takes room that was free; zeros reach 1032 with
gzip and far more with others, but nobody ships gigabytes of them into a file that is not there yet."""
EXPANSION_FLOOR_BYTES = 64 * 1024 * 1024
_BYTES_MAX = 2**63 - 1  # of any file


class Digest(Protocol):
    """What ``hashlib`` objects do."""

    def update(self, data: memoryview, /) -> None:
        """Hash further bytes."""
        ...

    def digest(self) -> bytes:
        """The digest so far."""
        ...


class Decoder(Protocol):
    """One step from stored to plain bytes."""

    def push(self, block: memoryview) -> Iterator[Any]:
        """The bytes that a block brings; they are valid until the next call."""
        ...

    def finish(self) -> Any:
        """The last bytes, if any; raises when the input ended too early."""
        ...


class Codec(NamedTuple):
    """How a member's stored bytes become plain ones.

    Attributes:
        name: the member, for messages.
        stored_bytes: its length in the archive; None of what another handler makes, plain, whose length is unknown.
        sha256: expected digest of the stored bytes, None when there is none.
        compression: of the plain bytes.
        decryptor: makes the decoder of an encrypted member, None for plain ones; gets the vector to begin with, b"" for
            the member's own.
        plain_bytes: how many plain bytes there must be, None when the image does not say.
        chunks: judges the stored bytes instead of ``sha256``; it fits the member.
    """

    name: str
    stored_bytes: int | None
    sha256: bytes | None = None
    compression: Compression = Compression.NONE
    decryptor: Callable[[bytes], Decoder] | None = None
    plain_bytes: int | None = None
    chunks: ChunkTable | None = None

    @property
    def is_plain(self) -> bool:
        """Whether stored and plain bytes are the same."""
        return self.decryptor is None and self.compression is Compression.NONE

    def decoders(self, *, first: int = 0, before: bytes = b"") -> list[Decoder]:
        """Fresh decoders, in order.

        Args:
            first: number of the chunk that they begin with.
            before: the end of the stored bytes before that chunk.
        """
        found: list[Decoder] = []
        if self.decryptor is not None:
            found.append(self.decryptor(before[-16:]))
        if self.compression is not Compression.NONE:
            from .decompress import Decompressor

            found.append(Decompressor(self.compression, self.name, inside=first > 0))
        return found


class ArtifactData:
    """What a handler reads its artifact from; a ``model.Data``.

    Args:
        stored: the member's bytes, exactly ``codec.stored_bytes`` of them.
        codec: how they become plain.
        on_bytes: called with the number of plain bytes each time some were handed on; may raise to stop.
        resume: how to go on where an earlier install was cut; None when there was none, or nothing is known of it.
    """

    def __init__(
        self,
        stored: Reader,
        codec: Codec,
        on_bytes: Callable[[int], None] | None = None,
        resume: Resume | None = None,
    ) -> None:
        self._stored = stored
        self._codec = codec
        self._on_bytes = on_bytes or _ignore
        self._resume = resume if codec.chunks is not None and codec.chunks.chunk_bytes else None
        self._hash = _sha256() if codec.sha256 is not None and codec.chunks is None else None
        self._plain_hash: Digest | None = None
        self._plain_bytes = 0
        self._pieces: Iterator[memoryview] | None = None
        self._wants_plain = False
        self._rest = memoryview(b"")
        self._most_why = ""
        self._stored_bytes = _BYTES_MAX if codec.stored_bytes is None else codec.stored_bytes
        if codec.plain_bytes is not None:
            self._most_bytes = codec.plain_bytes
        elif codec.compression is Compression.NONE:
            self._most_bytes = self._stored_bytes
        else:
            self._most_bytes = max(EXPANSION_FLOOR_BYTES, self._stored_bytes * EXPANSION_MAX)
            self._most_why = "if that is right, say how many it has with the property decompressed-size"

    @property
    def size_bytes(self) -> int | None:
        """How many plain bytes there will be, None when the image does not say."""
        return self._codec.stored_bytes if self._codec.is_plain else self._codec.plain_bytes

    @property
    def stored_bytes(self) -> int | None:
        """How many bytes the member has, None when that is not known."""
        return self._codec.stored_bytes

    def want_plain_sha256(self) -> None:
        """Hash the plain bytes too; where they are the stored ones, one digest serves both."""
        if self._one_digest:
            self._hash = self._hash or _sha256()
        else:
            self._plain_hash = _sha256()
        self._wants_plain = True

    @property
    def plain_sha256(self) -> bytes | None:
        """Digest of the plain bytes, once all are read or poured; None when nobody asked for it."""
        if not self._wants_plain:
            return None
        found = self._hash if self._one_digest else self._plain_hash
        return found.digest() if found is not None else None

    @property
    def _one_digest(self) -> bool:
        return self._codec.is_plain and self._codec.chunks is None

    def readinto(self, buffer: memoryview) -> int:
        """Read plain bytes; 0 only at the end, when all verdicts are in."""
        if self._one_digest and self._pieces is None:
            n = self._stored.readinto(buffer)
            if n:
                if self._hash is not None:
                    self._hash.update(buffer[:n])
            else:
                self._judge_digest()
                self._pieces = iter(())
        else:
            if self._pieces is None:
                self._pieces = self._decode_inline()
            while not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    return 0
                self._rest = piece
            n = min(len(buffer), len(self._rest))
            buffer[:n] = self._rest[:n]
            self._rest = self._rest[n:]
            if self._plain_hash is not None:
                self._plain_hash.update(buffer[:n])
        self._on_bytes(n)
        return n

    def pour(self, sink: Sink) -> int:
        """Write everything to ``sink``; returns the number of plain bytes."""
        known = self.size_bytes
        if sink.limit_bytes is not None:
            if known is not None and known > sink.limit_bytes:
                raise SizeError(
                    f"{self._codec.name} has {known} bytes, its destination holds {sink.limit_bytes}",
                    artifact=self._codec.name,
                )
            if self._most_why:
                self._most_bytes = max(self._most_bytes, sink.present_bytes)
            if sink.limit_bytes < self._most_bytes:
                self._most_bytes = sink.limit_bytes
                self._most_why = "its destination holds no more"
        first = self._look_what_is_there(sink) if self._resume is not None else 0
        writer = SinkWriter(sink, self._codec.name, self._plain_bytes)
        if self._codec.chunks is not None:
            self._pour_chunks(writer, self._codec.chunks, first)
        elif self._stored_bytes <= INLINE_BYTES:
            self._pour_inline(writer)
        elif self._codec.is_plain:
            self._pour_plain(writer)
        else:
            self._pour_decoded(writer)
        self._pieces = iter(())
        return writer.done_bytes

    # -- one thread

    def _pour_inline(self, writer: SinkWriter) -> None:
        if not self._codec.is_plain:
            for piece in self._decode_inline():
                writer.write(piece)
                if self._plain_hash is not None:
                    self._plain_hash.update(piece)
                self._on_bytes(len(piece))
            return
        buffer = memoryview(bytearray(max(self._stored_bytes, 1)))
        while n := self.readinto(buffer):
            writer.write(buffer[:n])

    def _decode_inline(self) -> Iterator[memoryview]:
        if self._codec.chunks is not None:
            blocks = ChunkReader(self._stored, self._codec.chunks, self._codec.name).blocks()
            return self._decode(blocks, None, self._codec.decoders())
        buffer = memoryview(bytearray(min(STORED_BYTES, max(self._stored_bytes, 1))))

        def pieces() -> Iterator[memoryview]:
            # filled, so that a decoder sees the same blocks, and says the same of damage, as in `_pour_decoded`
            while n := fill(self._stored, buffer):
                if self._hash is not None:
                    self._hash.update(buffer[:n])
                yield buffer[:n]

        return self._decode(pieces(), self._judge_digest, self._codec.decoders())

    def _decode(
        self, blocks: Iterator[memoryview], judge: Callable[[], None] | None, decoders: list[Decoder]
    ) -> Iterator[memoryview]:
        """Plain pieces of stored blocks. Whatever a decoder says of a damaged member, its digest is judged first.

        Args:
            blocks: stored bytes.
            judge: their digest; None when each block has been judged.
            decoders: none for plain bytes.
        """
        for block in blocks:
            try:
                yield from self._counted(_push(decoders, block))
            except SwagentError:
                if judge is not None:
                    for _ in blocks:
                        pass
                    judge()
                raise
        if judge is not None:
            judge()
        yield from self._counted(_finish(decoders))
        if self._codec.plain_bytes is not None and self._plain_bytes != self._codec.plain_bytes:
            raise SizeError(
                f"{self._codec.name} has {self._plain_bytes} plain bytes, sw-description promises "
                f"{self._codec.plain_bytes}",
                artifact=self._codec.name,
            )

    def _counted(self, pieces: Iterator[Any]) -> Iterator[memoryview]:
        for piece in pieces:
            self._plain_bytes += len(piece)
            self._judge_room(self._plain_bytes)
            yield memoryview(piece)

    def _judge_room(self, n_bytes: int) -> None:
        if n_bytes > self._most_bytes:
            raise SizeError(
                f"{self._codec.name} expands to more than {self._most_bytes} bytes",
                artifact=self._codec.name,
                hint=self._most_why,
            )

    def _judge_digest(self) -> None:
        if self._hash is None or self._codec.sha256 is None:
            return
        found = self._hash.digest()
        if found != self._codec.sha256:
            raise HashError(
                f"{self._codec.name} is not what sw-description promised: sha256 is {found.hex()}, expected "
                f"{self._codec.sha256.hex()}",
                artifact=self._codec.name,
                hint="fetch the image again; if its own checksum is right, ask who built it",
            )

    # -- chunk by chunk

    def _look_what_is_there(self, sink: Sink) -> int:
        """Number of the chunk to begin with; those before it are in the sink, and are counted."""
        table, resume = self._codec.chunks, self._resume
        assert table is not None and resume is not None  # noqa: S101 - asked only then

        def found(chunk: memoryview) -> None:
            self._plain_bytes += len(chunk)
            if self._plain_hash is not None:
                self._plain_hash.update(chunk)
            self._on_bytes(len(chunk))

        first = chunks_there(sink, table, found)
        if first:
            resume.tell(self._plain_bytes)
        return first

    def _pour_chunks(self, writer: SinkWriter, table: ChunkTable, first: int) -> None:
        """A second thread reads and judges; the caller, or a third that decodes, gets only what was right."""
        from .ring import HashThread, Producer, Ring, gathering

        before = self._skip_to(table, first)
        # where nothing is left, there is nothing to decode either
        decoders = self._codec.decoders(first=first, before=before) if first < len(table) else []
        chunks = ChunkReader(self._stored, table, self._codec.name, first)
        stored = _ring_of(table.largest_bytes)
        hashing = HashThread(self._plain_hash)
        producers = [Producer(chunks.fill, stored, None if decoders else hashing)]
        try:
            blocks = _sliced(producers[0]) if decoders else iter(producers[0])
            pieces = self._decode(blocks, None, decoders)
            if decoders:
                producers.append(Producer(gathering(pieces), Ring(slots=8, slot_bytes=1024 * 1024), hashing))
                pieces = iter(producers[1])
            for piece in pieces:
                writer.write(piece)
                self._on_bytes(len(piece))
        finally:
            for producer in producers:
                producer.stop()
            hashing.join()

    def _skip_to(self, table: ChunkTable, first: int) -> bytes:
        """Leave out the chunks before ``first``; the last of them, which decrypting begins with, is read and judged."""
        if first == 0 or self._resume is None:
            return b""
        if self._codec.decryptor is None or first == len(table):
            self._resume.skip(table.stored_before(first))
            return b""
        self._resume.skip(table.stored_before(first - 1))
        last = memoryview(bytearray(table[first - 1].stored_bytes))
        ChunkReader(self._stored, table, self._codec.name, first - 1).fill(last)
        return bytes(last[-16:])

    # -- several threads

    def _pour_plain(self, writer: SinkWriter) -> None:
        """The caller reads and writes, a second thread hashes."""
        from .ring import HashThread, Ring

        hashing = HashThread(self._hash)
        try:
            ring = Ring(slots=8, slot_bytes=1024 * 1024)
            while True:
                slot = ring.take()
                n = fill(self._stored, slot.view)
                if n == 0:
                    break
                hashing.put(slot, n, ring)
                self._judge_room(writer.done_bytes + n)
                writer.write(slot.view[:n])
                ring.release(slot)
                self._on_bytes(n)
        finally:
            hashing.join()
        self._judge_digest()

    def _pour_decoded(self, writer: SinkWriter) -> None:
        """A second thread reads and decodes, a third hashes, the caller writes."""
        from .ring import HashThread, Producer, Ring, gathering

        hashing = HashThread(self._hash)
        stored = Ring(slots=6, slot_bytes=STORED_BYTES)
        plain = Ring(slots=8, slot_bytes=1024 * 1024)

        def blocks() -> Iterator[memoryview]:
            while True:
                slot = stored.take()
                n = fill(self._stored, slot.view)
                if n == 0:
                    return
                hashing.put(slot, n, stored)
                yield slot.view[:n]
                stored.release(slot)

        def judge() -> None:
            hashing.join()
            self._judge_digest()

        hashing_plain = HashThread(self._plain_hash)
        pieces = self._decode(blocks(), judge, self._codec.decoders())
        producer = Producer(gathering(pieces), plain, hashing_plain)
        try:
            for view in producer:
                writer.write(view)
                self._on_bytes(len(view))
        finally:
            stored.stop()
            producer.stop()
            hashing.join()
            hashing_plain.join()


def _push(decoders: list[Decoder], block: memoryview) -> Iterator[Any]:
    if not decoders:
        yield block
        return
    if len(decoders) == 1:
        yield from decoders[0].push(block)
        return
    for piece in decoders[0].push(block):
        if len(piece):
            yield from _push(decoders[1:], memoryview(piece))


def _finish(decoders: list[Decoder]) -> Iterator[Any]:
    if not decoders:
        return
    last = decoders[0].finish()
    if len(decoders) == 1:
        if last:
            yield last
        return
    if last:
        yield from _push(decoders[1:], memoryview(last))
    yield from _finish(decoders[1:])


def fill(reader: Reader, view: memoryview) -> int:
    """Fill ``view`` as far as the reader has bytes; returns how many."""
    done = 0
    while done < len(view):
        n = reader.readinto(view[done:] if done else view)
        if n == 0:
            break
        done += n
    return done


def _sliced(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    """Chunks in pieces of a size that decoders like."""
    for chunk in chunks:
        for at in range(0, len(chunk), STORED_BYTES):
            yield chunk[at : at + STORED_BYTES]


def _ring_of(largest_bytes: int) -> "Ring":
    """Buffers for whole chunks: some eight megabytes, whatever their length."""
    from .ring import Ring

    slot_bytes = max(largest_bytes + -largest_bytes % ALIGNMENT_BYTES, ALIGNMENT_BYTES)
    return Ring(slots=max(3, min(8, 8 * 1024 * 1024 // slot_bytes)), slot_bytes=slot_bytes)


def _sha256() -> Digest:
    from hashlib import sha256

    return sha256()


def _ignore(n_bytes: int) -> None:
    pass


def drain(data: ArtifactData) -> int:
    """Read to the end for the verdicts' sake; returns the number of plain bytes."""
    buffer = memoryview(bytearray(1024 * 1024))
    total = 0
    while n := data.readinto(buffer):
        total += n
    return total


__all__ = ["ArchiveError", "ArtifactData", "Codec", "Decoder", "drain"]
