"""Writing cpio archives, crc (``070702``) or newc (``070701``), reproducibly (swu format §1)."""

import os
from typing import BinaryIO, Literal

from swagent.errors import ArchiveError, DeviceError, SizeError

BLOCK_BYTES = 1024 * 1024
MEMBER_BYTES_MAX = 0xFFFFFFFF
"""The header has eight hex digits for the size."""
NAME_BYTES_MAX = 254
"""SWUpdate's names have to fit 255 bytes with their NUL."""
PAD_BYTES = 512
TRAILER = "TRAILER!!!"

Format = Literal["crc", "newc"]
FORMATS: tuple[Format, ...] = ("crc", "newc")

CRC_MAGIC = b"070702"
_MAGIC = {"crc": CRC_MAGIC, "newc": b"070701"}
MODE = 0o100644
_CHECKSUM_OFFSET = 102


def check_member_name(name: str) -> None:
    """Refuse a name that an installer would refuse, or that would land somewhere else.

    Raises:
        ArchiveError: not a plain, non-empty base name of at most 254 bytes, or the end mark's name.
    """
    if not name or "/" in name or name in (".", "..", TRAILER) or any(c < " " or c == "\x7f" for c in name):
        raise ArchiveError(f"{name!r} cannot be a member's name: it is not a plain file name", artifact=name)
    try:
        length_bytes = len(name.encode())
    except UnicodeEncodeError as exc:
        raise ArchiveError(
            f"{name!r} cannot be a member's name: it is not valid text", artifact=name
        ) from exc
    if length_bytes > NAME_BYTES_MAX:
        raise ArchiveError(
            f"a member's name has {length_bytes} bytes, at most {NAME_BYTES_MAX} fit: {name!r}", artifact=name
        )


def header(
    magic: bytes, name: str, *, inode: int, mode: int, mtime_s: int, size_bytes: int, check_sum: int
) -> bytes:
    """A member's header with its name, padded to 4."""
    raw = name.encode() + b"\0"
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, mode, 0, 0, 1, mtime_s, size_bytes, 0, 0, 0, 0, len(raw), check_sum & 0xFFFFFFFF)
    whole = magic + b"".join(b"%08X" % field for field in fields) + raw
    return whole + bytes(-len(whole) % 4)


