"""Finds the chunks of a new image in an old one (docs/adr/0006-delta-updates.md).

Most chunks lie where the one before them says: at the same distance from their place in the new image. Only where
several in a row do not, the old image is cut as zchunk cuts, until a chunk is known again and says where to go on. So
what did not change costs its digest, and the slow search runs over what did.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from hashlib import sha256

from .basefile import BaseFile
from .buzhash import CHUNK_MAX_BYTES, chunk_bytes
from .zchunk import Header

MISSES_MAX = 4
"""So many chunks in a row are not where they should be before they are searched for."""
SEARCH_BYTES_MAX = 64 * 1024 * 1024
"""How far one search goes without finding anything: some seconds."""
NOWHERE = -1


class ChunkFinder:
    """Where in a source each chunk of a header lies.

    Args:
        header: of the new image.
        source: the old one.
        size_bytes: how much of it may be looked at.
        checkpoint: called now and then; may raise to stop.
    """

    def __init__(
        self, header: Header, source: BaseFile, size_bytes: int, checkpoint: Callable[[], None]
    ) -> None:
        self._header = header
        self._source = source
        self._size_bytes = size_bytes
        self._checkpoint = checkpoint
        self._buffer = memoryview(bytearray(CHUNK_MAX_BYTES))
        self._first: dict[bytes, int] = {}  # of chunks that are alike, one stands for all
        for index in range(len(header)):
            self._first.setdefault(header.plain_sha256(index), index)
        self._missing = len(self._first)
        self._places = array("q", [NOWHERE]) * len(header)

    @property
    def places(self) -> "array[int]":
        """Of each chunk its position in the source, or ``NOWHERE``, as far as ``find`` came."""
        return array(
            "q",
            (
                self._places[self._first[self._header.plain_sha256(index)]]
                for index in range(len(self._header))
            ),
        )

    def find(self) -> None:
        """Look for all of them.

        Raises:
            DeviceError, SizeError: the source cannot be read on.
        """
        header = self._header
        index = shift = end = misses = 0
        while self._missing:
            self._checkpoint()
            if misses < MISSES_MAX and index < len(header):
                offset, n_bytes = header.plain_span(index)
                if self._is_at(index, offset + shift, n_bytes):
                    misses, end = 0, offset + shift + n_bytes
                else:
                    misses += 1
                index += 1
                continue
            found, end = self._search(end)
            misses = 0
            if found != NOWHERE:
                offset, n_bytes = header.plain_span(found)
                index, shift, end = found + 1, end - offset, end + n_bytes
            elif end >= self._size_bytes:
                return
            else:
                index = bisect_left(range(len(header)), end - shift, key=lambda i: header.plain_span(i)[0])
                if index == len(header):
                    return

    def _is_at(self, index: int, place: int, n_bytes: int) -> bool:
        if place < 0 or place + n_bytes > self._size_bytes:
            return False
        digest = sha256()
        at, end = place, place + n_bytes
        while at < end:
            n = self._source.read_at(at, self._buffer[: end - at])
            digest.update(self._buffer[:n])
            at += n
        found = digest.digest()
        if found != self._header.plain_sha256(index):
            return False
        self._note(found, place)
        return True

    def _search(self, at: int) -> tuple[int, int]:
        """Cut the source from ``at`` on until a missing chunk turns up: it and its place, or where the search ended."""
        end = min(self._size_bytes, at + SEARCH_BYTES_MAX)
        while at < end:
            self._checkpoint()
            data = self._source.read(at, min(CHUNK_MAX_BYTES, self._size_bytes - at))
            n_bytes = chunk_bytes(data)
            found = self._note(sha256(memoryview(data)[:n_bytes]).digest(), at)
            if found != NOWHERE:
                return found, at
            at += n_bytes
        return NOWHERE, at

    def _note(self, digest: bytes, place: int) -> int:
        """Note where a chunk lies; which one it is, if it was missing."""
        index = self._first.get(digest, NOWHERE)
        if index == NOWHERE or self._places[index] != NOWHERE:
            return NOWHERE
        self._places[index] = place
        self._missing -= 1
        return index
