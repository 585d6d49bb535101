"""What a power cut may leave of the files that a program was writing.

``recording.Recorder`` notes what a program does to the files below a folder. A ``Recording`` of it can be cut at every
point: ``cuts`` lists ways to lose power, ``Recording.crash`` gives the files that would be found afterwards.

The disk is as bad as POSIX allows, which is worse than ext4 is in practice:

- Written bytes are safe when fsync, fdatasync, syncfs or sync on them has returned. Of later writes any subset may have
  arrived, in any order; each may be torn between sectors of 512 bytes. A sector is old or new, never a mixture.
- A file's size is safe with its bytes. Without them, what it has grown by may read as zeros.
- Names made, changed or removed are safe when their folder was synced (or all by syncfs); before that, any subset may
  have happened. Syncing a file does not save its name. A rename happens whole or not at all.
- O_DIRECT saves nothing (disks have caches); O_SYNC and O_DSYNC save the write itself.

Owner, mode and times are not followed. A sector that goes bad while it is written is beyond this model.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

SECTOR_BYTES = 512

Kind = Literal[
    "write", "truncate", "create", "rename", "unlink", "mkdir", "rmdir", "sync", "sync-folder", "sync-all"
]


class Tree(NamedTuple):
    """Files and folders; all paths are relative to one root.

    Attributes:
        files: path to content.
        folders: the root itself apart.
    """

    files: dict[str, bytes]
    folders: frozenset[str]

    def restore(self, root: str | os.PathLike[str]) -> None:
        """Make ``root``, a folder that exists, hold this and nothing else."""
        top = Path(root)
        for path in sorted(top.rglob("*"), reverse=True):  # what is in a folder before the folder
            name = str(path.relative_to(top))
            if path.is_dir() and not path.is_symlink():
                if name not in self.folders:
                    path.rmdir()
            elif name not in self.files:
                path.unlink()
        for name in sorted(self.folders):
            (top / name).mkdir(exist_ok=True)
        for name, content in self.files.items():
            (top / name).write_bytes(content)


def read_tree(root: str | os.PathLike[str]) -> Tree:
    """What is below a folder now.

    Raises:
        ValueError: something there is neither a file with one name nor a folder.
    """
    files: dict[str, bytes] = {}
    folders = set()
    top = Path(root)
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path} is neither a file nor a folder")
        if path.is_dir():
            folders.add(name)
            continue
        if path.stat().st_nlink != 1:
            raise ValueError(f"{path} has more than one name")
        files[name] = path.read_bytes()
    return Tree(files, frozenset(folders))


class Operation(NamedTuple):
    """One thing done to the files, in the order of completion.

    Attributes:
        kind: what was done; truncate also lengthens.
        path: relative to the root, as it was called then; "" is the root itself.
        node: which file: its number, that stays when names change. Files there from the beginning are numbered from 0
            in the order of ``Tree.files``. -1 where no file is meant.
        offset_bytes: of a write.
        data: of a write.
        size_bytes: of truncate: the new size.
        target: of rename: the new name.
        synchronous: of a write: durable when it returned.
    """

    kind: Kind
    path: str
    node: int = -1
    offset_bytes: int = 0
    data: bytes = b""
    size_bytes: int = 0
    target: str = ""
    synchronous: bool = False

    def __str__(self) -> str:
        if self.kind == "write":
            return f"write {self.path} {self.offset_bytes}+{len(self.data)}"
        if self.kind == "truncate":
            return f"truncate {self.path} to {self.size_bytes}"
        return f"{self.kind} {self.path or '.'}" + (f" to {self.target}" if self.target else "")


class Cut(NamedTuple):
    """One way to lose power.

    Attributes:
        point: how many operations had completed.
        data: of what was written and not synced, everything is lost, everything is kept, or sectors of it by chance.
        names: the same of names that were not synced.
        seed: makes chance repeatable.
    """

    point: int
    data: Literal["lost", "kept", "torn"]
    names: Literal["lost", "kept", "some"]
    seed: int = 0


class Recording(NamedTuple):
    """What a program did to files.

    Attributes:
        before: as they were; all of it is taken to be durable.
        operations: in the order of completion.
    """

    before: Tree
    operations: tuple[Operation, ...]

    def crash(self, cut: Cut) -> Tree:
        """What is found after ``cut``."""
        disk = _Disk(self.before)
        for operation in self.operations[: cut.point]:
            disk.apply(operation)
        return disk.crash(cut)

    def crashes(self, cuts: list[Cut]) -> Iterator[tuple[Cut, Tree]]:
        """Each cut with what is found after it; in one go, so cuts must come in the order of their points."""
        disk = _Disk(self.before)
        done = 0
        for cut in cuts:
            for operation in self.operations[done : cut.point]:
                disk.apply(operation)
            done = cut.point
            yield cut, disk.crash(cut)

    def end(self) -> Tree:
        """What a program sees that reads the files after the last operation, without a cut."""
        return self.crash(Cut(len(self.operations), "kept", "kept"))

    def story(self, cut: Cut, last: int = 8) -> str:
        """The cut in words, with the operations before it, for messages."""
        begin = max(0, cut.point - last)
        lines = [f"{begin + n}: {op}" for n, op in enumerate(self.operations[begin : cut.point], 1)]
        return "\n".join([f"{cut} of {len(self.operations)}, after", *lines])


def cuts(recording: Recording, *, by_chance: int, seed: int = 0) -> list[Cut]:
    """Ways to lose power after each operation, in order.

    Where nothing waits to be synced there is one way; else all that can be said about everything at once, and
    ``by_chance`` subsets beside it.

    Args:
        recording: of the program.
        by_chance: for each point where bytes or names wait.
        seed: other subsets for another number.
    """
    found: list[Cut] = []
    disk = _Disk(recording.before)
    for point in range(len(recording.operations) + 1):
        if point:
            disk.apply(recording.operations[point - 1])
        data, names = disk.waiting()
        found += [
            Cut(point, one, other)
            for one in (("lost", "kept") if data else ("kept",))
            for other in (("lost", "kept") if names else ("kept",))
        ]
        if data or names > 1:
            found += [Cut(point, "torn", "some", seed + n) for n in range(by_chance)]
    return found


class _File:
    """A file's content on the medium, and what was done to it since."""

    def __init__(self, content: bytes) -> None:
        self.durable = content
        self.waiting: list[Operation] = []

    def sync(self) -> None:
        self.durable = self.content("kept", random.Random(0))  # noqa: S311 - not used: nothing is left to chance
        self.waiting.clear()

    def content(self, data: str, dice: random.Random) -> bytes:
        if not self.waiting:
            return self.durable
        content = bytearray(self.durable)
        kept = dice.choice((0.05, 0.5, 0.95))
        for operation in self.waiting:
            if data == "kept" or operation.synchronous or (data == "torn" and dice.random() < kept):
                _keep(content, operation)
            elif data == "torn" and operation.kind == "write" and dice.random() < 0.7:
                _tear(content, operation, dice)
        return bytes(content)


