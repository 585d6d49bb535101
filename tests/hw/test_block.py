"""Image targets: files, loop devices, mounted devices, write protection."""

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeviceError, PreflightRefused, SizeError
from swagent.hw import Hardware
from swagent.hw.block import BlockTarget, _unprotect, open_image_target
from swagent.model import Sink
from swagent.stream.pipeline import ArtifactData, Codec
from swagent.testing import FakeData

MIB = 1024 * 1024


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A block device of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a loop device")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"needs loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def poured(target: BlockTarget, data: bytes) -> None:
    stored = FakeData(data)
    ArtifactData(stored, Codec("image", len(data))).pour(target.sink)


def test_writes_a_block_device_directly(loop: str) -> None:
    data = os.urandom(3 * MIB + 777)
    target = open_image_target(loop, 4096)
    assert target.sink.alignment_bytes >= 512
    assert target.sink.limit_bytes == 16 * MIB - 4096
    poured(target, data)
    target.close()
    target.abandon()  # nothing after close
    with open(loop, "rb") as device:
        device.seek(4096)
        assert device.read(len(data)) == data


def test_unaligned_offset_is_written_buffered(loop: str) -> None:
    target = open_image_target(loop, 100)
    assert target.sink.alignment_bytes == 1
    poured(target, b"x" * MIB)
    target.close()
    with open(loop, "rb") as device:
        assert device.read(MIB + 200).strip(b"\0") == b"x" * MIB


def test_more_than_the_device_holds_is_refused(loop: str) -> None:
    target = open_image_target(loop, 15 * MIB)
    with pytest.raises(SizeError):
        poured(target, bytes(2 * MIB))
    target.abandon()


def test_offset_behind_the_end_holds_nothing(loop: str) -> None:
    target = open_image_target(loop, 17 * MIB)
    assert target.sink.limit_bytes == 0
    target.abandon()


def test_mounted_device_is_refused(loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    hw = Hardware(str(tmp_path))
    assert hw.in_use(loop) == ""
    with hw.mounted(loop, "ext4") as folder:
        assert "mounted on" in hw.in_use(loop)
        with pytest.raises(PreflightRefused, match=f"{loop} is mounted on {folder}"):
            open_image_target(loop)
        open_image_target(loop, allow_mounted=True).abandon()
    assert hw.in_use(loop) == ""
    open_image_target(loop).abandon()


def test_disk_with_a_mounted_partition_is_refused(loop: str, tmp_path: Path) -> None:
    entry = struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 2048, 16384)
    with open(loop, "r+b") as disk:
        disk.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    part = f"{loop}p1"
    added = subprocess.run(["partx", "-a", loop], capture_output=True)
    if added.returncode != 0 or not os.path.exists(part):
        pytest.skip("needs partitions on loop devices")
    try:
        subprocess.run(["mkfs.ext4", "-q", part], check=True)
        with Hardware(str(tmp_path)).mounted(part, "ext4"), pytest.raises(PreflightRefused):
            open_image_target(loop)
    finally:
        subprocess.run(["partx", "-d", loop], check=True)


def test_link_to_a_block_device_is_followed(loop: str, tmp_path: Path) -> None:
    link = tmp_path / "by-label"
    link.symlink_to(loop)
    assert Hardware(str(tmp_path)).capacity_bytes(str(link)) == 16 * MIB
    open_image_target(str(link)).close()


def test_slot_file_grows_and_has_free_space_as_its_limit(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.write_bytes(b"")
    data = os.urandom(MIB + 1)
    target = open_image_target(str(slot))
    limit = target.sink.limit_bytes
    assert limit is not None and limit > 0
    poured(target, data)
    target.close()
    assert slot.read_bytes() == data


@pytest.mark.parametrize("name", ["missing", "folder", "nul\0byte"])
def test_no_target(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DeviceError):
        open_image_target(str(tmp_path / name))
    assert not (tmp_path / "missing").exists()


def test_character_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="neither"):
        open_image_target("/dev/null")


def test_write_protection_is_switched_off_and_on_again(tmp_path: Path) -> None:
    sysfs, device = tmp_path / "sys", tmp_path / "mmcblk0boot0"
    device.write_bytes(b"")
    switch = sysfs / device.name / "force_ro"
    switch.parent.mkdir(parents=True)
    switch.write_bytes(b"1\n")
    for end in (BlockTarget.close, BlockTarget.abandon):
        found = _unprotect(str(device), str(sysfs))
        assert found == str(switch)
        assert switch.read_bytes()[:1] == b"0"
        end(BlockTarget(str(device), Sink(os.open(device, os.O_RDWR)), found))
        assert switch.read_bytes()[:1] == b"1"
    switch.write_bytes(b"0\n")
    assert _unprotect(str(device), str(sysfs)) is None


def test_failing_sync_is_an_error(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()  # a pipe cannot be synced
    os.close(read_end)
    target = BlockTarget("pipe", Sink(write_end), None)
    with pytest.raises(DeviceError, match="cannot sync pipe"):
        target.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(write_end)
