"""The new image of a delta update, put together: chunks from the source, the others from the server."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from swagent.errors import DeviceError, HashError, SizeError
from swagent.model import Compression
from swagent.stream.decompress import Decompressor

from .api import Parts
from .basefile import BaseFile
from .chunkfinder import NOWHERE
from .zchunk import Chunk, Header

BATCH_BYTES = 2 * 1024 * 1024
"""What is fetched at once and kept in memory; a larger chunk comes alone."""


class RebuiltReader:
    """A ``model.Reader``: every chunk is checked against its digest before a byte of it is given out.

    Args:
        header: what the image consists of.
        source: the old image, None when there is none.
        places: where in it each chunk lies.
        parts: the file on the server.
        parts_max: how many parts to fetch at once.
        log: hears of chunks that are no longer where they were.
        name: what messages call the artifact.
    """

    def __init__(
        self,
        header: Header,
        source: BaseFile | None,
        places: Sequence[int],
        parts: Parts,
        parts_max: int,
        log: Callable[[str, str], None],
        name: str,
    ) -> None:
        self._header = header
        self._source = source
        self._places = places
        self._parts = parts
        self._parts_max = parts_max
        self._log = log
        self._name = name
        self._next = 0
        self._rest = memoryview(b"")
        self._fetched: dict[int, memoryview] = {}

    def fetch_ahead(self) -> None:
        """Fetch the first of what must be fetched, to notice before anything is written that the server cannot do it.

        Raises:
            TransportError, DeadlineError: it does not give it.
        """
        for index, place in enumerate(self._places):
            if place == NOWHERE:
                self._fetch(index)
                return

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` unless the image ends first.

        Raises:
            TransportError, DeadlineError: the server does not give a chunk.
            HashError, SizeError, ArchiveError: what it gives is not that chunk.
        """
        done = 0
        while done < len(buffer):
            if not self._rest:
                if self._next == len(self._header):
                    break
                self._rest = memoryview(self._plain(self._next))
                self._next += 1
            n = min(len(buffer) - done, len(self._rest))
            buffer[done : done + n] = self._rest[:n]
            self._rest = self._rest[n:]
            done += n
        return done

    def _plain(self, index: int) -> bytes:
        chunk = self._header[index]
        place = self._places[index]
        if self._source is not None and place != NOWHERE:
            try:
                data = self._source.read(place, chunk.plain_bytes)
                why = (
                    ""
                    if sha256(data).digest() == chunk.plain_sha256
                    else f"{self._source.path} changed meanwhile"
                )
            except (DeviceError, SizeError) as exc:
                why = exc.message
            if not why:
                return data
            self._log("warn", f"{self._name}: {why}; chunk {index} is downloaded")
        if index not in self._fetched:
            self._fetch(index)
        return self._unpacked(chunk, self._fetched.pop(index))

    def _fetch(self, index: int) -> None:
        """Fetch a chunk and the next ones that are nowhere else; neighbours in one part."""
        spans: list[tuple[int, int]] = []
        chunks: list[tuple[int, Chunk]] = []
        n_bytes = 0
        for following in range(index, len(self._header)):
            if following != index and self._places[following] != NOWHERE:
                continue
            chunk = self._header[following]
            last = chunk.offset + chunk.stored_bytes - 1
            joins = bool(spans) and spans[-1][1] + 1 == chunk.offset
            n_bytes += chunk.stored_bytes
            if spans and (n_bytes > BATCH_BYTES or (not joins and len(spans) == self._parts_max)):
                break
            if joins:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((chunk.offset, last))
            chunks.append((following, chunk))
        waiting = iter(zip(spans, self._parts.fetch(spans), strict=True))
        span, data = next(waiting)
        for following, chunk in chunks:
            if chunk.offset > span[1]:
                span, data = next(waiting)
            at = chunk.offset - span[0]
            self._fetched[following] = memoryview(data)[at : at + chunk.stored_bytes]

    def _unpacked(self, chunk: Chunk, stored: memoryview) -> bytes:
        is_plain = not self._header.compressed
        if any(chunk.stored_sha256):
            self._judge(stored, chunk.stored_sha256, chunk)
        else:
            is_plain = True
        plain = bytes(stored) if is_plain else self._decompressed(chunk, stored)
        self._judge(plain, chunk.plain_sha256, chunk)
        return plain

    def _decompressed(self, chunk: Chunk, stored: memoryview) -> bytes:
        decoder = Decompressor(Compression.ZSTD, self._name)
        plain = bytearray()
        for piece in decoder.push(stored):
            plain += piece
            if len(plain) > chunk.plain_bytes:
                raise SizeError(f"{self._name}: a chunk has more than its {chunk.plain_bytes} bytes")
        decoder.finish()
        return bytes(plain)

    def _judge(self, data: Any, sha256_wanted: bytes, chunk: Chunk) -> None:
        if sha256(data).digest() != sha256_wanted:
            raise HashError(
                f"{self._parts.name}: the {chunk.stored_bytes} bytes from {chunk.offset} on are not those that "
                f"{self._name} names",
                hint="is it the file that the header was taken from?",
            )