def _keep(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.size_bytes :]
        content.extend(bytes(operation.size_bytes - len(content)))
        return
    end = operation.offset_bytes + len(operation.data)
    content.extend(bytes(max(0, end - len(content))))
    content[operation.offset_bytes : end] = operation.data


def _tear(content: bytearray, operation: Operation, dice: random.Random) -> None:
    """Some sectors of a write: a run of them, or here and there; the size may have grown without the bytes."""
    begin, end = operation.offset_bytes, operation.offset_bytes + len(operation.data)
    sectors = range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES))
    if dice.random() < 0.5:
        first, last = sorted(dice.choices(range(sectors.start, sectors.stop + 1), k=2))
        arrived = list(range(first, last))
    else:
        share = dice.choice((0.02, 0.5, 0.98))
        arrived = [sector for sector in sectors if dice.random() < share]
    if dice.random() < 0.5:
        content.extend(bytes(max(0, end - len(content))))
    for sector in arrived:
        here = max(begin, sector * SECTOR_BYTES)
        there = min(end, (sector + 1) * SECTOR_BYTES)
        content.extend(bytes(max(0, there - len(content))))
        content[here:there] = operation.data[here - begin : there - begin]


class _Disk:
    """The medium and what waits to get there."""

    def __init__(self, before: Tree) -> None:
        self._files = {node: _File(content) for node, content in enumerate(before.files.values())}
        self._names = {name: node for node, name in enumerate(before.files)}
        self._folders = set(before.folders)
        self._waiting: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        kind = operation.kind
        if kind in ("write", "truncate"):
            self._files[operation.node].waiting.append(operation)
        elif kind == "sync":
            self._files[operation.node].sync()
        elif kind == "sync-folder":
            self._sync_names([each for each in self._waiting if _folder_of(each) == operation.path])
        elif kind == "sync-all":
            for file in self._files.values():
                file.sync()
            self._sync_names(self._waiting)
        else:
            if kind == "create":
                self._files[operation.node] = _File(b"")
            self._waiting.append(operation)

    def waiting(self) -> tuple[int, int]:
        """How many writes and how many changes of names wait."""
        return sum(len(file.waiting) for file in self._files.values()), len(self._waiting)

    def crash(self, cut: Cut) -> Tree:
        dice = random.Random(f"{cut.point} {cut.seed}")  # noqa: S311 - repeatable on purpose
        names, folders = dict(self._names), set(self._folders)
        share = dice.choice((0.2, 0.5, 0.8))
        for operation in self._waiting:
            if cut.names == "kept" or (cut.names == "some" and dice.random() < share):
                _change(names, folders, operation)
        folders = {folder for folder in folders if _reachable(folder, folders)}
        found = {name: node for name, node in names.items() if _reachable(os.path.dirname(name), folders)}
        files = {name: self._files[node].content(cut.data, dice) for name, node in sorted(found.items())}
        return Tree(files, frozenset(folders))

    def _sync_names(self, operations: list[Operation]) -> None:
        for operation in operations:
            _change(self._names, self._folders, operation)
        self._waiting = [each for each in self._waiting if each not in operations]


def _folder_of(operation: Operation) -> str:
    return os.path.dirname(operation.target or operation.path)


def _change(names: dict[str, int], folders: set[str], operation: Operation) -> None:
    kind, path = operation.kind, operation.path
    if kind == "create":
        names[path] = operation.node
    elif kind == "rename":
        names[operation.target] = operation.node
        if names.get(path) == operation.node:
            del names[path]
    elif kind == "unlink":
        if names.get(path) == operation.node:
            del names[path]
    elif kind == "mkdir":
        folders.add(path)
    elif kind == "rmdir":
        folders.discard(path)


def _reachable(folder: str, folders: set[str]) -> bool:
    """Whether the folder and all above it are there."""
    while folder:
        if folder not in folders:
            return False
        folder = os.path.dirname(folder)
    return True
