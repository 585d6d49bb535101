"""``verify-write`` in the handlers that have it."""

import os
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import DescriptionError, DeviceError
from swagent.handlers import registry
from swagent.handlers.options import read_options
from swagent.installer.planning import Planner
from swagent.model import Artifact, Description, Kind, Unit
from swagent.testing import FakeContext, FakeData, FakeHardware, install

ASKED = {"verify-write": ("true",)}
CONTENT = bytes(range(256)) * 5000


def entry(kind: str, path: Path, **more: Any) -> Artifact:
    place: dict[str, Any] = {"device": str(path)} if kind == "raw" else {"path": str(path)}
    art = Artifact(Kind.IMAGE if kind == "raw" else Kind.FILE, kind, "a.img", **place)
    return art._replace(**more)


def flip(fd: int) -> None:
    """What a failing device does."""
    fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    os.pwrite(fd, bytes([CONTENT[70000] ^ 1]), 70000)
    os.close(fd)


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("kind", ["raw", "rawfile"])
def test_what_was_written_is_compared(kind: str, always: bool, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    asked: list[int] = []
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(before_read_back=asked.append), verify_write=always)
    install(entry(kind, target, properties={} if always else ASKED), FakeData(CONTENT), ctx)
    assert target.read_bytes() == CONTENT
    assert len(asked) == 1


@pytest.mark.parametrize("more", [{}, {"atomic-install": ("true",)}])
@pytest.mark.parametrize("kind", ["raw", "rawfile"])
def test_a_device_that_gives_back_something_else(
    kind: str, more: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(before_read_back=flip))
    properties = {**ASKED, **(more if kind == "rawfile" else {})}
    with pytest.raises(DeviceError, match="reads back differently") as caught:
        install(entry(kind, target, properties=properties), FakeData(CONTENT), ctx)
    assert (caught.value.artifact, caught.value.handler) == ("a.img", kind)
    if kind == "rawfile" and more:
        assert target.read_bytes() == b"old"
        assert not (tmp_path / "target.tmp").exists()


@pytest.mark.parametrize("kind", ["raw", "rawfile"])
def test_nothing_is_read_when_nobody_asks(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(before_read_back=flip))
    install(entry(kind, target, properties={"verify-write": ("false",)}), FakeData(CONTENT), ctx)
    assert target.read_bytes() == CONTENT


def test_a_file_on_a_mounted_device(tmp_path: Path) -> None:
    hw = FakeHardware(volumes={"/dev/vol": str(tmp_path)}, before_read_back=flip)
    art = entry("rawfile", Path("/target"), device="/dev/vol", filesystem="ext4", properties=ASKED)
    with pytest.raises(DeviceError, match="/target on /dev/vol reads back differently"):
        install(art, FakeData(CONTENT), FakeContext(str(tmp_path), hw=hw))
    assert not (tmp_path / "target").exists()


def test_an_offset_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(100))
    install(
        entry("raw", target, offset_bytes=100, properties=ASKED),
        FakeData(CONTENT),
        FakeContext(str(tmp_path)),
    )
    assert target.read_bytes() == bytes(100) + CONTENT


def test_handlers_that_cannot_are_not_asked(tmp_path: Path) -> None:
    art = Artifact(Kind.FILE, "archive", "a.tar", path="/srv", properties=ASKED, where="files[0] a.tar")
    planner = Planner(registry(), signed=False)
    with pytest.raises(DescriptionError, match="'archive' does not read back"):
        planner.plan(Description("1", files=(art,)), Unit(), None)
    planner.plan(Description("1", files=(art._replace(type="rawfile"),)), Unit(), None)


@pytest.mark.parametrize("key", ["verify-write", "verify-first", "allow-mounted"])
def test_a_switch_is_true_or_false(key: str) -> None:
    art = Artifact(Kind.FILE, "rawfile", "a", path="/a", properties={key: ("yes",)})
    with pytest.raises(DescriptionError, match=f"property {key} is 'yes'"):
        read_options(type("None", (), {}), art)
