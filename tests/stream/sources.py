"""Sources over bytes, as files and as pipes."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from swagent.stream.source import FileSource, StreamSource


@contextmanager
def file_source(data: bytes) -> Iterator[FileSource]:
    """A file that exists only in memory."""
    fd = os.memfd_create("test")
    try:
        os.pwrite(fd, data, 0)
        yield FileSource(fd, "test.swu")
    finally:
        os.close(fd)


@contextmanager
def stream_source(data: bytes, *, piece_bytes: int = 65536) -> Iterator[StreamSource]:
    """A pipe that brings at most ``piece_bytes`` with one read."""
    reading, writing = os.pipe()
    if len(data) <= piece_bytes <= 65536:
        os.write(writing, data)
        os.close(writing)
        feeder = None
    else:

        def feed() -> None:
            with suppress(BrokenPipeError):
                for start in range(0, len(data), piece_bytes):
                    os.write(writing, data[start : start + piece_bytes])
            os.close(writing)

        feeder = threading.Thread(target=feed)
        feeder.start()
    try:
        yield StreamSource(reading, "test.swu")
    finally:
        os.close(reading)
        if feeder is not None:
            feeder.join()


class BytesReader:
    """A Reader over bytes that gives at most ``chunk_bytes`` at once."""

    def __init__(self, data: bytes, chunk_bytes: int = 1 << 20) -> None:
        self._data = memoryview(data)
        self._chunk_bytes = chunk_bytes
        self.calls = 0

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes."""
        self.calls += 1
        n = min(len(buffer), self._chunk_bytes, len(self._data))
        buffer[:n] = self._data[:n]
        self._data = self._data[n:]
        return n
