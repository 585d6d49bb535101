"""A folder that no path leads out of: descent by descriptors, name by name, never through links unseen.

Rules for symbolic links on the way (they may lie in the destination already, such as ``lib -> usr/lib``, or come out of
the archive itself): a relative link that stays below the root is followed; one that climbs out of it is refused. An
absolute link is refused, or taken to start at the root where the tree is a mounted filesystem of its own.
"""

import errno
import os

from swagent.errors import DeviceError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_MAX = 64
LINKS_MAX = 40
DEPTH_MAX = 256
PATH_BYTES_MAX = 4095


class Tree:
    """Folders below a root, by path relative to it (bytes, ``/`` between components).

    Args:
        root: path of the root, for opening and for messages; links in it are followed.
        own_root: absolute links start at the root instead of being refused.

    Raises:
        DeviceError: the root cannot be opened.
    """

    def __init__(self, root: str, *, own_root: bool = False) -> None:
        self._name = root
        self._own_root = own_root
        self._fds: dict[bytes, int] = {}  # by path without links; the least recently used comes first
        try:
            self.root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(
                f"cannot open the folder {root}: {exc.strerror}", path=root, errno=exc.errno
            ) from exc

    def below(self, path: bytes, *, create: bool) -> "Tree":
        """A tree whose root is a folder of this one; absolute links in it are refused. Raises as ``folder``."""
        fd = self.folder(path, create=create)
        return Tree(f"/proc/self/fd/{fd}")

    def folder(self, path: bytes, *, create: bool) -> int:
        """An open folder; the descriptor belongs to the tree and is valid until the next call.

        Args:
            path: relative; b"" is the root.
            create: make what is missing, mode 0755 less the umask.

        Raises:
            DeviceError: it is missing, no folder, or leads out of the tree.
        """
        if not path:
            return self.root_fd
        fd = self._fds.pop(path, None)
        if fd is not None:
            self._fds[path] = fd
            return fd
        return self._walk(path, create=create, leaf=False)[0]

    def place(self, path: bytes, *, create: bool) -> tuple[int, bytes]:
        """Folder and name of a file, links to the file followed too; the name need not exist yet.

        Raises:
            DeviceError: a folder on the way is missing, no folder, or leads out of the tree.
        """
        return self._walk(path, create=create, leaf=True)

    def forget(self) -> None:
        """To be called when a folder or link may have been replaced: close what is remembered."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def close(self) -> None:
        """Close everything."""
        self.forget()
        os.close(self.root_fd)

    def _walk(self, path: bytes, *, create: bool, leaf: bool) -> tuple[int, bytes]:
        pending = path.split(b"/")
        if len(pending) > DEPTH_MAX or len(path) > PATH_BYTES_MAX:
            raise self._refused(path, "lies too deep", errno.ENAMETOOLONG)
        pending.reverse()
        here, fd, links = b"", self.root_fd, 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not here:
                    raise self._refused(path, "leads out of it")
                here = here.rpartition(b"/")[0]
                fd = self._real(here)
                continue
            last = leaf and not any(pending)
            child = here + b"/" + name if here else name
            known = None if last else self._fds.pop(child, None)
            if known is not None:
                self._fds[child] = known
                here, fd = child, known
                continue
            target = self._step(fd, name, child, create=create, last=last)
            if isinstance(target, int):
                if last:
                    return fd, name
                here, fd = child, target
                continue
            links += 1
            if links > LINKS_MAX or len(pending) > DEPTH_MAX:
                raise self._refused(path, "has too many links")
            if target.startswith(b"/"):
                if not self._own_root:
                    raise self._refused(
                        path, f"goes through the link {printable(child)} to {printable(target)}"
                    )
                here, fd = b"", self.root_fd
            pending.extend(reversed(target.split(b"/")))
        if leaf:
            raise self._refused(path, "is a folder")
        return fd, b""

    def _real(self, here: bytes) -> int:
        """Open a folder passed on the way down again; it may have been closed to make room since."""
        fd = self._fds.get(here) if here else self.root_fd
        if fd is not None:
            return fd
        above = self._real(here.rpartition(b"/")[0])
        try:
            return self._remember(here, os.open(here.rpartition(b"/")[2], FOLDER, dir_fd=above))
        except OSError as exc:
            raise self._failed(here, exc) from exc

    def _step(self, fd: int, name: bytes, child: bytes, *, create: bool, last: bool) -> int | bytes:
        """Open (and remember) a folder in ``fd``, or the target of a link; for the last name only a link counts."""
        if not last:
            try:
                return self._remember(child, os.open(name, FOLDER, dir_fd=fd))
            except FileNotFoundError as exc:
                if not create:
                    raise self._failed(child, exc) from exc
                return self._make(fd, name, child)
            except OSError as exc:
                if exc.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise self._failed(child, exc) from exc
        try:
            return os.readlink(name, dir_fd=fd)
        except OSError as exc:
            if last and exc.errno in (errno.EINVAL, errno.ENOENT):
                return -1
            if exc.errno == errno.EINVAL:
                raise self._refused(child, "is no folder", errno.ENOTDIR) from exc
            raise self._failed(child, exc) from exc

    def _make(self, fd: int, name: bytes, child: bytes) -> int:
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
            return self._remember(child, os.open(name, FOLDER, dir_fd=fd))
        except OSError as exc:
            raise self._failed(child, exc) from exc

    def _remember(self, path: bytes, fd: int) -> int:
        self._fds[path] = fd
        if len(self._fds) > OPEN_MAX:
            oldest = next(iter(self._fds))
            os.close(self._fds.pop(oldest))
        return fd

    def _refused(self, path: bytes, why: str, number: int = errno.ELOOP) -> DeviceError:
        return DeviceError(
            f"{printable(path)} in {self._name} {why}",
            path=self._name,
            errno=number,
            hint="" if number != errno.ELOOP else "only links that stay inside the destination are followed",
        )

    def _failed(self, path: bytes, exc: OSError) -> DeviceError:
        return DeviceError(
            f"cannot enter {printable(path)} in {self._name}: {exc.strerror}",
            path=self._name,
            errno=exc.errno,
        )


def printable(name: bytes) -> str:
    """A name for messages: whatever the bytes are, a terminal is safe from them."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
