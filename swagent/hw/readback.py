"""Reading back what was written, from the device and not from memory.

O_DIRECT goes past the page cache; where a file system does not have it, the kernel is told to forget the pages first.
A device's own cache is out of reach.
"""

import errno
import fcntl
import os

from swagent.errors import DeviceError

BLOCK_BYTES = 1024 * 1024
ALIGNMENT_BYTES = 4096


def read_back(fd: int, n_bytes: int, *, offset_bytes: int = 0, path: str) -> bytes:
    """SHA-256 of a part of a file or block device; it is made durable first.

    Args:
        fd: open on it, for whatever purpose; neither its position nor its flags change.
        n_bytes: how many bytes.
        offset_bytes: from where on.
        path: what to call it.

    Raises:
        DeviceError: it cannot be synced or read, or ends too early.
    """
    try:
        os.fsync(fd)
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise _error("cannot read back", path, exc) from exc
    try:
        return _digest(again, n_bytes, offset_bytes, path)
    except OSError as exc:
        raise _error("cannot read back", path, exc) from exc
    finally:
        os.close(again)


def _digest(fd: int, n_bytes: int, offset_bytes: int, path: str) -> bytes:
    import mmap
    from hashlib import sha256

    os.posix_fadvise(fd, offset_bytes, n_bytes, os.POSIX_FADV_DONTNEED)
    direct = _switch_direct(fd, on=True)
    digest = sha256()
    buffer = memoryview(mmap.mmap(-1, BLOCK_BYTES))  # page-aligned, as O_DIRECT wants it
    end = offset_bytes + n_bytes
    at = offset_bytes
    while at < end:
        begin = at - at % ALIGNMENT_BYTES
        try:
            n = os.preadv(fd, [buffer], begin)
        except OSError as exc:
            if exc.errno != errno.EINVAL or not direct:
                raise
            direct = _switch_direct(fd, on=False)  # its blocks are larger than ours
            continue
        piece = buffer[at - begin : min(n, end - begin)]
        if not piece:
            raise DeviceError(f"{path} ends after {at} bytes, {end} were written", path=path, errno=errno.EIO)
        digest.update(piece)
        at += len(piece)
    return digest.digest()


def _switch_direct(fd: int, *, on: bool) -> bool:
    """Whether O_DIRECT is on now."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return False
    return on


def _error(what: str, path: str, exc: OSError) -> DeviceError:
    return DeviceError(
        f"{what} {path}: {exc.strerror}",
        path=path,
        errno=exc.errno,
        hint="the device may be failing: see dmesg",
    )
