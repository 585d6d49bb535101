"""The four entries of a DOS table: one sector, so old or new."""

import os
import subprocess
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw import mbr
from swagent.hw.partitions import Disk
from swagent.testing.powercut import cuts
from swagent.testing.recording import Recorder
from tests.programs import need

SCRIPT = b"label: dos\nstart=64, size=64, type=c, bootable\nsize=64, type=83\n"


def silent(level: str, message: str) -> None:
    """For what programs say."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    need("sfdisk")
    path = tmp_path / "unit" / "disk"
    path.parent.mkdir()
    path.write_bytes(b"\xfa" * 440 + bytes((1 << 20) - 440))  # a boot loader's code
    subprocess.run(["sfdisk", "--quiet", path], input=SCRIPT, check=True)
    return path


def entries(disk: Path) -> tuple[mbr.Entry, ...]:
    with open(disk, "rb") as file:
        return mbr.read(file.fileno(), str(disk))


def active(disk: Path) -> list[int]:
    return [number for number, entry in enumerate(entries(disk), 1) if entry.active]


def test_what_sfdisk_wrote_is_read(disk: Path) -> None:
    first, second, *none = entries(disk)
    assert first == mbr.Entry(0x0C, 64, 64, active=True)
    assert (second.kind, second.active) == (0x83, False)
    assert none == [mbr.Entry()] * 2


def test_activating_changes_two_bytes(disk: Path) -> None:
    before = disk.read_bytes()
    Disk(str(disk), silent).activate(2)
    after = disk.read_bytes()
    assert active(disk) == [2]
    assert [at for at in range(len(before)) if before[at] != after[at]] == [446, 462]


def test_several_active_ones_become_one(disk: Path) -> None:
    data = bytearray(disk.read_bytes())
    data[462] = mbr.ACTIVE
    disk.write_bytes(data)
    table = Disk(str(disk), silent)
    assert not table.is_active(1)
    table.activate(1)
    assert active(disk) == [1]


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_partition_that_is_not_there(disk: Path, number: int) -> None:
    with pytest.raises(DeviceError, match=f"has no partition {number}"):
        Disk(str(disk), silent).activate(number)


def test_a_gpt_has_none(tmp_path: Path) -> None:
    need("sfdisk")
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 22))
    subprocess.run(["sfdisk", "--quiet", path], input=b"label: gpt\nsize=64\n", check=True)
    with pytest.raises(DeviceError, match="no DOS partition table"):
        Disk(str(path), silent).is_active(1)


@pytest.mark.parametrize("data", [b"", b"x" * 511, bytes(512), b"\xeb" * 510 + b"\x55\xaa"])
def test_what_is_no_table(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(data)
    with pytest.raises(DeviceError):
        Disk(str(path), silent).is_active(1)


def test_a_power_cut_leaves_the_old_one_or_the_new_one(disk: Path) -> None:
    with Recorder(disk.parent) as recorder:
        Disk(str(disk), silent).activate(2)
    seen = set()
    for cut in cuts(recorder.recording, by_chance=5):
        recorder.recording.crash(cut).restore(disk.parent)
        seen.add(tuple(active(disk)))
    assert seen == {(1,), (2,)}


def test_a_write_that_fails(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: 100)
    with pytest.raises(DeviceError, match="cannot write the partition table"):
        Disk(str(disk), silent).activate(2)
    assert active(disk) == [1]
