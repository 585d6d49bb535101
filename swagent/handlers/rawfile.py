"""``rawfile``: one file, onto the running system or a device that is mounted for it."""

import errno
import os
import stat
from typing import NamedTuple

from swagent.errors import DeviceError, SizeError, SwagentError
from swagent.model import Artifact, Data, Kind, Needs, Sink

from . import destination, readback
from .api import Context, handler
from .tree import Tree

SMALL_BYTES = 1024 * 1024
"""Files up to this size are made durable together with others, at the end of their phase."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OLD = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make us wait


@handler("rawfile", kinds=Kind.IMAGE | Kind.FILE, attributes=("path",), reads_back=True)
class RawFile:
    """Write a file to ``path``, on ``device`` if ``filesystem`` says how to mount it. A new file has mode 0600.

    With ``atomic-install`` the file is switched only when its contents (and, on the running system, all other files
    of the same phase) are durable, and keeps owner, mode and extended attributes of the one it replaces.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            create_destination: make the folders that lead to path, mode 0755.
            atomic_install: write path.tmp and rename it: old or new, never half.
        """

        create_destination: bool = False
        atomic_install: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the place makes sense; folders may still be made by what is installed before."""
        needs = destination.check(art, ctx)
        if not opt.create_destination and not destination.is_mounted(art):
            parent = os.path.dirname(art.path)
            if not os.path.isdir(parent):
                ctx.log(
                    "warn",
                    f"{art.label}: the folder {parent} is not there; something has to make it before, or "
                    "the property create-destination",
                )
        return needs

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Write it."""
        try:
            if destination.is_mounted(art):
                with destination.mounted(art, ctx) as root:
                    self._onto_mounted(art, opt, data, ctx, root)
            else:
                self._onto_system(art, opt, data, ctx)
        except SwagentError as exc:
            exc.artifact = exc.artifact or art.label
            exc.handler = exc.handler or "rawfile"
            raise

    def _onto_system(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        final = art.path
        if opt.create_destination:
            destination.make_folders(os.path.dirname(final))
        path = final + ".tmp" if opt.atomic_install else final
        size_bytes = data.size_bytes
        large = size_bytes is None or size_bytes > SMALL_BYTES
        old = _status(final, None) if opt.atomic_install else None
        fd, new = _open(path, None, replace=opt.atomic_install)
        try:
            expected = readback.Expected(art, data, ctx)
            n_bytes = _pour(data, fd, art, look=large)
            expected.compare(fd, n_bytes, art.offset_bytes, path)
            if old is not None:
                _inherit(fd, old, final)
            if large:
                _fsync(fd, path)
            ctx.sync.later(fd)
        except BaseException:
            if new:
                _remove(path, None)
            raise
        finally:
            os.close(fd)
        if opt.atomic_install:
            ctx.sync.rename_later(path, final)

    def _onto_mounted(self, art: Artifact, opt: Options, data: Data, ctx: Context, root: str) -> None:
        tree = Tree(root, own_root=True)
        try:
            folder, name = tree.place(os.fsencode(art.path), create=opt.create_destination)
            temporary = name + b".tmp" if opt.atomic_install else name
            shown = f"{art.path} on {art.device}"
            old = _status(name, folder) if opt.atomic_install else None
            fd, new = _open(temporary, folder, replace=opt.atomic_install)
            try:
                expected = readback.Expected(art, data, ctx)
                n_bytes = _pour(data, fd, art, look=True)
                expected.compare(fd, n_bytes, art.offset_bytes, shown)
                if old is not None:
                    _inherit(fd, old, f"/proc/self/fd/{folder}/{os.fsdecode(name)}")
                _fsync(fd, shown)
            except BaseException:
                if new:
                    _remove(temporary, folder)
                raise
            finally:
                os.close(fd)
            if opt.atomic_install:
                try:
                    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError as exc:
                    _remove(temporary, folder)
                    raise DeviceError(
                        f"cannot replace {shown}: {exc.strerror}", path=art.path, errno=exc.errno
                    ) from exc
            _fsync(folder, shown)
        finally:
            tree.close()


def _open(path: str | bytes, folder: int | None, *, replace: bool) -> tuple[int, bool]:
    """Open for writing from the start; also tells whether the file is new, and so ours to remove on failure.

    ``folder`` None means the running system, where links are followed as they are for everybody; below a mounted
    folder the name has been resolved, and what is a link now was changed behind our back.
    """
    nofollow = 0 if folder is None else os.O_NOFOLLOW
    try:
        try:
            return os.open(path, _NEW, 0o600, dir_fd=folder), True
        except FileExistsError:
            if replace:
                os.unlink(path, dir_fd=folder)  # left behind by an update that lost power
                return os.open(path, _NEW, 0o600, dir_fd=folder), True
            fd = os.open(path, _OLD | nofollow, 0o600, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(errno.EEXIST, "something that is no file is in its place") from None
            return fd, False
    except OSError as exc:
        shown = os.fsdecode(path)
        hint = "the property create-destination makes missing folders" if exc.errno == errno.ENOENT else ""
        raise DeviceError(
            f"cannot write {shown}: {exc.strerror}", path=shown, errno=exc.errno, hint=hint
        ) from exc
    except ValueError as exc:
        raise DeviceError(f"cannot write {path!r}: {exc}", path=os.fsdecode(path)) from exc


def _pour(data: Data, fd: int, art: Artifact, *, look: bool) -> int:
    """Write all of it; ``look`` whether it fits first (for a small file the kernel's own word comes soon enough)."""
    limit = None
    if look:
        try:
            space = os.fstatvfs(fd)
        except OSError as exc:
            raise DeviceError(
                f"cannot ask for free space: {exc.strerror}", path=art.path, errno=exc.errno
            ) from exc
        limit = space.f_bavail * space.f_frsize
        if data.size_bytes is not None and data.size_bytes > limit:
            raise SizeError(f"{art.label} has {data.size_bytes} bytes, {limit} are free at {art.path}")
    return data.pour(Sink(fd, offset_bytes=art.offset_bytes, limit_bytes=limit))


def _status(path: str | bytes, folder: int | None) -> os.stat_result | None:
    """Of the file that is going to be replaced, None if there is none."""
    try:
        found = os.stat(path, dir_fd=folder)
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _inherit(fd: int, old: os.stat_result, path: str) -> None:
    """Owner, mode and extended attributes (so ACLs and labels too), but for those that vouch for the old contents."""
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
        os.fchmod(fd, stat.S_IMODE(old.st_mode))
        for name in _attributes(path):
            if name not in ("security.ima", "security.evm"):
                os.setxattr(fd, name, os.getxattr(path, name))
    except OSError as exc:
        raise DeviceError(
            f"cannot keep owner, mode and attributes of {path}: {exc.strerror}", path=path, errno=exc.errno
        ) from exc


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return []
        raise


def _fsync(fd: int, path: str) -> None:
    try:
        os.fsync(fd)
    except OSError as exc:
        raise DeviceError(f"cannot sync {path}: {exc.strerror}", path=path, errno=exc.errno) from exc


def _remove(path: str | bytes, folder: int | None) -> None:
    try:
        os.unlink(path, dir_fd=folder)
    except OSError:
        return  # the update has failed already, for a reason that matters more
