"""A session's folder for temporary files, and what killed sessions left of theirs.

The folder is locked (``flock``) as long as its session lives; the kernel drops the lock with the process. So a folder
of our name that can be locked belongs to nobody any more.
"""

import fcntl
import os
import re
from contextlib import suppress

from swagent.errors import DeviceError

_NAME = re.compile(r"swagent-[0-9a-f]{12}\Z")
_ATTEMPTS = 10


class Workspace:
    """A session's folder; made when first needed.

    Args:
        parent: where to make it.
        session: the session's identifier, twelve hex digits, part of its name.
    """

    def __init__(self, parent: str, session: str) -> None:
        self._parent = parent
        self._wanted = os.path.join(parent, f"swagent-{session}")
        self._lock_fd = -1

    def path(self) -> str:
        """The folder, mode 0700.

        Raises:
            DeviceError: it cannot be made.
        """
        if self._lock_fd < 0:
            try:
                self._lock_fd = _make_locked(self._wanted)
            except OSError as exc:
                raise DeviceError(
                    f"cannot make the temporary folder {self._wanted}: {exc.strerror}",
                    path=self._wanted,
                    errno=exc.errno,
                    hint="set TMPDIR to a folder that can be written",
                ) from exc
        return self._wanted

    def remove(self) -> None:
        """Remove it and all in it."""
        if self._lock_fd >= 0:
            from shutil import rmtree

            rmtree(self._wanted, ignore_errors=True)
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remove_stale(self) -> list[str]:
        """Remove what killed sessions left beside it: our folders, which nobody holds and on which nothing is mounted.

        Returns:
            The paths of what was removed.
        """
        try:
            names = [name for name in os.listdir(self._parent) if _NAME.match(name)]
        except OSError:
            return []  # what cannot be listed harms nobody
        paths = sorted(os.path.join(self._parent, name) for name in names)
        return [path for path in paths if path != self._wanted and _remove_stale(path)]


def _make_locked(path: str) -> int:
    """Make a folder and hold its lock. Between the two somebody may take it for a stale one: then it is made again."""
    for _ in range(_ATTEMPTS):
        os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)
    raise FileNotFoundError(2, "it is removed again and again")


def _remove_stale(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or _is_mounted_below(path):
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        from shutil import rmtree

        rmtree(path, ignore_errors=True)
        return not os.path.lexists(path)
    except OSError:
        return False  # a living session holds it
    finally:
        os.close(fd)


def _is_mounted_below(path: str) -> bool:
    """Whether something is mounted on a folder or below; also when that cannot be told."""
    from swagent.hw.mount import mount_points

    real = os.path.realpath(path)
    try:
        return any(point == real or point.startswith(real + "/") for point in mount_points())
    except OSError:
        return True
