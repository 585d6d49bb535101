"""Stages that judge bytes as they pass: length and cpio sum. (The digest is the pipeline's: it has a thread for it.)"""

from zlib import adler32

from swagent.errors import ArchiveError
from swagent.model import Reader

from .source import FileSource, Source

_PIECE_BYTES = 256


def byte_sum(data: memoryview) -> int:
    """Sum of all bytes.

    The low half of Adler-32 is one more than the sum modulo 65521, and 256 bytes cannot reach that; no other means of
    the standard library comes near its speed.
    """
    return sum((adler32(data[i : i + _PIECE_BYTES]) & 0xFFFF) - 1 for i in range(0, len(data), _PIECE_BYTES))


class Span:
    """A stretch of a source: exactly ``size_bytes`` from ``offset`` on.

    Spans of a file are independent of each other; a span of a stream must be read before the source moves on.
    """

    def __init__(self, source: Source, offset: int, size_bytes: int, name: str) -> None:
        self._source = source
        self._file = source if isinstance(source, FileSource) else None
        self._offset = offset
        self._left_bytes = size_bytes
        self._name = name

    def readinto(self, buffer: memoryview) -> int:
        """Read on, at most to the end of the span.

        Raises:
            ArchiveError: the source ends before the span does.
        """
        wanted = min(len(buffer), self._left_bytes)
        if wanted == 0:
            return 0
        if wanted < len(buffer):
            buffer = buffer[:wanted]
        if self._file is not None:
            n = self._file.read_at(self._offset, buffer)
        else:
            if self._source.seekable:
                self._source.seek(self._offset)
            n = self._source.readinto(buffer)
        if n < wanted:
            raise ArchiveError(
                f"{self._source.name} ends {self._left_bytes - n} bytes before the end of {self._name}",
                artifact=self._name,
                hint="the file was cut short; fetch it again",
            )
        self._offset += n
        self._left_bytes -= n
        return n

    def skip(self, n_bytes: int) -> None:
        """Pass over bytes: nothing is read for them in a file; a stream may have to.

        Raises:
            ArchiveError: the stream ends before.
        """
        n_bytes = min(n_bytes, self._left_bytes)
        self._offset += n_bytes
        self._left_bytes -= n_bytes
        if self._file is None:
            self._source.seek(self._offset)


class SumReader:
    """Checks the sum that a ``070702`` header promises."""

    def __init__(self, upstream: Reader, expected_sum: int, name: str) -> None:
        self._upstream = upstream
        self._expected_sum = expected_sum
        self._sum = 0
        self._name = name

    def readinto(self, buffer: memoryview) -> int:
        """Read on; at the end the sum is judged.

        Raises:
            ArchiveError: the sum is not the promised one.
        """
        n = self._upstream.readinto(buffer)
        if n:
            self._sum += byte_sum(buffer[:n])
        elif self._sum & 0xFFFFFFFF != self._expected_sum:
            raise ArchiveError(
                f"{self._name}: cpio checksum is {self._sum & 0xFFFFFFFF:08x}, its header says "
                f"{self._expected_sum:08x}",
                artifact=self._name,
                hint="the file was damaged on its way; fetch it again",
            )
        return n
