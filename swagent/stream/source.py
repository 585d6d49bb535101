"""Where the bytes of an archive come from: a file that can be read anywhere, or a stream that cannot."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from typing import Protocol

from swagent.errors import ArchiveError, DeviceError
from swagent.model import Reader

WINDOW_BYTES = 128 * 1024
WAIT_MS = 100
"""How long a stream may bring nothing before somebody is asked whether to go on."""


class Source(Protocol):
    """An archive's bytes, in order, with a position."""

    name: str
    seekable: bool
    size_bytes: int | None
    position: int

    def readinto(self, buffer: memoryview) -> int:
        """Read from ``position`` on; fills ``buffer`` unless the end comes first."""
        ...

    def seek(self, position: int) -> None:
        """Go on from there: anywhere in a file, only forward in a stream (which reads and drops)."""
        ...

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Say, before the first read, who is asked and told.

        Args:
            waiting: called again and again while nothing comes; may raise to stop.
            tell: hears of trouble that is being dealt with: level and line.
        """
        ...


class FileSource:
    """A regular file or block device, read with ``pread``; small reads are served from one window.

    Args:
        fd: open for reading; the caller keeps it open.
        name: how messages call it.
    """

    seekable = True

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self.size_bytes: int | None = os.lseek(fd, 0, os.SEEK_END)
        self.position = 0
        self._window = memoryview(bytearray(WINDOW_BYTES))
        self._window_start = 0
        self._window_length = 0

    def seek(self, position: int) -> None:
        """Go on from ``position``."""
        self.position = position

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Nobody: a file neither waits nor has anything to tell."""

    def readinto(self, buffer: memoryview) -> int:
        """Read from ``position`` on; fills ``buffer`` unless the file ends first."""
        n = self.read_at(self.position, buffer)
        self.position += n
        return n

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Read from ``offset`` on without moving ``position``.

        Raises:
            DeviceError: the file cannot be read.
        """
        wanted = len(buffer)
        start = offset - self._window_start
        if start >= 0 and start + wanted <= self._window_length:
            buffer[:] = self._window[start : start + wanted]
            return wanted
        if wanted < WINDOW_BYTES:
            self._window_length = self._pread(offset, self._window)
            self._window_start = offset
            n = min(wanted, self._window_length)
            buffer[:n] = self._window[:n]
            return n
        return self._pread(offset, buffer)

    def _pread(self, offset: int, buffer: memoryview) -> int:
        done = 0
        try:
            while done < len(buffer):
                n = os.preadv(self.fd, [buffer[done:]], offset + done)
                if n == 0:
                    break
                done += n
        except OSError as exc:
            raise DeviceError(
                f"cannot read {self.name}: {exc.strerror}", path=self.name, errno=exc.errno
            ) from exc
        return done


class StreamSource:
    """A pipe, socket or terminal: read once, in order.

    Args:
        fd: open for reading, blocking or not; the caller keeps it open.
        name: how messages call it.

    Raises:
        DeviceError: ``fd`` is open for writing only.
    """

    seekable = False

    def __init__(self, fd: int, name: str) -> None:
        import select

        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            # nothing would ever come, and poll would not say so
            raise DeviceError(
                f"cannot read {name}: it is open for writing only", path=name, errno=errno.EBADF
            )
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._waiting: Callable[[], None] = _go_on
        self.fd = fd
        self.name = name
        self.size_bytes: int | None = None
        self.position = 0
        self._window = memoryview(bytearray(WINDOW_BYTES))
        self._window_start = 0
        self._window_end = 0

    def readinto(self, buffer: memoryview) -> int:
        """Read on; fills ``buffer`` unless the stream ends first."""
        done = 0
        wanted = len(buffer)
        while done < wanted:
            ready = self._window_end - self._window_start
            if ready:
                n = min(ready, wanted - done)
                buffer[done : done + n] = self._window[self._window_start : self._window_start + n]
                self._window_start += n
            elif wanted - done >= WINDOW_BYTES:
                n = self._read(buffer[done:])
            else:
                self._window_start, self._window_end = 0, self._read(self._window)
                if self._window_end:
                    continue
                n = 0
            if n == 0:
                break
            done += n
        self.position += done
        return done

    def seek(self, position: int) -> None:
        """Read and drop everything before ``position``.

        Raises:
            ArchiveError: the stream ends before.
        """
        read_up_to(self, position)

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """``waiting`` may stop it. (A signal alone does not interrupt a read: Python goes on reading after its handler,
        and the reader may be another thread.)
        """
        self._waiting = waiting

    def _read(self, buffer: memoryview) -> int:
        while not self._poll.poll(WAIT_MS):
            self._waiting()
        try:
            return os.readv(self.fd, [buffer])
        except OSError as exc:
            raise DeviceError(
                f"cannot read {self.name}: {exc.strerror}", path=self.name, errno=exc.errno
            ) from exc


class ReaderSource:
    """Somebody's ``Reader`` as a stream; an archive is read to its end, so its verdict comes before the commit.

    Args:
        reader: gives the bytes.
        name: how messages call it.
        size_bytes: how many there will be, None if nobody knows.
    """

    seekable = False

    def __init__(self, reader: Reader, name: str, size_bytes: int | None = None) -> None:
        self._reader = reader
        self.name = name
        self.size_bytes = size_bytes
        self.position = 0

    def readinto(self, buffer: memoryview) -> int:
        """Read on; fills ``buffer`` unless the reader ends first."""
        done = 0
        while done < len(buffer):
            n = self._reader.readinto(buffer[done:])
            if n == 0:
                break
            done += n
        self.position += done
        return done

    def seek(self, position: int) -> None:
        """Read and drop everything before ``position``.

        Raises:
            ArchiveError: the reader ends before.
        """
        read_up_to(self, position)

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Nobody: whoever reads for us waits and tells by itself."""


def read_up_to(source: Source, position: int) -> None:
    """What ``seek`` does where bytes can only be read in order: read and drop.

    Raises:
        ArchiveError: the source ends before ``position``.
    """
    scrap = memoryview(bytearray(min(WINDOW_BYTES, max(position - source.position, 1))))
    while source.position < position:
        if not source.readinto(scrap[: position - source.position]):
            raise ArchiveError(f"{source.name} ends at byte {source.position}, in the middle of a member")


def _go_on() -> None:
    pass


def open_source(fd: int, name: str) -> FileSource | StreamSource:
    """The kind of source that fits a descriptor: files and block devices can be read anywhere."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return FileSource(fd, name)
    return StreamSource(fd, name)


def read_all(reader: Reader, size_max_bytes: int, *, what: str) -> bytes:
    """Everything a reader has, if that is not too much.

    Raises:
        ArchiveError: more than ``size_max_bytes``.
    """
    collected = bytearray()
    buffer = memoryview(bytearray(min(size_max_bytes + 1, 64 * 1024)))
    while n := reader.readinto(buffer):
        if len(collected) + n > size_max_bytes:
            raise ArchiveError(f"{what} is longer than {size_max_bytes} bytes")
        collected += buffer[:n]
    return bytes(collected)