class ArchiveWriter:
    """Writes one archive, member by member.

    The same members give the same bytes: inode numbers count from 1, owner and group are root, the mode is 0644, one
    link, one fixed time.

    Args:
        file: open for writing and positioned at 0; the crc format needs one that can seek. The caller closes it.
        archive_format: ``crc`` with the sum of its bytes in each member's header, or ``newc`` without.
        mtime_s: time of all members, seconds since 1970; at most 32 bits.
    """

    def __init__(self, file: BinaryIO, archive_format: Format = "crc", *, mtime_s: int = 0) -> None:
        self._file = file
        self._magic = _MAGIC[archive_format]
        self._sums = archive_format == "crc"
        self._mtime_s = mtime_s & 0xFFFFFFFF
        self._inode = 0
        self._names: set[str] = set()
        self._position = 0
        self._buffer: memoryview | None = None

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a small member.

        Raises:
            ArchiveError: the name is unusable or taken.
            DeviceError: the archive cannot be written.
        """
        check_sum = 0
        if self._sums:
            from swagent.stream import byte_sum

            check_sum = byte_sum(memoryview(data))
        self._begin(name, len(data), check_sum)
        self._write(data)
        self._pad(4)

    def add_file(self, name: str, source: str | int, size_bytes: int) -> bytes:
        """Add a member of any size, in constant memory.

        Args:
            name: how the member is called.
            source: path of a file of ``size_bytes``, or descriptor from which that many are read, from where it
                stands; it is left open.
            size_bytes: how many bytes the member has.

        Returns:
            SHA-256 of what was written, 32 bytes.

        Raises:
            ArchiveError: the name is unusable or taken.
            SizeError: too large for the format, or ``source`` is not ``size_bytes`` long.
            DeviceError: ``source`` cannot be read, or the archive not be written.
        """
        if size_bytes > MEMBER_BYTES_MAX:
            raise SizeError(
                f"{name} has {size_bytes} bytes; a cpio member has at most {MEMBER_BYTES_MAX}",
                artifact=name,
                hint="compress it, or split it into several members",
            )
        if isinstance(source, int):
            return self._copy(name, source, size_bytes, whole=False)
        try:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(
                f"cannot read {source}: {exc.strerror}", path=source, errno=exc.errno, artifact=name
            ) from exc
        try:
            return self._copy(name, fd, size_bytes, whole=True)
        finally:
            os.close(fd)

    def finish(self) -> None:
        """Write the end mark and pad to 512 bytes.

        Raises:
            DeviceError: the archive cannot be written.
        """
        self._header(TRAILER, inode=0, mode=0, mtime_s=0, size_bytes=0, check_sum=0)
        self._pad(PAD_BYTES)
        try:
            self._file.flush()
        except OSError as exc:
            raise self._write_error(exc) from exc

    def _copy(self, name: str, fd: int, size_bytes: int, *, whole: bool) -> bytes:
        from hashlib import sha256

        from swagent.stream import byte_sum

        if self._buffer is None:
            self._buffer = memoryview(bytearray(BLOCK_BYTES))
        buffer = self._buffer
        start = self._position
        self._begin(name, size_bytes, 0)
        digest = sha256()
        check_sum = 0
        left_bytes = size_bytes
        while left_bytes:
            n = _read(fd, buffer[: min(left_bytes, BLOCK_BYTES)], name)
            if n == 0:
                break
            left_bytes -= n
            block = buffer[:n]
            digest.update(block)
            if self._sums:
                check_sum += byte_sum(block)
            self._write(block)
        if left_bytes or (whole and _read(fd, buffer[:1], name)):
            raise SizeError(
                f"{name} is {'shorter' if left_bytes else 'longer'} than its {size_bytes} bytes",
                artifact=name,
                hint="it changed while it was read; build again when nobody writes it",
            )
        if self._sums:
            self._patch(start + _CHECKSUM_OFFSET, b"%08X" % (check_sum & 0xFFFFFFFF))
        self._pad(4)
        return digest.digest()

    def _begin(self, name: str, size_bytes: int, check_sum: int) -> None:
        check_member_name(name)
        if name in self._names:
            raise ArchiveError(f"the archive would have two members named {name!r}", artifact=name)
        self._names.add(name)
        self._inode += 1
        self._header(
            name,
            inode=self._inode,
            mode=MODE,
            mtime_s=self._mtime_s,
            size_bytes=size_bytes,
            check_sum=check_sum,
        )

    def _header(
        self, name: str, *, inode: int, mode: int, mtime_s: int, size_bytes: int, check_sum: int
    ) -> None:
        self._write(
            header(
                self._magic,
                name,
                inode=inode,
                mode=mode,
                mtime_s=mtime_s,
                size_bytes=size_bytes,
                check_sum=check_sum,
            )
        )

    def _pad(self, boundary: int) -> None:
        if gap := -self._position % boundary:
            self._write(bytes(gap))

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            raise self._write_error(exc) from exc
        self._position += len(data)

    def _patch(self, offset: int, data: bytes) -> None:
        try:
            self._file.seek(offset)
            self._file.write(data)
            self._file.seek(self._position)
        except OSError as exc:
            raise self._write_error(exc) from exc

    def _write_error(self, exc: OSError) -> DeviceError:
        name = str(getattr(self._file, "name", "the archive"))
        return DeviceError(f"cannot write {name}: {exc.strerror}", path=name, errno=exc.errno)


def _read(fd: int, buffer: memoryview, name: str) -> int:
    try:
        return os.readv(fd, [buffer])
    except OSError as exc:
        raise DeviceError(
            f"cannot read {name}: {exc.strerror}", path=name, errno=exc.errno, artifact=name
        ) from exc
