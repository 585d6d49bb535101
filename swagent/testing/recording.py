"""Records what a program in this process does to the files below a folder, for ``powercut``.

While a ``Recorder`` is entered, the functions of ``os`` that change files, ``open`` and syncfs through ctypes do what
they always do, and note it. Programs that were started, extension modules and functions not named in ``Recorder`` are
not seen; a recording that does not explain what the files hold at the end is refused for that reason.
"""

import builtins
import ctypes
import fcntl
import io
import os
import stat
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .powercut import Operation, Recording, read_tree


class Recorder:
    """A context manager; ``recording`` is there when it was left without an error. One at a time in a process.

    Changes of files are made one after the other meanwhile, so that their order is that of completion; threads that
    write several files at once wait for each other.

    Args:
        root: a folder that holds only files and folders. Renames into and out of it, and of folders, are refused.

    Raises:
        ValueError: on entry, when there is something else in it.
        RuntimeError: on leaving, when files were changed in a way that was not seen.
    """

    recording: Recording

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.realpath(root)
        self._lock = threading.RLock()
        self._operations: list[Operation] = []
        self._nodes: dict[tuple[int, int], int] = {}
        self._paths: dict[str, int] = {}
        self._count = 0
        self._saved: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> "Recorder":
        self._before = read_tree(self._root)
        for path in self._before.files:
            self._number(path, os.stat(os.path.join(self._root, path)))
        for name in _WRAPPED:
            self._put(os, name, getattr(self, f"_{name}"))
        self._put(os, "replace", self._rename)
        self._put(os, "remove", self._unlink)
        self._put(os, "fdatasync", self._fsync)
        self._put(builtins, "open", self._open_file)
        self._put(io, "open", self._open_file)
        self._put(ctypes, "CDLL", self._library())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for where, name, value in reversed(self._saved):
            setattr(where, name, value)
        if exc is not None:
            return
        self.recording = Recording(self._before, tuple(self._operations))
        ours, theirs = self.recording.end(), read_tree(self._root)
        if ours != theirs:
            changed = {name for name, _ in ours.files.items() ^ theirs.files.items()}
            names = ", ".join(sorted(changed | (ours.folders ^ theirs.folders)))
            raise RuntimeError(f"changed in a way that was not recorded: {names}")

    def _put(self, where: Any, name: str, value: Any) -> None:
        self._saved.append((where, name, getattr(where, name)))
        setattr(where, name, value)

    def _real(self, name: str) -> Any:
        return next(value for where, known, value in self._saved if where is os and known == name)

    # -- who is who

    def _number(self, path: str, status: os.stat_result) -> int:
        """A number for a new file; the kernel may use an inode's number again, so it replaces an old one."""
        node = self._count
        self._count += 1
        self._nodes[status.st_dev, status.st_ino] = self._paths[path] = node
        return node

    def _where(self, path: Any, dir_fd: int | None) -> str | None:
        """A path relative to the root, None when it leads elsewhere."""
        name = os.fsdecode(path)
        if dir_fd is not None and not os.path.isabs(name):
            name = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), name)
        folder, last = os.path.split(os.path.abspath(name))
        full = os.path.join(os.path.realpath(folder), last)
        if full == self._root:
            return ""
        return os.path.relpath(full, self._root) if full.startswith(self._root + os.sep) else None

    def _file(self, fd: int) -> tuple[int, str, int] | None:
        """Number, path and size of the file behind a descriptor, None when it is not recorded."""
        status = os.fstat(fd)
        node = self._nodes.get((status.st_dev, status.st_ino))
        if node is None or not stat.S_ISREG(status.st_mode):
            return None
        path = next((path for path, known in self._paths.items() if known == node), "(no name)")
        return node, path, status.st_size

    def _note(self, operation: Operation) -> None:
        self._operations.append(operation)

    # -- names

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        real = self._real("open")
        where = self._where(path, dir_fd) if flags & (os.O_CREAT | os.O_TRUNC) else None
        if where is None:
            return int(real(path, flags, mode, dir_fd=dir_fd))
        with self._lock:
            known = where in self._paths
            size_bytes = os.stat(os.path.join(self._root, where)).st_size if known else 0
            fd = int(real(path, flags, mode, dir_fd=dir_fd))
            if not known:
                self._note(Operation("create", where, self._number(where, os.fstat(fd))))
            elif flags & os.O_TRUNC and size_bytes:
                self._note(Operation("truncate", where, self._paths[where]))
        return fd

    def _rename(
        self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        real = self._real("rename")
        old, new = self._where(src, src_dir_fd), self._where(dst, dst_dir_fd)
        if old is None and new is None:
            real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            return
        if old not in self._paths or new is None:
            raise ValueError(f"cannot record that {src!r} is renamed to {dst!r}")
        with self._lock:
            real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            node = self._paths[new] = self._paths.pop(old)
            self._note(Operation("rename", old, node, target=new))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        where = self._where(path, dir_fd)
        with self._lock:
            self._real("unlink")(path, dir_fd=dir_fd)
            if where is not None:
                self._note(Operation("unlink", where, self._paths.pop(where)))

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        where = self._where(path, dir_fd)
        with self._lock:
            self._real("mkdir")(path, mode, dir_fd=dir_fd)
            if where is not None:
                self._note(Operation("mkdir", where))

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        where = self._where(path, dir_fd)
        with self._lock:
            self._real("rmdir")(path, dir_fd=dir_fd)
            if where is not None:
                self._note(Operation("rmdir", where))

    # -- bytes

    def written(self, fd: int, data: Any, offset_bytes: int | None, write: Callable[[], int]) -> int:
        """Note a write that ``write`` does; ``offset_bytes`` None means where the descriptor stands."""
        if self._file(fd) is None:
            return write()  # not under the lock: a full pipe may wait for another thread
        with self._lock:
            file = self._file(fd)
            assert file is not None  # noqa: S101 - for the type checker: a file does not become another one
            node, path, size_bytes = file
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            if flags & os.O_APPEND:
                offset_bytes = size_bytes
            elif offset_bytes is None:
                offset_bytes = os.lseek(fd, 0, os.SEEK_CUR)
            n = write()
            piece = bytes(memoryview(data).cast("B")[:n])
            synchronous = bool(flags & os.O_DSYNC)
            self._note(Operation("write", path, node, offset_bytes, piece, synchronous=synchronous))
        return n

    def _write(self, fd: int, data: Any) -> int:
        return self.written(fd, data, None, lambda: self._real("write")(fd, data))

    def _pwrite(self, fd: int, data: Any, offset: int) -> int:
        return self.written(fd, data, offset, lambda: self._real("pwrite")(fd, data, offset))

    def _writev(self, fd: int, buffers: Any) -> int:
        return self.written(fd, b"".join(buffers), None, lambda: self._real("writev")(fd, buffers))

    def _pwritev(self, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        real = self._real("pwritev")
        return self.written(fd, b"".join(buffers), offset, lambda: real(fd, buffers, offset, flags))

    def _ftruncate(self, fd: int, length: int) -> None:
        with self._lock:
            self._real("ftruncate")(fd, length)
            file = self._file(fd)
            if file is not None:
                self._note(Operation("truncate", file[1], file[0], size_bytes=length))

    def _truncate(self, path: Any, length: int) -> None:
        fd = path if isinstance(path, int) else os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, length)
        finally:
            if fd is not path:
                os.close(fd)

    # -- promises

    def _fsync(self, fd: Any) -> None:
        fd = fd if isinstance(fd, int) else fd.fileno()
        with self._lock:
            self._real("fsync")(fd)
            file = self._file(fd)
            if file is not None:
                self._note(Operation("sync", file[1], file[0]))
            elif stat.S_ISDIR(os.fstat(fd).st_mode):
                where = self._where(os.readlink(f"/proc/self/fd/{fd}"), None)
                if where is not None:
                    self._note(Operation("sync-folder", where))

    def _sync(self) -> None:
        with self._lock:
            self._real("sync")()
            self._note(Operation("sync-all", ""))

    def _library(self) -> type[ctypes.CDLL]:
        recorder = self

        class Library(ctypes.CDLL):
            """A C library whose syncfs is noted when it syncs the filesystem of the root."""

            def __getattr__(self, name: str) -> Any:
                real = super().__getattr__(name)
                if name != "syncfs":
                    return real

                def syncfs(fd: int) -> int:
                    with recorder._lock:
                        answer = int(real(fd))
                        if answer == 0 and os.fstat(fd).st_dev == os.stat(recorder._root).st_dev:
                            recorder._note(Operation("sync-all", ""))
                    return answer

                setattr(self, name, syncfs)  # what the class above has remembered goes straight to the kernel
                return syncfs

        return Library

    # -- open()

    def _open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        real = next(value for where, _, value in self._saved if where is builtins)
        mine = self._file(file) if isinstance(file, int) else self._where(file, None)
        if mine is None or not set(mode) & set("wax+"):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _RecordedFile(
            self, file, mode.replace("t", "").replace("b", ""), closefd, opener or _by_os_open
        )
        if buffering == 0:
            return raw
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


_WRAPPED = (
    *("open", "rename", "unlink", "mkdir", "rmdir"),
    *("write", "pwrite", "writev", "pwritev", "ftruncate", "truncate"),
    *("fsync", "sync"),
)


def _by_os_open(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666)


class _RecordedFile(io.FileIO):
    """What open() puts below its buffer; the usual one writes without asking ``os``."""

    def __init__(self, recorder: Recorder, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self._recorder = recorder
        super().__init__(file, mode, closefd, opener)

    def write(self, data: Any) -> int:
        return self._recorder.written(self.fileno(), data, None, lambda: io.FileIO.write(self, data) or 0)

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length
