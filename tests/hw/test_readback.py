"""What a file or device really holds."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw import readback
from swagent.hw.readback import read_back

MIB = 1 << 20
SIZES = (0, 1, 511, 4096, 4097, MIB - 1, MIB, 3 * MIB + 17)


@pytest.mark.parametrize("offset_bytes", [0, 1, 512, 4096, MIB + 3])
@pytest.mark.parametrize("n_bytes", SIZES)
def test_a_part_of_a_file(n_bytes: int, offset_bytes: int, tmp_path: Path) -> None:
    content = os.urandom(offset_bytes + n_bytes + 5)
    path = tmp_path / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_WRONLY)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    found = read_back(fd, n_bytes, offset_bytes=offset_bytes, path=str(path))
    assert found == hashlib.sha256(content[offset_bytes : offset_bytes + n_bytes]).digest()
    assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags
    os.close(fd)


def test_without_direct_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(content := os.urandom(2 * MIB + 9))
    monkeypatch.setattr(readback, "_switch_direct", lambda fd, *, on: False)
    with path.open("rb+") as file:
        assert read_back(file.fileno(), len(content), path=str(path)) == hashlib.sha256(content).digest()


def test_what_is_shorter_than_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    with (
        path.open("rb+") as file,
        pytest.raises(DeviceError, match="ends after 5000 bytes, 5001 were written"),
    ):
        read_back(file.fileno(), 5001, path=str(path))


def test_what_cannot_be_synced() -> None:
    reading, writing = os.pipe()
    with pytest.raises(DeviceError, match="cannot read back the pipe"):
        read_back(writing, 1, path="the pipe")
    os.close(reading)
    os.close(writing)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A block device of 4 MiB, and the file behind it."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a loop device")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4 * MIB))
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"needs loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield image, device
    subprocess.run(["losetup", "-d", device], check=True)


@pytest.mark.parametrize("way", ["direct", "forgetting"])
def test_a_block_device_is_read_and_not_memory(
    way: str, loop: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either way past the page cache is enough: here the kernel refuses the other one."""
    if way == "direct":
        monkeypatch.setattr(os, "posix_fadvise", lambda *_: None)
    else:
        monkeypatch.setattr(readback, "_switch_direct", lambda fd, *, on: False)
    image, device = loop
    content = os.urandom(2 * MIB + 100)
    fd = os.open(device, os.O_RDWR)
    os.pwrite(fd, content, 4096)
    good = read_back(fd, len(content), offset_bytes=4096, path=device)
    assert good == hashlib.sha256(content).digest()
    # the storage changes below the device, whose page cache still has the old bytes
    assert os.pread(fd, 1, 4096 + MIB) == content[MIB : MIB + 1]
    with image.open("rb+") as file:
        file.seek(4096 + MIB)
        file.write(bytes([content[MIB] ^ 1]))
    assert os.pread(fd, 1, 4096 + MIB) == content[MIB : MIB + 1]
    assert read_back(fd, len(content), offset_bytes=4096, path=device) != good
    os.close(fd)
