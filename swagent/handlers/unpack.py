"""Members of a tar archive become files in a tree from which nothing leads out.

Refused are absolute names, ``..``, hard links to such names, and every path that runs through a symbolic link out of
the destination, whoever made that link. Symbolic links themselves may point anywhere: a root filesystem has many that
only make sense once it is booted (``/etc/mtab -> /proc/mounts``).
"""

import os
import stat
from collections.abc import Callable, Iterator

from swagent.errors import ArchiveError, DeviceError, SizeError

from .api import Context
from .tarstream import (
    BLOCK_DEVICE,
    CHARACTER,
    FIFO,
    FOLDER,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarReader,
)
from .tree import Tree

MEMBERS_MAX = 4_000_000
LARGE_BYTES = 1024 * 1024
"""Members from this size on are only begun when the filesystem has room for them."""
MAJOR_MAX, MINOR_MAX = 2**12 - 1, 2**20 - 1

_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """One archive on its way into one tree.

    Args:
        reader: at the first member.
        tree: the destination.
        label: the archive, for messages.
        ctx: for cancelling and warnings.
        keep: preserve attributes.
    """

    def __init__(self, reader: TarReader, tree: Tree, label: str, ctx: Context, *, keep: bool) -> None:
        self._reader = reader
        self._tree = tree
        self._label = label
        self._ctx = ctx
        self._keep = keep
        self._parent: bytes | None = None
        self._fd = -1
        self._folders: dict[bytes, _Folder] = {}

    def run(self) -> None:
        """Unpack all members.

        Raises:
            ArchiveError: the archive is damaged, or asks for what is refused.
            DeviceError: the destination does not take it, or a path leads out of it.
            SizeError: the destination is full.
        """
        reader = self._reader
        tree = self._tree
        while reader.next():
            if not reader.members & 255:
                self._ctx.checkpoint()
                if reader.members > MEMBERS_MAX:
                    raise self._refused(f"has more than {MEMBERS_MAX} members")
            path = self._clean(reader.name)
            parent, _, name = path.rpartition(b"/")
            try:
                if parent != self._parent:
                    self._fd = tree.folder(parent, create=True)
                    self._parent = parent
                if reader.type == REGULAR and name:
                    self._file(name)
                else:
                    self._other(path, name)
            except OSError as exc:
                raise self._failed(exc) from exc
        for folder in reversed(self._folders.values()):
            try:
                folder.finish(tree)
            except OSError as exc:
                raise self._failed(exc) from exc

    def _file(self, name: bytes) -> None:
        reader = self._reader
        if reader.size_bytes >= LARGE_BYTES:
            self._look_for_room(reader.size_bytes)
        mode = reader.mode & 0o777
        try:
            fd = os.open(name, _FILE, mode, dir_fd=self._fd)
        except FileExistsError:
            self._make_way(name)
            fd = os.open(name, _FILE, mode, dir_fd=self._fd)
        try:
            data = reader.whole()
            if data is not None:
                while data:
                    data = data[os.write(fd, data) :]
            else:
                for piece in reader.pieces():
                    while piece:
                        piece = piece[os.write(fd, piece) :]
            if self._keep:
                uid, gid = reader.owner()
                made = os.fstat(fd)  # a change costs the filesystem's journal more than looking costs us
                if uid != made.st_uid or gid != made.st_gid:
                    os.fchown(fd, uid, gid)  # clears set-id bits and capabilities, so it comes first
                for key, value in self._xattrs():
                    os.setxattr(fd, key, value)
                if reader.mode != made.st_mode & 0o7777 or reader.pax:
                    os.fchmod(fd, reader.mode)
                time_ns = reader.mtime_ns()
                os.utime(fd, ns=(time_ns, time_ns))
        finally:
            os.close(fd)

    def _other(self, path: bytes, name: bytes) -> None:
        kind = self._reader.type
        if kind == FOLDER:
            self._folder(path, name)
        elif not name:
            raise self._refused("has a member that would replace the destination itself")
        elif kind == SYMLINK:
            if not self._reader.link:
                raise self._refused(f"has a link to nowhere: {self._reader.text()}")
            self._placed(name, lambda: os.symlink(self._reader.link, name, dir_fd=self._fd))
            self._dress(name)
        elif kind == HARD_LINK:
            self._hard_link(path, name)
        else:
            self._special(name, kind)

    def _folder(self, path: bytes, name: bytes) -> None:
        reader = self._reader
        mode = reader.mode & 0o777
        made = False
        if name:
            try:
                os.mkdir(name, mode | 0o700, dir_fd=self._fd)
                made = True
            except FileExistsError:
                if stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=self._fd)
                    os.mkdir(name, mode | 0o700, dir_fd=self._fd)
                    made = True
                else:
                    self._tree.folder(
                        path, create=False
                    )  # a folder, or a link to one that is inside: it stays
                    self._parent = None
        if self._keep:
            uid, gid = reader.owner()
            xattrs = tuple(self._xattrs())
            self._folders[path] = _Folder(path, reader.mode, uid, gid, reader.mtime_ns(), xattrs)
        elif made and mode & 0o700 != 0o700:
            self._folders[path] = _Folder(path, mode)

    def _hard_link(self, path: bytes, name: bytes) -> None:
        target = self._clean(self._reader.link)
        folder, _, target_name = target.rpartition(b"/")
        if target == path or not target_name:
            raise self._refused(f"has a hard link to itself: {self._reader.text()}")
        source = os.dup(self._tree.folder(folder, create=False))
        self._parent = path.rpartition(b"/")[0]
        try:
            self._fd = self._tree.folder(self._parent, create=False)
            self._placed(
                name,
                lambda: os.link(
                    target_name, name, src_dir_fd=source, dst_dir_fd=self._fd, follow_symlinks=False
                ),
            )
        finally:
            os.close(source)

    def _special(self, name: bytes, kind: int) -> None:
        reader = self._reader
        if not self._keep:
            raise self._refused(
                f"has a device node or FIFO: {reader.text()}", hint="set preserve-attributes = true"
            )
        device = 0
        if kind != FIFO:
            major, minor = reader.device_number()
            if major > MAJOR_MAX or minor > MINOR_MAX:
                raise self._refused(f"has an impossible device number for {reader.text()}")
            device = os.makedev(major, minor)
        form = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}[kind]
        self._placed(name, lambda: os.mknod(name, form | (reader.mode & 0o777), device, dir_fd=self._fd))
        self._dress(name)
        os.chmod(name, reader.mode, dir_fd=self._fd)  # what was made just now is no link

    def _placed(self, name: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._make_way(name)
            make()

    def _make_way(self, name: bytes) -> None:
        """Remove what has the name of a new member: never written through, so no link is followed."""
        mode = os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            os.rmdir(name, dir_fd=self._fd)
            self._folders.pop(self._parent + b"/" + name if self._parent else name, None)
        else:
            os.unlink(name, dir_fd=self._fd)
        if not stat.S_ISREG(mode):
            self._tree.forget()  # a path that was known may lead elsewhere now
            self._fd = self._tree.folder(self._parent or b"", create=False)

    def _dress(self, name: bytes) -> None:
        """Owner, time and extended attributes of what cannot be opened."""
        if not self._keep:
            return
        reader = self._reader
        uid, gid = reader.owner()
        os.chown(name, uid, gid, dir_fd=self._fd, follow_symlinks=False)
        for key, value in self._xattrs():
            os.setxattr(b"/proc/self/fd/%d/%s" % (self._fd, name), key, value, follow_symlinks=False)
        time_ns = reader.mtime_ns()
        os.utime(name, ns=(time_ns, time_ns), dir_fd=self._fd, follow_symlinks=False)

    def _xattrs(self) -> Iterator[tuple[bytes, bytes]]:
        pax = self._reader.pax
        if not pax:
            return
        for key, value in pax.items():
            if key.startswith(b"SCHILY.xattr."):
                name = key[13:]
            elif key == b"RHT.security.selinux":
                name = b"security.selinux"
            elif key.startswith(b"SCHILY.acl."):
                from .acl import encode_acl

                name = {b"access": b"system.posix_acl_access", b"default": b"system.posix_acl_default"}.get(
                    key[11:], b""
                )
                value = encode_acl(value, self._label)
            else:
                continue
            if not name or b"\0" in name or len(name) > 255:
                raise self._refused(f"has an impossible extended attribute for {self._reader.text()}")
            yield name, value

    def _clean(self, name: bytes) -> bytes:
        """A name without ``./`` and doubled slashes; b"" is the destination itself."""
        if name[:2] == b"./":
            name = name[2:]
        if name and b"/." not in name and b"//" not in name and name[0] not in b"/." and name[-1] != 47:
            return name
        if name.startswith(b"/"):
            raise self._refused(f"has an absolute name: {self._reader.text()}")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise self._refused(f"has a name that leads out of the destination: {self._reader.text()}")
        if not parts and not name and not self._reader.name:
            raise self._refused("has a member without a name")
        return b"/".join(parts)

    def _look_for_room(self, size_bytes: int) -> None:
        space = os.fstatvfs(self._fd)
        free_bytes = space.f_bfree * space.f_frsize
        if size_bytes > free_bytes:
            raise SizeError(
                f"{self._reader.text()} in {self._label} has {size_bytes} bytes, {free_bytes} are free",
                artifact=self._label,
                handler="archive",
            )

    def _refused(self, why: str, hint: str = "") -> ArchiveError:
        return ArchiveError(
            f"the archive {self._label} {why}", artifact=self._label, handler="archive", hint=hint
        )

    def _failed(self, exc: OSError) -> DeviceError:
        text = self._reader.text()
        return DeviceError(
            f"cannot unpack {text} from {self._label}: {exc.strerror}",
            path=text,
            errno=exc.errno,
            artifact=self._label,
            handler="archive",
        )


class _Folder:
    """What a folder gets when everything is in it: mode and time would not survive, or be in the way, before."""

    def __init__(
        self,
        path: bytes,
        mode: int,
        uid: int = -1,
        gid: int = -1,
        time_ns: int | None = None,
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.path, self.mode, self.uid, self.gid = path, mode, uid, gid
        self.time_ns, self.xattrs = time_ns, xattrs

    def finish(self, tree: Tree) -> None:
        """Set them; without a time, only take permissions away (the umask has had its say already)."""
        fd = tree.folder(self.path, create=False)
        if self.time_ns is None:
            os.fchmod(fd, os.fstat(fd).st_mode & self.mode)
            return
        os.fchown(fd, self.uid, self.gid)
        for key, value in self.xattrs:
            os.setxattr(fd, key, value)
        os.fchmod(fd, self.mode)
        os.utime(fd, ns=(self.time_ns, self.time_ns))
