"""The body of an answer that has several parts of a file (``multipart/byteranges``, RFC 9110 §14.6)."""

from collections.abc import Callable
from typing import NamedTuple

from swagent.errors import TransportError

from .wire import CONTENT_RANGE, Broken

LINE_BYTES_MAX = 1024
LINES_MAX = 16


class Part(NamedTuple):
    """Which bytes a part has.

    Attributes:
        first: position in the file of the first one.
        last: and of the last one.
        total: how many the file has.
    """

    first: int
    last: int
    total: int


class Multipart:
    """Reads part by part. Lengths come from ``Content-Range``, so nothing in the data can look like a boundary.

    Args:
        read: reads on; at least one byte, 0 at the end.
        boundary: what stands between the parts.
        name: of the file, for messages.
    """

    def __init__(self, read: Callable[[memoryview], int], boundary: str, name: str) -> None:
        self._read = read
        self._delimiter = b"--" + boundary.encode("latin-1")
        self._name = name
        self._buffer = memoryview(bytearray(16 * 1024))
        self._at = self._end = 0
        self._left = 0
        self._begun = False

    def next_part(self) -> Part | None:
        """Go to the next part; the one before must have been read. None behind the last.

        Raises:
            TransportError: the body is not what it should be.
            Broken: it ends too early.
        """
        line = self._line()
        if not line:  # the one that ends the data, or stands before the first delimiter
            line = self._line()
        elif self._begun:
            raise self._error("has more data than it says")
        self._begun = True
        line = line.rstrip(b" \t")
        if line == self._delimiter + b"--":
            return None
        if line != self._delimiter:
            raise self._error("has no boundary where one should be")
        found = None
        for _ in range(LINES_MAX):
            name, _, value = self._line().partition(b":")
            if not name:
                break
            if name.strip().lower() == b"content-range":
                if found is not None:
                    raise self._error("says twice which bytes it has")
                found = CONTENT_RANGE.match(value.strip().decode("latin-1"))
        else:
            raise self._error(f"has more than {LINES_MAX} lines of headers")
        if found is None:
            raise self._error("does not say which bytes it has")
        part = Part(*(int(number) for number in found.groups()))
        if not part.first <= part.last < part.total:
            raise self._error(f"has a Content-Range that makes no sense: {found[0]}")
        self._left = part.last - part.first + 1
        return part

    def readinto(self, buffer: memoryview) -> int:
        """At least one byte of the present part, 0 at its end.

        Raises:
            Broken: the body ends before.
        """
        n = min(len(buffer), self._left)
        if not n:
            return 0
        if self._at < self._end:
            n = min(n, self._end - self._at)
            buffer[:n] = self._buffer[self._at : self._at + n]
            self._at += n
        else:
            n = self._read(buffer[:n])
            if n == 0:
                raise Broken(self._error("ends too early"))
        self._left -= n
        return n

    def _line(self) -> bytes:
        """Without its end."""
        line = bytearray()
        while True:
            if self._at == self._end:
                self._at, self._end = 0, self._read(self._buffer)
                if not self._end:
                    raise Broken(self._error("ends too early"))
            found = bytes(self._buffer[self._at : self._end]).find(b"\n")
            stop = self._end if found < 0 else self._at + found + 1
            line += self._buffer[self._at : stop]
            self._at = stop
            if len(line) > LINE_BYTES_MAX:
                raise self._error(f"has a line of more than {LINE_BYTES_MAX} bytes among its headers")
            if found >= 0:
                return bytes(line).rstrip(b"\r\n")

    def _error(self, what: str) -> TransportError:
        return TransportError(f"{self._name}: a part of the server's answer {what}")
