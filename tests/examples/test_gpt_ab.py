"""The example that divides a disk, installed twice on a loop device: the copies take turns, the data stay."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.swu.make import make
from tests.handlers.peers import contents
from tests.programs import need, run, run_swagent

EXAMPLE = Path(__file__).parents[2] / "sw-description.examples" / "gpt-ab"
MIB = 1 << 20
ROOTFS_A, ROOTFS_B = 2048 + 8 * 2048, 2048 + 24 * 2048
"""First sectors of partitions 2 and 3."""

pytestmark = pytest.mark.root


def build(folder: Path, disk: str, data: bytes) -> Path:
    """The image for this disk, not signed."""
    (folder / "rootfs.img").write_bytes(data)
    update = folder / "update.swu"
    make(
        str(EXAMPLE / "sw-description"),
        output=str(update),
        search=[str(folder)],
        variables={"DISK": disk, "VERSION": "2.4.0"},
    )
    return update


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
    return path


@pytest.fixture
def disk(image: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a loop device")
    need("losetup", "sfdisk", "blkid", "mkfs.vfat", "mkfs.ext4")
    done = run(["losetup", "--find", "--show", "--partscan", image])
    if not done.ok:
        pytest.skip(f"needs a loop device: {done.text}")
    yield done.text.strip()
    run(["losetup", "--detach", done.text.strip()])


def install(folder: Path, disk: str, data: bytes) -> None:
    update = build(folder, disk, data)
    done = run_swagent(["-i", update, "--allow-unsigned", "-H", "gateway:1.2", "-B", "none"], folder)
    assert done.ok, done.text


def at(image: Path, sector: int, n_bytes: int) -> bytes:
    with open(image, "rb") as file:
        file.seek(sector * 512)
        return file.read(n_bytes)


def names(image: Path) -> list[str]:
    return [line.partition('name="')[2].rstrip('"') for line in contents(image) if "start=" in line]


def test_two_updates(disk: str, image: Path, tmp_path: Path) -> None:
    first, second = b"first system" * 1000, b"second system" * 1000
    install(tmp_path, disk, first)
    assert names(image) == ["boot", "rootfs-b", "rootfs-a", "data"]
    assert at(image, ROOTFS_B, len(first)) == first
    assert contents(image)[-2:] == ['1: LABEL="BOOT" TYPE="vfat"', '4: LABEL="data" TYPE="ext4"']
    subprocess.run(["e2fsck", "-fn", f"{disk}p4"], check=True, capture_output=True)
    uuid = subprocess.run(["blkid", "-p", f"{disk}p4"], check=True, capture_output=True).stdout

    install(tmp_path, disk, second)
    assert names(image) == ["boot", "rootfs-a", "rootfs-b", "data"]
    assert at(image, ROOTFS_A, len(second)) == second
    assert at(image, ROOTFS_B, len(first)) == first
    assert subprocess.run(["blkid", "-p", f"{disk}p4"], check=True, capture_output=True).stdout == uuid
