"""Files replaced whole: readers see the old content or the new one, a power cut included, and never a mixture.

A temporary file beside the target is written and fsynced, renamed over it, and the directory is fsynced. A temporary
file left by a power cut is called ``.<name>.swagent-<pid>``; the next replacement of the same name takes it away.
One process replaces one file from one thread at a time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from swagent.errors import DeviceError

MARK = ".swagent-"


def replace(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file, or create it, with ``data``.

    Args:
        path: the file; a symbolic link is replaced itself, not followed.
        data: its new content.
        mode: its permissions, independent of the umask.

    Raises:
        DeviceError: the operating system refused; the content is the old one (or, when only the folder could not be
            synced after the rename, the new one that a power cut might still undo).
    """
    with open_replacement(path, mode=mode) as file:
        file.write(data)


@contextmanager
def open_replacement(path: str, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when the block ends well, and vanishes when it does not.

    Its descriptor may be read too.

    Args:
        path: the file; a symbolic link is replaced itself, not followed.
        mode: permissions, independent of the umask; they hold from the first byte on.

    Raises:
        DeviceError: the operating system refused, in the block too; the content is as after ``replace`` failed.
    """
    folder, name = os.path.split(path)
    folder = folder or "."
    temporary = os.path.join(folder, f".{name}{MARK}{os.getpid()}")
    written = False
    try:
        _remove_leftovers(folder, name)
        # 0600 until fchmod: a private file is never readable by others, whatever the umask
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            yield file
            file.flush()
            os.fsync(fd)
        os.rename(temporary, path)
        written = True
        fsync_folder(folder)
    except OSError as exc:
        raise DeviceError(
            f"cannot replace {path}: {exc.strerror or exc}", path=path, errno=exc.errno, hint=_hint(exc)
        ) from exc
    finally:
        if not written:
            _unlink_quietly(temporary)


def make_folders(path: str, *, mode: int = 0o755) -> None:
    """Like ``mkdir -p``, with durable names: what is synced in a folder is of no use when the folder is lost.

    Args:
        path: of the last folder; it may be there.
        mode: of that folder when it is made, less the umask; those above it have 0777 less the umask.

    Raises:
        OSError: the operating system refused.
    """
    missing = []
    here = os.path.abspath(path)
    while not os.path.isdir(here) and here != os.path.dirname(here):
        missing.append(here)
        here = os.path.dirname(here)
    os.makedirs(path, mode=mode, exist_ok=True)
    for folder in missing:
        fsync_folder(os.path.dirname(folder))


def fsync_folder(folder: str) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: the operating system refused.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_leftovers(folder: str, name: str) -> None:
    prefix = f".{name}{MARK}"
    for entry in os.listdir(folder):
        pid = entry.removeprefix(prefix)
        if pid == entry or not pid.isdigit():
            continue
        # our own number: of a process before the last boot, numbers repeat from boot to boot
        if pid == str(os.getpid()) or not os.path.exists(f"/proc/{pid}"):
            _unlink_quietly(os.path.join(folder, entry))


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _hint(exc: OSError) -> str:
    import errno

    return {
        errno.ENOENT: "create its folder first",
        errno.ENOSPC: "free some space on that file system",
        errno.EROFS: "the file system is mounted read-only",
        errno.EACCES: "check the permissions of its folder",
    }.get(exc.errno or 0, "")
