"""Differential updates between real block devices, and of a file on a real file system."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from swagent.errors import PreflightRefused
from swagent.hw import Hardware
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, install
from tests.faults.images import noise
from tests.handlers.zckfile import zck_header

OLD = noise(300_000, 3)
DELTA = b"\x72\x73\x02\x36" + b"\x50" + struct.pack(">IQ", 4096, 200_000) + b"\x05fresh" + b"\0"
NEW = OLD[4096:204_096] + b"fresh"


def context(folder: Path, **files: bytes) -> FakeContext:
    return FakeContext(
        str(folder), hw=Hardware(str(folder)), files={f"http://{name}": data for name, data in files.items()}
    )


def write(device: str, data: bytes) -> None:
    with open(device, "wb") as file:
        file.write(data)
        os.fsync(file.fileno())


def read(device: str, n_bytes: int) -> bytes:
    with open(device, "rb") as file:
        return file.read(n_bytes)


def test_rdiff_image_from_one_device_to_another(disk: str, sd: str, tmp_path: Path) -> None:
    write(disk, OLD)
    write(sd, bytes(len(OLD)))
    art = Artifact(
        Kind.IMAGE,
        "rdiff_image",
        filename="d",
        device=sd,
        properties={"rdiffbase": (disk,), "verify-write": ("true",)},
    )
    install(art, FakeData(DELTA), context(tmp_path))
    assert read(sd, len(NEW)) == NEW
    assert read(disk, len(OLD)) == OLD
    with pytest.raises(PreflightRefused, match="overlaps its target"):
        install(art._replace(device=disk), FakeData(DELTA), context(tmp_path))


def test_delta_from_one_device_to_another(disk: str, sd: str, tmp_path: Path) -> None:
    write(disk, OLD)
    chunks = [OLD[:20_000], b"fresh" * 3000, OLD[35_000:75_000], OLD[75_000:115_000]]
    front = zck_header([(chunk, chunk) for chunk in chunks], compression=0)
    properties = {"source": (disk,), "chain": ("raw",), "url": ("http://zck",), "source-size": ("1M",)}
    art = Artifact(Kind.IMAGE, "delta", filename="d", device=sd, properties=properties)
    ctx = context(tmp_path, zck=front + b"".join(chunks))
    install(art, FakeData(front), ctx)
    new = b"".join(chunks)
    assert read(sd, len(new)) == new
    assert sum(last - first + 1 for first, last in ctx.fetched[-1].spans) == len(chunks[1])
    with pytest.raises(PreflightRefused, match="overlaps its target"):
        install(art._replace(device=disk), FakeData(front), ctx)


def test_rdiff_file_on_a_device_that_is_mounted(sd: str, tmp_path: Path) -> None:
    """It is mounted twice meanwhile: to read the file, and to replace it."""
    subprocess.run(["mkfs.ext4", "-q", "-F", sd, "16M"], check=True)
    hw = Hardware(str(tmp_path))
    with hw.mounted(sd, "ext4") as root:
        (Path(root) / "app").write_bytes(OLD)
    art = Artifact(Kind.FILE, "rdiff_file", filename="d", device=sd, filesystem="ext4", path="/app")
    install(art, FakeData(DELTA), context(tmp_path))
    with hw.mounted(sd, "ext4") as root:
        assert (Path(root) / "app").read_bytes() == NEW
        assert sorted(os.listdir(root)) == ["app", "lost+found"]
    assert sd not in Path("/proc/mounts").read_text()
