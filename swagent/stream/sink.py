"""Writing to a handler's sink, and looking what it holds already."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable

from swagent.errors import DeviceError
from swagent.model import Sink

from .chunks import ALIGNMENT_BYTES, ChunkTable


class SinkWriter:
    """Writes to a sink in order; leaves O_DIRECT when a piece no longer fits its blocks.

    Args:
        sink: where to.
        name: the member, for messages.
        done_bytes: so many are there already.
    """

    def __init__(self, sink: Sink, name: str, done_bytes: int = 0) -> None:
        self._fd = sink.fd
        self._seekable = sink.seekable
        self._offset = sink.offset_bytes
        self._alignment = sink.alignment_bytes
        self._name = name
        self.done_bytes = done_bytes
        if self._alignment > 1 and self._offset % self._alignment:
            self._buffered()

    def write(self, piece: memoryview) -> None:
        """Write all of it.

        Raises:
            DeviceError: the target does not take it.
        """
        size = len(piece)
        done = 0
        while done < size:
            rest = piece[done:] if done else piece
            if self._alignment > 1 and (len(rest) % self._alignment or not _is_ring(rest)):
                whole = len(rest) - len(rest) % self._alignment if _is_ring(rest) else 0
                if whole:
                    rest = rest[:whole]
                else:
                    self._buffered()
            try:
                if self._seekable:
                    n = os.pwrite(self._fd, rest, self._offset + self.done_bytes)
                else:
                    n = os.write(self._fd, rest)
            except OSError as exc:
                if exc.errno == errno.EINVAL and self._alignment > 1:
                    self._buffered()
                    continue
                path = _path_of(self._fd)
                raise DeviceError(
                    f"writing {self._name} to {path} failed after {self.done_bytes} bytes: {exc.strerror}",
                    path=path,
                    errno=exc.errno,
                    artifact=self._name,
                ) from exc
            done += n
            self.done_bytes += n
            if self._alignment > 1 and n % self._alignment:
                self._buffered()

    def _buffered(self) -> None:
        self._alignment = 1
        _leave_direct(self._fd)


def chunks_there(sink: Sink, table: ChunkTable, on_chunk: Callable[[memoryview], None]) -> int:
    """How many chunks, from the first one on, a sink holds already.

    It is read past the page cache: what a cut left in memory only, or what the device lost, is no reason to go on.

    Args:
        sink: where an earlier install may have written them.
        table: what they must be; with ``chunk_bytes``.
        on_chunk: gets the plain bytes of each that is right.
    """
    from hashlib import sha256

    if not sink.seekable:
        return 0
    try:
        os.fsync(sink.fd)
        fd = os.open(f"/proc/self/fd/{sink.fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0  # it cannot be read: then everything is written again
    buffer = memoryview(mmap.mmap(-1, table.chunk_bytes))
    found = 0
    try:
        os.posix_fadvise(fd, sink.offset_bytes, table.plain_bytes, os.POSIX_FADV_DONTNEED)
        if sink.alignment_bytes > 1 and sink.offset_bytes % ALIGNMENT_BYTES == 0:
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT)
        while found < len(table):
            size = table.plain_length(found)
            if _read(fd, buffer, sink.offset_bytes + found * table.chunk_bytes, size) < size:
                break
            if sha256(buffer[:size]).digest() != table[found].plain_sha256:
                break
            on_chunk(buffer[:size])
            found += 1
    except OSError:
        pass  # what cannot be read is written again; if it cannot be written either, that is said then
    finally:
        os.close(fd)
    return found


def _read(fd: int, buffer: memoryview, offset: int, size: int) -> int:
    done = 0
    while done < size:
        try:
            n = os.preadv(fd, [buffer[done:]], offset + done)
        except OSError as exc:
            if exc.errno != errno.EINVAL or not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
                raise
            _leave_direct(fd)
            continue
        if n == 0:
            break
        done += n
    return done


def _leave_direct(fd: int) -> None:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)


def _is_ring(piece: memoryview) -> bool:
    """Whether a piece lies in page-aligned memory: only the ring's slots do, and they are slices of an mmap."""
    return type(piece.obj).__name__ == "mmap"


def _path_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"file descriptor {fd}"
