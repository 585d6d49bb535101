"""btrfs-receive with a real stream of ``btrfs send``, onto a real file system."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import Cancelled, DeviceError, HashError, ScriptError
from swagent.hw import Hardware
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, install
from tests.programs import need, run

MIB = 1 << 20
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A loop device with btrfs on it, and a snapshot ``source`` of some files."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a loop device")
    need("losetup", "mkfs.btrfs", "btrfs")
    image = tmp_path_factory.mktemp("btrfs") / "image"
    with open(image, "wb") as file:
        file.truncate(128 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    done = run(["losetup", "--find", "--show", image])
    if not done.ok:
        pytest.skip(f"needs a loop device: {done.text}")
    yield done.text.strip()
    run(["losetup", "--detach", done.text.strip()])


@pytest.fixture
def top(device: str, tmp_path: Path) -> Iterator[Path]:
    """The file system, mounted for the test's own eyes; empty in the end."""
    folder = tmp_path / "top"
    folder.mkdir()
    if not run(["mount", "-t", "btrfs", device, folder]).ok:
        pytest.skip("this kernel has no btrfs")
    try:
        yield folder
        for path in folder.iterdir():
            subprocess.run(["btrfs", "subvolume", "delete", path], check=True, capture_output=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def stream(top: Path) -> bytes:
    """What ``btrfs send`` makes of a read-only subvolume that is gone afterwards."""
    source = top / "system"
    subprocess.run(["btrfs", "subvolume", "create", source], check=True, capture_output=True)
    (source / "file").write_bytes(b"content" * 20_000)
    subprocess.run(["btrfs", "property", "set", source, "ro", "true"], check=True)
    sent = subprocess.run(["btrfs", "send", "-q", source], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["btrfs", "subvolume", "delete", source], check=True, capture_output=True)
    return sent


def receive(device: str, data: FakeData, folder: Path, *, path: str = "/", **more: object) -> FakeContext:
    properties = {"path": (path,), "mount": ("true",)}
    art = Artifact(Kind.IMAGE, "btrfs-receive", filename="system.btrfs", device=device, properties=properties)
    ctx = FakeContext(str(folder), hw=Hardware(str(folder)), **more)  # type: ignore[arg-type]  # fields of FakeContext
    install(art, data, ctx)
    return ctx


def test_a_subvolume_arrives(device: str, top: Path, stream: bytes, tmp_path: Path) -> None:
    receive(device, FakeData(stream), tmp_path)
    assert (top / "system" / "file").read_bytes() == b"content" * 20_000


def test_one_of_that_name_is_there_already(device: str, top: Path, stream: bytes, tmp_path: Path) -> None:
    subprocess.run(["btrfs", "subvolume", "create", top / "system"], check=True, capture_output=True)
    (top / "system" / "mine").touch()
    with pytest.raises(ScriptError):
        receive(device, FakeData(stream), tmp_path)
    assert [path.name for path in (top / "system").iterdir()] == ["mine"]


def test_a_wrong_digest_at_the_very_end(device: str, top: Path, stream: bytes, tmp_path: Path) -> None:
    with pytest.raises(HashError):
        receive(device, FakeData(stream, verdict=HashError("it has another digest")), tmp_path)
    assert list(top.iterdir()) == []


@pytest.mark.parametrize("n_bytes", [100, 60_000])
def test_a_stream_that_is_cut(device: str, top: Path, stream: bytes, tmp_path: Path, n_bytes: int) -> None:
    with pytest.raises(ScriptError):
        receive(device, FakeData(stream[:n_bytes]), tmp_path)
    assert list(top.iterdir()) == []


@pytest.mark.parametrize("command", ["create", "delete"])
def test_a_link_on_the_device_does_not_lead_out(device: str, top: Path, tmp_path: Path, command: str) -> None:
    outside = tmp_path / "outside"
    (outside / "here").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    properties = {"command": (command,), "path": ("/link/here",), "mount": ("true",)}
    art = Artifact(Kind.PARTITION, "btrfs", device=device, properties=properties)
    try:
        with pytest.raises(DeviceError, match="leads out of the mounted device"):
            install(art, FakeData(b""), FakeContext(str(tmp_path), hw=Hardware(str(tmp_path))))
    finally:
        (top / "link").unlink()
    assert (outside / "here").is_dir()


def test_a_stream_goes_nowhere_through_a_link(device: str, top: Path, stream: bytes, tmp_path: Path) -> None:
    (top / "link").symlink_to(tmp_path)
    try:
        with pytest.raises(DeviceError, match="leads out of the mounted device"):
            receive(device, FakeData(stream), tmp_path, path="/link")
    finally:
        (top / "link").unlink()


def test_stopped_in_the_middle(device: str, top: Path, stream: bytes, tmp_path: Path) -> None:
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise Cancelled("stopped on request")

    with pytest.raises(Cancelled):
        receive(device, FakeData(stream), tmp_path, before_checkpoint=stop)
    assert list(top.iterdir()) == []
    assert list(tmp_path.glob("mnt-*")) == [], "a mount was left"
