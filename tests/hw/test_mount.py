"""Mounting, for real."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw import Hardware

from .test_block import loop

__all__ = ["loop"]


def test_mounts_and_cleans_up(loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    hw = Hardware(str(tmp_path))
    with hw.mounted(loop, "ext4") as folder:
        assert os.path.ismount(folder)
        Path(folder, "file").write_text("kept")
    assert not os.path.exists(folder)
    with hw.mounted(loop, "ext4", read_only=True) as folder:
        assert Path(folder, "file").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only"):
            Path(folder, "other").write_text("no")
    assert [p.name for p in tmp_path.iterdir()] == ["disk.img"]


def test_mount_point_is_private(loop: str, tmp_path: Path) -> None:
    from swagent.hw.mount import _fresh_folder

    folder = _fresh_folder(str(tmp_path))
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    os.rmdir(folder)


def test_unknown_and_absent_filesystems(loop: str, tmp_path: Path) -> None:
    hw = Hardware(str(tmp_path))
    for filesystem in ("nosuchfs", "ext4", "nul\0"):
        with pytest.raises(DeviceError, match="cannot mount"), hw.mounted(loop, filesystem):
            pass
    with pytest.raises(DeviceError, match="cannot mount") as caught, hw.mounted("/dev/nothing", "ext4"):
        pass
    assert caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["disk.img"]


def test_busy_mount_is_reported(loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    mount = Hardware(str(tmp_path)).mounted(loop, "ext4")
    folder = mount.__enter__()
    try:
        with Path(folder, "file").open("w"), pytest.raises(DeviceError, match="cannot unmount"):
            mount.__exit__(None, None, None)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_busy_mount_does_not_hide_the_first_error(loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    first = DeviceError("the first", path="x")
    mount = Hardware(str(tmp_path)).mounted(loop, "ext4")
    folder = mount.__enter__()
    try:
        with Path(folder, "file").open("w"):
            mount.__exit__(DeviceError, first, None)
        assert "stays mounted" in first.__notes__[0]
    finally:
        subprocess.run(["umount", folder], check=True)
