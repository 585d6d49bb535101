"""Partition tables by sfdisk: read, written, refused; a device that fails, a disk that somebody else has locked."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeviceError, PreflightRefused
from swagent.hw import filesystem, mbr, programs
from swagent.hw.partitions import Disk, Partition, Table, same, speakable
from tests.programs import need

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
GPT = Table("gpt", "", (Partition(1, 2048, 2048, LINUX, "a b,c"), Partition(3, 4096, 100, LINUX, "é")))
MIB = 1 << 20


def silent(level: str, message: str) -> None:
    """For what programs say."""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    need("sfdisk")
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 * MIB))
    return Disk(str(path), silent)


def test_a_disk_without_a_table(disk: Disk) -> None:
    assert disk.table() == Table()
    assert disk.size_sectors == 16384
    assert not disk.is_device


@pytest.mark.parametrize(
    "table",
    [
        GPT,
        Table(
            "gpt", "11111111-2222-3333-4444-555555555555", (GPT.partitions[0]._replace(attributes="GUID:63"),)
        ),
        Table("gpt", "", GPT.partitions, (mbr.Entry(0x0C, 2048, 2048), mbr.Entry(0xEE, 1, 33))),
        Table(
            "dos", "0x12345678", (Partition(1, 2048, 2048, "c", bootable=True), Partition(2, 4096, 1, "83"))
        ),
        Table("dos", "", (Partition(4, 2048, 8192, "5"), Partition(5, 4096, 100, "e"))),
        Table("gpt", "", ()),
    ],
)
def test_what_is_written_is_read(disk: Disk, table: Table) -> None:
    disk.write(table, old=Table())
    there = disk.table()
    assert same(there, table)
    assert there.id == table.id or not table.id
    disk.write(table, old=there)
    assert same(disk.table(), table)


def test_the_contents_of_partitions_stay(disk: Disk) -> None:
    disk.write(GPT, old=Table())
    with open(disk.path, "r+b") as file:
        file.seek(MIB)
        file.write(b"contents")
    disk.write(Table("gpt", "", (GPT.partitions[0]._replace(name="other"),)), old=disk.table())
    assert Path(disk.path).read_bytes()[MIB : MIB + 8] == b"contents"


def test_another_kind_of_table_wipes_what_was_there(disk: Disk) -> None:
    need("mkfs.ext4", "blkid")
    subprocess.run(["mkfs.ext4", "-q", "-F", disk.path], check=True)
    disk.write(GPT, old=disk.table())
    told = subprocess.run(["blkid", "-p", disk.path], capture_output=True, text=True, check=False).stdout
    assert "ext4" not in told


def test_the_boot_sector_of_a_file_system_is_no_table(disk: Disk) -> None:
    need("mkfs.vfat")
    subprocess.run(["mkfs.vfat", "--mbr=no", "-I", disk.path], check=True, capture_output=True)
    assert disk.table() == Table()


def test_a_table_that_does_not_fit_is_not_written(disk: Disk) -> None:
    before = Path(disk.path).read_bytes()
    with pytest.raises(DeviceError, match="cannot write the partition table"):
        disk.write(Table("gpt", "", (Partition(1, 2048, 99999, LINUX),)), old=Table())
    assert Path(disk.path).read_bytes() == before


@pytest.mark.parametrize(("damaged", "label"), [((1,), "gpt"), ((1, 16383), "")])
def test_a_damaged_gpt(disk: Disk, damaged: tuple[int, ...], label: str) -> None:
    """One valid copy is enough; without one the disk counts as blank."""
    disk.write(GPT, old=Table())
    with open(disk.path, "r+b") as file:
        for lba in damaged:
            file.seek(512 * lba + 20)
            file.write(b"\xff")
    assert disk.table().label == label


def test_a_table_that_sfdisk_does_not_read_is_no_blank_disk(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write(GPT, old=Table())
    folder = Path(disk.path).parent / "bin"
    folder.mkdir()
    (folder / "sfdisk").write_text("#!/bin/sh\necho out of memory >&2\nexit 1\n")
    (folder / "sfdisk").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(DeviceError, match="sfdisk cannot read the partition table"):
        disk.table()


def test_what_sfdisk_would_misread_is_no_name() -> None:
    assert speakable("rootfs a, b") and speakable("é")
    assert not any(speakable(name) for name in ('a"b', "a\\b", "a\nb", "\x7f"))


def test_a_locked_disk_is_waited_for_and_then_given_up(disk: Disk) -> None:
    disk.lock_wait_s = 0.2
    fd = os.open(disk.path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        with pytest.raises(DeviceError, match="is locked by another program"):
            disk.write(GPT, old=Table())
        assert disk.table() == Table()
        disk.write(GPT, old=Table(), lock=False)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["/nowhere", "/dev/null", "/tmp"])
def test_what_is_no_disk(path: str) -> None:
    with pytest.raises(DeviceError):
        Disk(path, silent)


def test_a_program_that_is_missing_is_named_with_its_package(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    with pytest.raises(PreflightRefused, match="the program sfdisk is not on this unit") as caught:
        disk.table()
    assert caught.value.hint == "Debian's package fdisk has it"


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[str]:
    """A loop device of 8 MiB that can be read, and whose writes come to nothing."""
    need("losetup", "sfdisk")
    if os.geteuid() != 0:
        pytest.skip("needs root, for a loop device")
    folder = tmp_path / "full"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", folder], check=False)
    if mount.returncode:
        pytest.skip("needs to mount a tmpfs")
    try:
        with open(folder / "disk", "wb") as file:
            file.truncate(8 * MIB)
        (folder / "full").write_bytes(bytes(8192))
        found = subprocess.run(
            ["losetup", "--find", "--show", folder / "disk"], capture_output=True, text=True, check=True
        )
        try:
            yield found.stdout.strip()
        finally:
            subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize(
    "table", [GPT, Table("dos", "", (Partition(1, 2048, 2048, "83"),))], ids=["gpt", "dos"]
)
def test_a_device_that_fails(failing: str, table: Table) -> None:
    with pytest.raises(DeviceError, match=failing):
        Disk(failing, silent).write(table, old=Table())


@pytest.mark.root
@pytest.mark.parametrize("kind", ["vfat", "ext4"])
def test_no_file_system_on_a_device_that_fails(failing: str, kind: str) -> None:
    need(f"mkfs.{kind}", "blkid")
    with pytest.raises(DeviceError, match=failing):
        filesystem.make(failing, kind, "", silent)
