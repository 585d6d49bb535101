"""The recorder and the model of a disk, on small programs; strace is the witness of a whole update."""

import ctypes
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from swagent.hw.sync import sync_filesystem
from swagent.store import replace
from swagent.store.atomic import make_folders
from swagent.testing.powercut import SECTOR_BYTES, Cut, Recording, Tree, cuts, read_tree
from swagent.testing.recording import Recorder
from tests.programs import PROJECT, need, run

from .unit import Loader, Unit

OLD, NEW = b"old\n" * 500, b"new!\n" * 700


def record(root: Path, program: Callable[[], object]) -> Recording:
    with Recorder(root) as recorder:
        program()
    return recorder.recording


def contents(recording: Recording, name: str) -> set[bytes | None]:
    """What a file may hold after any cut; None where it is not there."""
    return {tree.files.get(name) for _, tree in recording.crashes(cuts(recording, by_chance=30))}


def at_the_end(recording: Recording, name: str) -> set[bytes | None]:
    """The same for cuts after the last operation."""
    last = [cut for cut in cuts(recording, by_chance=30) if cut.point == len(recording.operations)]
    return {tree.files.get(name) for _, tree in recording.crashes(last)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    (path / "file").write_bytes(OLD)
    return path


def rename_over(root: Path, *, sync: bool, sync_name: bool = True) -> None:
    with open(root / "new", "wb") as file:
        file.write(NEW)
        if sync:
            file.flush()
            os.fsync(file)
    os.rename(root / "new", root / "file")
    if sync_name:
        folder = os.open(root, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def test_a_file_replaced_with_care_is_old_or_new(root: Path) -> None:
    recording = record(root, lambda: replace(str(root / "file"), NEW))
    assert contents(recording, "file") == {OLD, NEW}
    assert at_the_end(recording, "file") == {NEW}


def test_renamed_before_it_is_synced_a_file_may_be_empty_or_torn(root: Path) -> None:
    found = contents(record(root, lambda: rename_over(root, sync=False)), "file")
    assert b"" in found
    assert len(found - {b"", OLD, NEW}) > 3


def test_a_rename_is_not_durable_before_its_folder_is(root: Path) -> None:
    recording = record(root, lambda: rename_over(root, sync=True, sync_name=False))
    assert at_the_end(recording, "file") == {OLD, NEW}


def test_what_is_overwritten_in_place_is_torn_at_sectors(root: Path) -> None:
    def overwrite() -> None:
        with open(root / "file", "r+b", buffering=0) as file:
            file.seek(100)
            file.write(bytes(1500))
            os.fdatasync(file.fileno())

    recording = record(root, overwrite)
    new = OLD[:100] + bytes(1500) + OLD[1600:]
    for content in contents(recording, "file"):
        assert content is not None
        for at in range(0, len(OLD), SECTOR_BYTES):
            assert content[at : at + SECTOR_BYTES] in (
                OLD[at : at + SECTOR_BYTES],
                new[at : at + SECTOR_BYTES],
            )
    assert len(contents(recording, "file")) > 4
    assert at_the_end(recording, "file") == {new}


def test_later_writes_may_arrive_before_earlier_ones(root: Path) -> None:
    def twice() -> None:
        fd = os.open(root / "file", os.O_WRONLY)
        os.pwrite(fd, b"1" * 512, 0)
        os.pwrite(fd, b"2" * 512, 512)
        os.close(fd)

    assert OLD[:512] + b"2" * 512 + OLD[1024:] in contents(record(root, twice), "file")


def test_a_synchronous_write_is_durable_at_once(root: Path) -> None:
    def write() -> None:
        fd = os.open(root / "file", os.O_WRONLY | os.O_DSYNC)
        os.write(fd, b"x" * len(OLD))
        os.close(fd)

    assert at_the_end(record(root, write), "file") == {b"x" * len(OLD)}


@pytest.mark.parametrize("how", ["syncfs", "sync"])
def test_everything_is_durable_after_syncfs(root: Path, how: str) -> None:
    def write() -> None:
        (root / "folder").mkdir()
        (root / "folder" / "other").write_text("text")
        os.truncate(root / "file", 3)
        if how == "sync":
            os.sync()
            return
        fd = os.open(root, os.O_RDONLY)
        sync_filesystem(fd)
        os.close(fd)

    library = ctypes.CDLL
    recording = record(root, write)
    assert ctypes.CDLL is library
    assert at_the_end(recording, "file") == {OLD[:3]}
    assert at_the_end(recording, "folder/other") == {b"text"}


def test_folders_made_for_good(root: Path) -> None:
    def durable() -> None:
        make_folders(str(root / "a/b/c"))
        replace(str(root / "a/b/c/file"), NEW)

    def careless() -> None:
        os.makedirs(root / "x/y")
        replace(str(root / "x/y/file"), NEW)

    assert at_the_end(record(root, durable), "a/b/c/file") == {NEW}
    assert at_the_end(record(root, careless), "x/y/file") == {NEW, None}


def test_names_come_and_go(root: Path) -> None:
    def program() -> None:
        folder = os.open(root, os.O_RDONLY)
        os.mkdir("sub", dir_fd=folder)
        fd = os.open("sub/one", os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder)
        os.writev(fd, [b"a", b"b"])
        os.ftruncate(fd, 1)
        os.close(fd)
        os.replace("sub/one", "two", src_dir_fd=folder, dst_dir_fd=folder)
        os.rmdir("sub", dir_fd=folder)
        os.remove(root / "file")
        with open(root / "log", "a") as log:
            log.write("one\n")
        with open(root / "log", "a") as log:
            log.write("two\n")
        os.close(folder)

    recording = record(root, program)
    assert recording.end() == read_tree(root) == Tree({"two": b"a", "log": b"one\ntwo\n"}, frozenset())
    assert recording.crash(Cut(len(recording.operations), "lost", "lost")) == recording.before
    assert {OLD, None} <= contents(recording, "file")


def test_threads_are_recorded_in_the_order_of_completion(root: Path) -> None:
    fd = os.open(root / "file", os.O_RDWR)

    def write(value: int) -> None:
        for _ in range(200):
            os.pwrite(fd, bytes([value]) * 64, 0)

    def program() -> None:
        threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    recording = record(root, program)  # refused if the last write were not the last one of the recording
    os.close(fd)
    assert len(recording.operations) == 800


def test_a_change_that_was_not_seen_is_refused(root: Path) -> None:
    with pytest.raises(RuntimeError, match="not recorded: file"):
        record(root, lambda: subprocess.run(["sh", "-c", f"echo > {root}/file"], check=True))
    with pytest.raises(ValueError, match="cannot record"):
        record(root, lambda: os.rename(root / "file", root.parent / "file"))


def test_others_are_left_alone(root: Path, tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "elsewhere").write_text("text")
        os.rename(tmp_path / "elsewhere", tmp_path / "there")
        reading, writing = os.pipe()
        os.write(writing, b"x")
        os.close(reading)
        os.close(writing)

    assert record(root, program).operations == ()


def test_a_tree_is_restored(root: Path) -> None:
    tree = Tree({"a/file": b"1", "b": b""}, frozenset({"a", "c"}))
    (root / "gone").mkdir()
    tree.restore(root)
    assert read_tree(root) == tree


# -- the witness

_CALLS = "openat,write,pwrite64,writev,pwritev,ftruncate,truncate,fsync,fdatasync,syncfs,sync,sendfile," \
    "copy_file_range,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink," \
    "symlinkat,mmap"  # fmt: skip


def traced(lines: list[str], root: str) -> list[str]:
    """What strace saw below ``root``, in the words of ``Operation``; names of temporary files without process ids."""
    seen: list[str] = []
    positions: dict[str, int] = {}
    made: set[str] = set()
    halves: dict[str, str] = {}
    for line in lines:
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            halves[pid] = call.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", call)
        if resumed:
            call = halves.pop(pid) + resumed[1]
        found = re.match(r"(\w+)\((.*)\)\s+= (-?\d+)", call)
        if not found or int(found[3]) < 0:
            continue
        name, words, answer = found[1], found[2], int(found[3])
        paths = [
            path.removeprefix(root + "/")
            for path in re.findall(rf'[<"]({re.escape(root)}[^>"]*)[>"]', words + call)
        ]
        paths = [re.sub(r"swagent-\d+$", "swagent-PID", path) for path in paths if path != root]
        if name == "syncfs":
            seen.append("sync-all .")
        elif name == "fsync" and not paths and f"<{root}>" in words:
            seen.append("sync-folder .")
        if not paths:
            continue
        path = paths[0]
        if name == "openat":
            positions[path] = 0
            if "O_CREAT" in words and path not in made:
                made.add(path)
                seen.append(f"create {path}")
        elif name in ("write", "pwrite64"):
            at = int(words.rsplit(", ", 1)[1]) if name == "pwrite64" else positions[path]
            positions[path] = at + answer
            seen.append(f"write {path} {at}+{answer}")
        elif name in ("fsync", "fdatasync"):
            seen.append(f"sync {path}")
        elif name.startswith("rename"):
            made.discard(path)
            seen.append(f"rename {path} to {paths[1]}")
        elif name == "mkdir":
            seen.append(f"mkdir {path}")
        elif name != "mmap" or ("MAP_SHARED" in words and "PROT_WRITE" in words):
            seen.append(f"{name} {path}")
    return seen


@pytest.mark.parametrize("pipe", [False, True])
def test_strace_saw_nothing_else(tmp_path: Path, pipe: bool) -> None:
    need("strace")
    trace = tmp_path / "trace"
    if not run(["strace", "-f", "-o", trace, "true"]).ok:
        pytest.skip("needs the right to trace processes")
    unit = Unit(tmp_path / "unit", Loader())
    recording = unit.recorded_update(pipe=pipe).recording
    unit.before.restore(unit.root)
    image = tmp_path / "update.swu"
    image.write_bytes(unit.images["b"].raw)
    how = ["install", "-"] if pipe else ["-i", str(image)]
    done = run(
        ["strace", "-f", "-y", "-s", "0", "-e", f"trace={_CALLS}", "-o", trace,
         sys.executable, "-m", "swagent", *how, *unit.options()],
        cwd=PROJECT, stdin=image.read_bytes() if pipe else None,
        env={"TMPDIR": str(unit.tmp), "RUNTIME_DIRECTORY": str(unit.run), "STATE_DIRECTORY": f"{unit.root}/state"},
    )  # fmt: skip
    assert done.ok, done.text
    ours = [re.sub(r"swagent-\d+", "swagent-PID", str(operation)) for operation in recording.operations]
    folders = {f"sync {name}": f"sync-folder {name}" for name in (*recording.end().folders, ".")}
    theirs = [folders.get(line, line) for line in traced(trace.read_text().splitlines(), str(unit.root))]
    # the journal tells how long things took, in more digits or fewer
    ours, theirs = (
        [re.sub(r"(write state/.*\+)\d+", r"\1N", line) for line in lines] for lines in (ours, theirs)
    )
    assert ours == theirs
