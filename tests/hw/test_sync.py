"""Group durability: what is synced how, in which order, and what a failure leaves behind."""

import os
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw import FileSync
from swagent.hw.sync import FSYNC_MAX


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def write(path: Path, sync: FileSync) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"new")
    sync.later(fd)
    os.close(fd)


@pytest.mark.parametrize("count", [1, FSYNC_MAX, FSYNC_MAX + 1, 300])
def test_holds_few_descriptors_and_lets_them_go(tmp_path: Path, count: int) -> None:
    before = open_fds()
    sync = FileSync()
    for number in range(count):
        write(tmp_path / f"{number}", sync)
    assert open_fds() - before == (count if count <= FSYNC_MAX else 1)
    sync.flush()
    assert open_fds() == before


def test_a_folder_stands_for_its_filesystem(tmp_path: Path) -> None:
    sync = FileSync()
    fd = os.open(tmp_path, os.O_RDONLY)
    sync.later(fd)
    os.close(fd)
    write(tmp_path / "file", sync)
    assert not sync._few, "one fsync of the folder would not cover what is below it"
    sync.flush()


@pytest.mark.parametrize("count", [1, FSYNC_MAX + 5])
def test_renames_happen_at_flush(tmp_path: Path, count: int) -> None:
    sync = FileSync()
    for number in range(count):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        (folder / "f").write_text("old")
        write(folder / "f.tmp", sync)
        sync.rename_later(str(folder / "f.tmp"), str(folder / "f"))
        assert (folder / "f").read_text() == "old"
    sync.flush()
    for number in range(count):
        assert (tmp_path / f"d{number}" / "f").read_text() == "new"
        assert not (tmp_path / f"d{number}" / "f.tmp").exists()


def test_discard_keeps_the_old(tmp_path: Path) -> None:
    before = open_fds()
    sync = FileSync()
    (tmp_path / "f").write_text("old")
    write(tmp_path / "f.tmp", sync)
    sync.rename_later(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    sync.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"
    assert open_fds() == before


def test_failed_sync_prevents_the_rename(tmp_path: Path) -> None:
    sync = FileSync()
    (tmp_path / "f").write_text("old")
    write(tmp_path / "f.tmp", sync)
    read_end, write_end = os.pipe()
    sync.later(write_end)  # fsync of a pipe fails
    os.close(write_end)
    os.close(read_end)
    sync.rename_later(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    with pytest.raises(DeviceError):
        sync.flush()
    assert (tmp_path / "f").read_text() == "old"
    sync.discard()
    assert not (tmp_path / "f.tmp").exists()


def test_failed_rename_is_an_error_and_the_rest_can_be_discarded(tmp_path: Path) -> None:
    sync = FileSync()
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tmp", sync)
    sync.rename_later(str(tmp_path / "a.tmp"), str(tmp_path / "folder"))
    sync.rename_later(str(tmp_path / "b.tmp"), str(tmp_path / "b"))
    with pytest.raises(DeviceError, match="folder"):
        sync.flush()
    sync.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_same_path_twice_is_renamed_once(tmp_path: Path) -> None:
    sync = FileSync()
    for _ in range(2):
        write(tmp_path / "f.tmp", sync)
        sync.rename_later(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    sync.flush()
    assert (tmp_path / "f").read_bytes() == b"new"


def test_removed_file_is_no_error(tmp_path: Path) -> None:
    sync = FileSync()
    write(tmp_path / "f", sync)
    (tmp_path / "f").unlink()
    sync.flush()
