"""GPT copies: read with their checksums, names swapped; whatever happens, one copy is valid."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import pytest

from swagent.errors import DeviceError
from swagent.hw import gpt
from swagent.hw.gpt import Gpt
from swagent.hw.partitions import Disk
from swagent.testing.powercut import cuts
from swagent.testing.recording import Recorder
from tests.programs import need

SECTOR = 512
SIZE = 2 << 20
SECTORS = SIZE // SECTOR
OLD, NEW = ["rootfs-a", "rootfs-b", "data"], ["rootfs-b", "rootfs-a", "data"]
SWAP = [("rootfs-a", "rootfs-b")]


def silent(level: str, message: str) -> None:
    """For what programs say."""


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A disk of 2 MiB with three partitions, made by sfdisk."""
    need("sfdisk")
    path = tmp_path_factory.mktemp("gpt") / "disk"
    path.write_bytes(bytes(SIZE))
    script = "label: gpt\nfirst-lba: 64\n" + "".join(f"size=256, name={name}\n" for name in OLD)
    subprocess.run(["sfdisk", "--quiet", path], input=script.encode(), check=True)
    return path.read_bytes()


@pytest.fixture
def disk(tmp_path: Path, blank: bytes) -> Path:
    folder = tmp_path / "unit"
    folder.mkdir()
    (folder / "disk").write_bytes(blank)
    return folder / "disk"


@contextmanager
def opened(disk: Path) -> Iterator[Gpt]:
    fd = os.open(disk, os.O_RDWR)
    try:
        yield Gpt(fd, SECTOR, SECTORS, str(disk))
    finally:
        os.close(fd)


def names(copy: gpt.Copy | None) -> list[str]:
    assert copy is not None
    return [part.name for part in copy.partitions()]


def by_sfdisk(disk: Path) -> list[str]:
    done = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True)
    return [part["name"] for part in json.loads(done.stdout)["partitiontable"]["partitions"]]


def damage(disk: Path, *lbas: int) -> None:
    data = bytearray(disk.read_bytes())
    for lba in lbas:
        data[lba * SECTOR + 60] ^= 1
    disk.write_bytes(data)


def test_both_copies_are_read(disk: Path) -> None:
    with opened(disk) as table:
        assert names(table.primary) == names(table.backup) == OLD
        assert table.copy.partitions()[0] == gpt.Named(1, "rootfs-a", 64, 319)
        assert table.backup is not None
        assert table.backup.my_lba == SECTORS - 1


def test_a_swap_changes_names_and_nothing_else(disk: Path) -> None:
    before = json.loads(subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout)
    Disk(str(disk), silent).swap_names(SWAP)
    after = json.loads(subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout)
    assert by_sfdisk(disk) == NEW
    for table in (before, after):
        for part in table["partitiontable"]["partitions"]:
            del part["name"]
    assert after == before
    with opened(disk) as gpts:
        assert names(gpts.primary) == names(gpts.backup) == NEW


def test_pairs_are_one_change_made_in_their_order(disk: Path) -> None:
    Disk(str(disk), silent).swap_names([("rootfs-a", "rootfs-b"), ("rootfs-a", "data")])
    assert by_sfdisk(disk) == ["rootfs-b", "data", "rootfs-a"]


@pytest.mark.parametrize("lbas", [(1,), (2,), (SECTORS - 1,), (SECTORS - 33,)])
def test_a_damaged_copy_is_made_anew(disk: Path, lbas: tuple[int, ...]) -> None:
    damage(disk, *lbas)
    with opened(disk) as table:
        assert (table.primary is None) != (table.backup is None)
        assert names(table.copy) == OLD
        table.swap_names([(1, 2)])
    with opened(disk) as table:
        assert names(table.primary) == names(table.backup) == NEW


def test_two_damaged_copies_are_none(disk: Path) -> None:
    damage(disk, 1, SECTORS - 1)
    with pytest.raises(DeviceError, match="has no valid GPT"), opened(disk):
        pass


def test_a_backup_in_the_middle_of_a_grown_disk_is_found(disk: Path) -> None:
    with open(disk, "ab") as file:
        file.write(bytes(SIZE))
    fd = os.open(disk, os.O_RDWR)
    try:
        table = Gpt(fd, SECTOR, 2 * SECTORS, str(disk))
        table.swap_names([(1, 2)])
        table = Gpt(fd, SECTOR, 2 * SECTORS, str(disk))
        assert table.backup is not None
        assert table.backup.my_lba == SECTORS - 1
        assert names(table.primary) == names(table.backup) == NEW
    finally:
        os.close(fd)


def test_a_table_for_a_larger_disk_is_none(disk: Path) -> None:
    with open(disk, "r+b") as file:
        file.truncate(SIZE // 2)
    fd = os.open(disk, os.O_RDWR)
    try:
        with pytest.raises(DeviceError, match="has no valid GPT"):
            Gpt(fd, SECTOR, SECTORS // 2, str(disk))
    finally:
        os.close(fd)


def test_a_backup_without_a_place_is_not_written_into_partitions(disk: Path) -> None:
    """The first copy says that the other one lies where partitions may be, and there is none."""
    data = bytearray(disk.read_bytes())
    struct.pack_into("<Q", data, SECTOR + 32, 1000)
    struct.pack_into("<I", data, SECTOR + 16, 0)
    struct.pack_into("<I", data, SECTOR + 16, crc32(data[SECTOR : SECTOR + 92]))
    disk.write_bytes(data)
    with pytest.raises(DeviceError, match=r"backup .* has no place on this disk"), opened(disk) as table:
        table.swap_names([(1, 2)])
    assert disk.read_bytes() == data


@pytest.mark.parametrize(
    ("pair", "text"),
    [(("rootfs-a", "rootfs-c"), "no partition named 'rootfs-c'"), (("", "data"), "no partition")],
)
def test_a_name_that_is_not_there(disk: Path, pair: tuple[str, str], text: str) -> None:
    before = disk.read_bytes()
    with pytest.raises(DeviceError, match=text):
        Disk(str(disk), silent).swap_names([pair])
    assert disk.read_bytes() == before


@pytest.mark.parametrize("damaged", [(), (1,), (SECTORS - 1,)])
def test_a_power_cut_leaves_a_valid_copy(disk: Path, damaged: tuple[int, ...]) -> None:
    """At every write, with any part of what was not synced: firmware finds the old names or the new ones."""
    damage(disk, *damaged)
    with Recorder(disk.parent) as recorder:
        Disk(str(disk), silent).swap_names(SWAP)
    seen = set()
    for cut in cuts(recorder.recording, by_chance=8):
        recorder.recording.crash(cut).restore(disk.parent)
        with opened(disk) as table:
            assert names(table.copy) in (OLD, NEW), cut
            seen.add((table.primary is not None, table.backup is not None))
    assert len(seen) > 1, "no cut hit a write"


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("how", ["error", "short"])
def test_a_write_that_fails_leaves_a_valid_copy(
    disk: Path, nth: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.pwrite, 0

    def failing(fd: int, data: bytes, at: int) -> int:
        nonlocal count
        count += 1
        if count < nth:
            return real(fd, data, at)
        if how == "error":
            raise OSError(5, "Input/output error")
        return real(fd, data[: len(data) // 2], at)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(DeviceError, match="cannot write the GPT"):
        Disk(str(disk), silent).swap_names(SWAP)
    with opened(disk) as table:
        assert names(table.copy) in (OLD, NEW)
