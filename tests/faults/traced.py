"""Records what a piece of this program does to the files below a folder, whoever does it: SQLite's own writes too.

``swagent.testing.recording`` sees what goes through Python. Here strace sees it all, in a child that does the work.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from swagent.testing.powercut import Operation, Recording, read_tree
from tests.programs import need

CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,syncfs,"
    "sync,sync_file_range,copy_file_range,sendfile,splice"
)
_LINE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PIECE = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')


def recorded(folder: Path, trace: Path, work: Callable[[], None]) -> Recording:
    """What ``work`` does to the files below a folder, done by a child; skips the test where that cannot be traced."""
    need("strace")
    before = read_tree(folder)
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.read(ready, 1)
            work()
            status = 0
        finally:
            os._exit(status)
    strace = subprocess.Popen(
        ["strace", "-p", str(child), "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(trace)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr is not None
    attached = "attached" in strace.stderr.readline()
    os.write(go, b"x")
    _, status = os.waitpid(child, 0)
    strace.communicate()
    os.close(ready)
    os.close(go)
    if not attached:
        pytest.skip("needs the right to trace processes")
    assert status == 0, "the work failed"
    operations = _Reading(folder).operations(trace.read_text().splitlines(), before.files)
    recording = Recording(before, tuple(operations))
    assert recording.end() == read_tree(folder), "something was not seen"
    return recording


class _File:
    """A file that is open: its number, its path, and where the next write goes."""

    def __init__(self, node: int, path: str) -> None:
        self.node = node
        self.path = path
        self.position = 0


class _Reading:
    """Makes operations of strace's lines, for one process with one thread."""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.realpath(folder)
        self._open: dict[int, _File | str] = {}  # a folder by its path
        self._found: list[Operation] = []
        self._count = 0

    def operations(self, lines: list[str], files: dict[str, bytes]) -> list[Operation]:
        self._names = {name: node for node, name in enumerate(files)}
        self._count = len(files)
        for line in lines:
            assert "unfinished" not in line, "more than one thread"
            call = _LINE.match(line)
            if call and int(call[3]) >= 0:
                self._take(call[1], call[2], int(call[3]))
        return self._found

    def _take(self, name: str, words: str, answer: int) -> None:
        if name in ("openat", "open", "creat"):
            self._opened(words, answer)
        elif name in ("write", "pwrite64", "writev"):
            self._written(name, words, answer)
        elif name.startswith(("rename", "unlink", "mkdir", "rmdir")):
            self._named(name, words)
        elif name in ("dup", "dup2", "dup3") or (name == "fcntl" and "F_DUPFD" in words):
            if (file := self._open.get(_first(words))) is not None:
                self._open[answer] = file
        elif name == "close":
            self._open.pop(_first(words), None)
        elif name == "lseek":
            if isinstance(file := self._open.get(_first(words)), _File):
                file.position = answer
        elif name in ("fsync", "fdatasync"):
            file = self._open.get(_first(words))
            if isinstance(file, _File):
                self._note("sync", file.path, file.node)
            elif file is not None:
                self._note("sync-folder", file)
        elif name == "ftruncate":
            if isinstance(file := self._open.get(_first(words)), _File):
                size = int(words.rsplit(", ", 1)[1])
                self._found.append(Operation("truncate", file.path, file.node, size_bytes=size))
        elif name in ("syncfs", "sync"):
            self._note("sync-all", "")
        elif name != "fcntl":
            assert not isinstance(self._open.get(_first(words)), _File), f"{name} is not understood"
            assert not any(self._below(path) for path in _texts(words)), f"{name} is not understood"

    def _opened(self, words: str, fd: int) -> None:
        path = self._place(words, _texts(words)[0])
        if path is None:
            self._open.pop(fd, None)
            return
        if path == "" or os.path.isdir(os.path.join(self._root, path)) or "O_DIRECTORY" in words:
            self._open[fd] = path
            return
        if path not in self._names:
            assert "O_CREAT" in words, path
            self._names[path] = self._count
            self._count += 1
            self._note("create", path, self._names[path])
        elif "O_TRUNC" in words:
            self._found.append(Operation("truncate", path, self._names[path]))
        assert "O_APPEND" not in words
        assert "SYNC" not in words
        self._open[fd] = _File(self._names[path], path)

    def _written(self, name: str, words: str, answer: int) -> None:
        file = self._open.get(_first(words))
        if not isinstance(file, _File):
            return
        pieces = _PIECE.findall(words) if name == "writev" else [_TEXT.findall(words)[0]]
        data = b"".join(bytes.fromhex(piece.replace("\\x", "")) for piece in pieces)[:answer]
        assert len(data) == answer
        at = int(words.rsplit(", ", 1)[1]) if name == "pwrite64" else file.position
        self._found.append(Operation("write", file.path, file.node, at, data))
        if name != "pwrite64":
            file.position += answer

    def _named(self, name: str, words: str) -> None:
        paths = [self._place(words, text) for text in _texts(words)]
        if paths[0] is None:
            return
        if name.startswith("rename"):
            assert paths[1] is not None, "a rename out of the folder"
            node = self._names[paths[1]] = self._names.pop(paths[0])
            self._found.append(Operation("rename", paths[0], node, target=paths[1]))
        elif name.startswith("mkdir"):
            self._note("mkdir", paths[0])
        elif name == "rmdir" or "AT_REMOVEDIR" in words:
            self._note("rmdir", paths[0])
        else:
            self._note("unlink", paths[0], self._names.pop(paths[0]))

    def _place(self, words: str, text: str) -> str | None:
        """A path below the root, None when it leads elsewhere."""
        if os.path.isabs(text) or not words[0].isdigit():
            return self._below(text)
        base = self._open.get(_first(words))
        return os.path.normpath(os.path.join(base, text)) if isinstance(base, str) else None

    def _below(self, text: str) -> str | None:
        full = os.path.normpath(text)
        if full == self._root:
            return ""
        return os.path.relpath(full, self._root) if full.startswith(self._root + os.sep) else None

    def _note(self, kind: str, path: str, node: int = -1) -> None:
        self._found.append(Operation(kind, path, node))  # type: ignore[arg-type]  # one of the kinds


def _first(words: str) -> int:
    found = re.match(r"\d+", words)
    return int(found[0]) if found else -1


def _texts(words: str) -> list[str]:
    return [os.fsdecode(bytes.fromhex(text.replace("\\x", ""))) for text in _TEXT.findall(words)]
