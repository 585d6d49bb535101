"""An artifact's plain bytes, from memory."""

import fcntl
import os
from hashlib import sha256
from typing import Any

from swagent.errors import DeviceError, SizeError, SwagentError
from swagent.model import Reader, Sink


class FakeData:
    """A ``model.Data`` over bytes or over another reader.

    Args:
        source: what there is to read.
        size_bytes: what it claims to have; -1: the truth for bytes, None for a reader.
        chunk_bytes: the most that one read gives, to try out short reads.
        stored_bytes: what it claims to have in the archive; -1: as many as plain ones.
        verdict: raised by the read that would return 0, as a wrong digest would be.
    """

    def __init__(
        self,
        source: bytes | Reader,
        *,
        size_bytes: int | None = -1,
        stored_bytes: int = -1,
        chunk_bytes: int = 1 << 20,
        verdict: SwagentError | None = None,
    ) -> None:
        self._bytes = memoryview(source) if isinstance(source, bytes) else None
        self._reader = source if not isinstance(source, bytes) else None
        if size_bytes == -1:
            size_bytes = len(self._bytes) if self._bytes is not None else None
        self._size_bytes = size_bytes
        self._stored_bytes = stored_bytes
        self._chunk_bytes = chunk_bytes
        self._verdict = verdict
        self._hash: Any = None
        self.read_bytes = 0
        self.ended = False

    @property
    def size_bytes(self) -> int | None:
        """As given."""
        return self._size_bytes

    @property
    def stored_bytes(self) -> int:
        """As given."""
        return (self._size_bytes or 0) if self._stored_bytes == -1 else self._stored_bytes

    def want_plain_sha256(self) -> None:
        """Hash what is read."""
        self._hash = sha256()

    @property
    def plain_sha256(self) -> bytes | None:
        """Digest of what was read, None when nobody asked for it."""
        return self._hash.digest() if self._hash is not None else None

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes, 0 at the end."""
        buffer = buffer[: self._chunk_bytes]
        if self._reader is not None:
            n = self._reader.readinto(buffer)
        else:
            assert self._bytes is not None  # noqa: S101 - for the type checker: one of the two is there
            piece = self._bytes[self.read_bytes : self.read_bytes + len(buffer)]
            n = len(piece)
            buffer[:n] = piece
        self.read_bytes += n
        if self._hash is not None:
            self._hash.update(buffer[:n])
        if n == 0:
            self.ended = True
            if self._verdict is not None:
                raise self._verdict
        return n

    def pour(self, sink: Sink) -> int:
        """Write all of it, buffered, in one thread."""
        if sink.alignment_bytes > 1:
            flags = fcntl.fcntl(sink.fd, fcntl.F_GETFL)
            fcntl.fcntl(sink.fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        buffer = memoryview(bytearray(64 * 1024))
        total = 0
        while n := self.readinto(buffer):
            if sink.limit_bytes is not None and total + n > sink.limit_bytes:
                raise SizeError(f"the destination holds only {sink.limit_bytes} bytes")
            rest = buffer[:n]
            while rest:
                try:
                    if sink.seekable:
                        done = os.pwrite(sink.fd, rest, sink.offset_bytes + total)
                    else:
                        done = os.write(sink.fd, rest)
                except OSError as exc:
                    raise DeviceError(f"cannot write: {exc.strerror}", path="", errno=exc.errno) from exc
                rest = rest[done:]
                total += done
        return total
