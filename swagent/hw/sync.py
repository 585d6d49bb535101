"""Durability of many small files for the price of one: few files are fsynced, many by one syncfs per filesystem."""

import os
import stat

from swagent.errors import DeviceError

FSYNC_MAX = 8
"""Up to so many files are synced one by one, which leaves other programs' dirty data alone."""
FILESYSTEMS_MAX = 32
"""A syncfs needs one open file per filesystem; beyond this many, the next one is synced at once."""


class FileSync:
    """Promises kept by ``flush``: what was written is on the medium, then renamed, then the names are too.

    A ``handlers.api.Sync``. Not thread-safe. The kernel tells syncfs's caller of write errors since Linux 5.8; the
    first file of each filesystem is the one that stays open, so that none is missed.
    """

    def __init__(self) -> None:
        self._few: list[int] = []
        self._by_device: dict[int, int] = {}
        self._renames: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Whether anything waits for ``flush``."""
        return bool(self._few or self._by_device or self._renames)

    def later(self, fd: int) -> None:
        """Promise that the file open as ``fd`` is durable after the next ``flush``.

        A folder stands for everything on its filesystem.

        Raises:
            DeviceError: the process has no file descriptor left, or a sync that was due at once failed.
        """
        try:
            status = os.fstat(fd)
            if self._by_device or stat.S_ISDIR(status.st_mode):
                self._keep(fd, status.st_dev)
            elif len(self._few) < FSYNC_MAX:
                self._few.append(os.dup(fd))
            else:
                for kept in self._few:
                    self._keep(kept, os.fstat(kept).st_dev)
                self._keep(fd, status.st_dev)
                self._close_few()
        except OSError as exc:
            raise _failed("cannot remember a file to sync", _path_of(fd), exc) from exc

    def rename_later(self, temporary: str, final: str) -> None:
        """Rename once everything registered so far is durable; ``discard`` removes ``temporary`` instead."""
        self._renames.pop(temporary, None)  # written twice: the later one keeps its place in the order
        self._renames[temporary] = final

    def flush(self) -> None:
        """Keep all promises. On failure nothing more is renamed; call ``discard``.

        Raises:
            DeviceError: something could not be written or renamed.
        """
        self._sync_all()
        if not self._renames:
            return
        parents: dict[str, None] = {}
        for temporary, final in list(self._renames.items()):
            try:
                os.rename(temporary, final)
            except OSError as exc:
                raise _failed(f"cannot rename {temporary}", final, exc) from exc
            del self._renames[temporary]
            parents[os.path.dirname(final) or "."] = None
        for parent in parents:
            try:
                fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as exc:
                raise _failed("cannot sync a folder", parent, exc) from exc
            try:
                if len(parents) > FSYNC_MAX:
                    self.later(fd)
                else:
                    os.fsync(fd)
            except OSError as exc:
                raise _failed("cannot sync the folder", parent, exc) from exc
            finally:
                os.close(fd)
        self._sync_all()

    def discard(self) -> None:
        """Forget all promises: temporaries are removed, descriptors closed. Never raises."""
        for temporary in self._renames:
            try:
                os.unlink(temporary)
            except OSError:
                continue  # it may never have come into being, and nothing else can be done about it here
        self._renames.clear()
        self._close_few()
        self._close_devices()

    def _keep(self, fd: int, device: int) -> None:
        if device in self._by_device:
            return
        if len(self._by_device) >= FILESYSTEMS_MAX:
            sync_filesystem(fd)
            return
        self._by_device[device] = os.dup(fd)

    def _sync_all(self) -> None:
        try:
            for fd in self._few:
                try:
                    os.fsync(fd)
                    _fsync_name(fd)
                except OSError as exc:
                    raise _failed("cannot sync", _path_of(fd), exc) from exc
            for fd in self._by_device.values():
                try:
                    sync_filesystem(fd)
                except OSError as exc:
                    raise _failed("cannot sync the filesystem of", _path_of(fd), exc) from exc
        finally:
            self._close_few()
            self._close_devices()

    def _close_few(self) -> None:
        for fd in self._few:
            os.close(fd)
        self._few.clear()

    def _close_devices(self) -> None:
        for fd in self._by_device.values():
            os.close(fd)
        self._by_device.clear()


def _fsync_name(fd: int) -> None:
    """Make a file's name durable too: sync the folder it is in; where that cannot be found, its whole filesystem."""
    status = os.fstat(fd)
    if status.st_nlink == 0:
        return
    try:
        folder = os.open(
            os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        )
    except OSError:
        sync_filesystem(fd)
        return
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sync_filesystem(fd: int) -> None:
    """Write out everything on the filesystem that ``fd`` is on: syncfs(2), which Python's ``os`` does not have.

    Raises:
        OSError: as the kernel says.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _path_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"file descriptor {fd}"


def _failed(what: str, path: str, exc: OSError) -> DeviceError:
    return DeviceError(f"{what} {path}: {exc.strerror}", path=path, errno=exc.errno)
