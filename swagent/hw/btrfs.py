"""Subvolumes of btrfs, made and deleted by ioctl (linux/btrfs.h); no program is needed for it."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from swagent.errors import DeviceError

SUBVOL_CREATE = 0x5000940E
SNAP_DESTROY = 0x5000940F
SYNC = 0x9408
_ARGUMENT = struct.Struct("=q4088s")  # unused here, name
NAME_BYTES_MAX = 255
ROOT_INODE = 256
"""Inode number of every subvolume's root, and of nothing else on btrfs."""
_SUPER_MAGIC = 0x9123683E
DEPTH_MAX = 200


def create(path: str) -> None:
    """Make a subvolume; durable when this returns.

    Raises:
        DeviceError: it exists, its folder is not there or not on btrfs, or the kernel refuses.
    """
    with _parent(path) as (folder, name):
        _ioctl(folder, SUBVOL_CREATE, name, "make", path)
        _commit(folder, path)


def delete(path: str) -> None:
    """Delete a subvolume and all that are nested in it, the innermost first; durable when this returns.

    A power cut leaves some of them; what is left is whole.

    Raises:
        DeviceError: it is not there, is no subvolume, or the kernel refuses.
    """
    if not is_subvolume(path):
        raise DeviceError(f"{path} is no btrfs subvolume", path=path, errno=errno.ENOENT)
    with _parent(path) as (folder, name):
        try:
            _ioctl(folder, SNAP_DESTROY, name, "delete", path)
        except DeviceError as exc:
            if exc.errno != errno.ENOTEMPTY:  # others are nested in it
                raise
            for nested in _nested(path, 0):
                with _parent(nested) as (below, inner):
                    _ioctl(below, SNAP_DESTROY, inner, "delete", nested)
            _ioctl(folder, SNAP_DESTROY, name, "delete", path)
        _commit(folder, path)


def is_subvolume(path: str) -> bool:
    """Whether there is a subvolume of this name (a link to one is none)."""
    try:
        status = os.lstat(path)
        return status.st_ino == ROOT_INODE and os.path.isdir(path) and _is_btrfs(path)
    except (OSError, ValueError):
        return False


def _is_btrfs(path: str) -> bool:
    import ctypes

    buffer = ctypes.create_string_buffer(256)  # struct statfs, whose first member is the type
    if ctypes.CDLL(None, use_errno=True).statfs(ctypes.c_char_p(os.fsencode(path)), buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF == _SUPER_MAGIC


def _nested(path: str, depth: int) -> Iterator[str]:
    """Subvolumes below a folder, those within them first."""
    if depth > DEPTH_MAX:
        raise DeviceError(f"{path} lies more than {DEPTH_MAX} folders deep", path=path, errno=errno.ELOOP)
    try:
        with os.scandir(path) as found:
            folders = [entry for entry in found if entry.is_dir(follow_symlinks=False)]
        here = os.lstat(path).st_dev
        for folder in folders:
            status = folder.stat(follow_symlinks=False)
            subvolume = status.st_ino == ROOT_INODE and status.st_dev != here
            if status.st_dev != here and not subvolume:
                continue  # something else is mounted there: the kernel will refuse the folder around it
            yield from _nested(folder.path, depth + 1)
            if subvolume:
                yield folder.path
    except OSError as exc:
        raise DeviceError(f"cannot look into {path}: {exc.strerror}", path=path, errno=exc.errno) from exc


@contextmanager
def _parent(path: str) -> Iterator[tuple[int, bytes]]:
    """The folder that a subvolume is in, and its name there."""
    folder, name = os.path.split(path.rstrip("/"))
    raw = os.fsencode(name)
    if name in ("", ".", "..") or len(raw) > NAME_BYTES_MAX or b"\0" in raw:
        raise DeviceError(f"{path!r} cannot be the path of a subvolume", path=path, errno=errno.EINVAL)
    try:
        fd = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise DeviceError(
            f"cannot open the folder {folder}: {exc.strerror}", path=folder, errno=exc.errno
        ) from exc
    try:
        yield fd, raw
    finally:
        os.close(fd)


def _ioctl(fd: int, request: int, name: bytes, verb: str, path: str) -> None:
    try:
        fcntl.ioctl(fd, request, bytearray(_ARGUMENT.pack(0, name)))  # bytes may not be that long
    except OSError as exc:
        not_btrfs = exc.errno in (errno.ENOTTY, errno.EINVAL)
        raise DeviceError(
            f"cannot {verb} the subvolume {path}: {exc.strerror}",
            path=path,
            errno=exc.errno,
            hint="its folder is not on btrfs" if not_btrfs else "",
        ) from exc


def _commit(fd: int, path: str) -> None:
    try:
        fcntl.ioctl(fd, SYNC)
    except OSError as exc:
        raise DeviceError(f"cannot sync {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
