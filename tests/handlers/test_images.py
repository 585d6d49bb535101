"""raw, rawfile and copy where the golden cases cannot go: devices, mounts, failures half-way."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from swagent.errors import (
    DescriptionError,
    DeviceError,
    HashError,
    PreflightRefused,
    SizeError,
    SwagentError,
)
from swagent.handlers.copy import Copy, _resolve
from swagent.handlers.raw import Raw
from swagent.handlers.rawfile import SMALL_BYTES, RawFile
from swagent.hw import Hardware
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, FakeData, FakeHardware, run_script
from tests.hw.test_block import loop

__all__ = ["loop"]


def image(path: Path, **more: int | bool) -> Artifact:
    return Artifact(Kind.IMAGE, "raw", filename="rootfs", device=str(path), **more)  # type: ignore[arg-type]  # by key


def file(path: str, **more: str) -> Artifact:
    return Artifact(Kind.FILE, "rawfile", filename="conf", path=path, **more)  # type: ignore[arg-type]  # by key


# -- raw


def test_failed_image_abandons_its_target(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.write_bytes(b"old")
    hw = FakeHardware()
    ctx = FakeContext(str(tmp_path), hw=hw)
    with pytest.raises(HashError) as caught:
        Raw().install(image(slot), Raw.Options(), FakeData(b"new", verdict=HashError("no")), ctx)
    assert [target.state for target in hw.targets] == ["abandoned"]
    assert (caught.value.artifact, caught.value.handler) == ("rootfs", "raw")
    Raw().install(image(slot), Raw.Options(), FakeData(b"new"), ctx)
    assert hw.targets[-1].state == "closed"


def test_image_larger_than_its_target(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.write_bytes(b"old")
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(capacities={str(slot): 100}))
    for art in (
        image(slot, size_bytes=101),
        image(slot, size_bytes=1, offset_bytes=100),
        image(slot, offset_bytes=101),
    ):
        with pytest.raises(PreflightRefused, match="holds only 100"):
            Raw().preflight(art, Raw.Options(), ctx)
    assert Raw().preflight(image(slot, size_bytes=100), Raw.Options(), ctx).write_bytes == 100
    with pytest.raises(SizeError, match="holds 100"):
        Raw().install(image(slot), Raw.Options(), FakeData(bytes(101)), ctx)
    assert slot.read_bytes() == b"old"


def test_mounted_target_is_refused_unless_allowed(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.write_bytes(b"old")
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(busy={str(slot): "it is mounted on /"}))
    with pytest.raises(PreflightRefused, match="mounted on /"):
        Raw().preflight(image(slot), Raw.Options(), ctx)
    with pytest.raises(PreflightRefused):
        Raw().install(image(slot), Raw.Options(), FakeData(b"new"), ctx)
    assert slot.read_bytes() == b"old"
    Raw().install(image(slot), Raw.Options(allow_mounted=True), FakeData(b"new"), ctx)
    assert slot.read_bytes() == b"new"


def test_real_device(loop: str, tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))
    data = os.urandom(3_000_001)
    art = image(Path(loop), size_bytes=len(data))
    assert Raw().preflight(art, Raw.Options(), ctx).target == loop
    Raw().install(art, Raw.Options(), FakeData(data), ctx)
    with Path(loop).open("rb") as device:
        assert device.read(len(data)) == data
    with pytest.raises(PreflightRefused, match="holds only"):
        Raw().preflight(image(Path(loop), size_bytes=17 << 20), Raw.Options(), ctx)


# -- rawfile


def test_failed_new_file_is_removed_and_an_old_one_stays_when_atomic(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path))
    (tmp_path / "old").write_text("old")
    bad = HashError("no")
    with pytest.raises(HashError):
        RawFile().install(file(str(tmp_path / "new")), RawFile.Options(), FakeData(b"x", verdict=bad), ctx)
    with pytest.raises(HashError):
        atomic = RawFile.Options(atomic_install=True)
        RawFile().install(file(str(tmp_path / "old")), atomic, FakeData(b"x", verdict=bad), ctx)
    ctx.sync.flush()
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_atomic_file_is_switched_at_flush_and_not_after_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "conf"
    target.write_text("old")
    for size_bytes in (3, SMALL_BYTES + 1):
        ctx = FakeContext(str(tmp_path))
        RawFile().install(
            file(str(target)), RawFile.Options(atomic_install=True), FakeData(b"n" * size_bytes), ctx
        )
        assert target.read_text() == "old"
        ctx.sync.discard()  # a later artifact of the phase failed
        assert [p.name for p in tmp_path.iterdir()] == ["conf"]
        assert target.read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_atomic_file_keeps_the_owner(tmp_path: Path) -> None:
    target = tmp_path / "conf"
    target.write_text("old")
    os.chown(target, 1234, 5678)
    target.chmod(0o4750)
    ctx = FakeContext(str(tmp_path))
    RawFile().install(file(str(target)), RawFile.Options(atomic_install=True), FakeData(b"new"), ctx)
    ctx.sync.flush()
    status = target.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o4750)


def test_only_files_are_overwritten(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    for path in (tmp_path / "fifo", tmp_path / "dir", Path("/dev/null"), tmp_path / "nul\0"):
        with pytest.raises(DeviceError):
            RawFile().install(file(str(path)), RawFile.Options(), FakeData(b"x"), FakeContext(str(tmp_path)))


@pytest.mark.parametrize("atomic", [False, True])
def test_file_on_a_mounted_device(loop: str, tmp_path: Path, *, atomic: bool) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    hw = Hardware(str(tmp_path))
    ctx = FakeContext(str(tmp_path), hw=hw)
    opt = RawFile.Options(create_destination=True, atomic_install=atomic)
    art = file("/etc/app/conf", device=loop, filesystem="ext4")
    RawFile().preflight(art, opt, ctx)
    for text in (b"first", b"second"):
        RawFile().install(art, opt, FakeData(text), ctx)
    with hw.mounted(loop, "ext4", read_only=True) as folder:
        assert Path(folder, "etc/app/conf").read_bytes() == b"second"
        assert os.listdir(Path(folder, "etc/app")) == ["conf"]
    with pytest.raises(SizeError, match="free"):
        RawFile().install(art, opt, FakeData(b"", size_bytes=1 << 30), ctx)


def test_links_on_a_mounted_device_stay_on_it(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "run").mkdir(parents=True)
    (volume / "etc").mkdir()
    (volume / "etc" / "resolv.conf").symlink_to("/run/resolv.conf")
    (volume / "etc" / "climb").symlink_to("../../outside")
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(volumes={"/dev/x": str(volume)}))
    art = file("/etc/resolv.conf", device="/dev/x", filesystem="ext4")
    RawFile().install(art, RawFile.Options(), FakeData(b"new"), ctx)
    assert (volume / "run" / "resolv.conf").read_text() == "new"
    climb = file("/etc/climb", device="/dev/x", filesystem="ext4")
    with pytest.raises(DeviceError, match="leads out"):
        RawFile().install(climb, RawFile.Options(), FakeData(b"new"), ctx)
    assert not (tmp_path / "outside").exists()


def test_device_without_filesystem_is_told(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path))
    RawFile().preflight(file(str(tmp_path / "x"), device="/dev/x"), RawFile.Options(), ctx)
    assert any("not mounted" in message for _, message in ctx.logged)


# -- copy


def test_mtd_by_name(tmp_path: Path) -> None:
    table = tmp_path / "mtd"
    table.write_text('dev:    size   erasesize  name\nmtd7: 00040000 00020000 "boot env"\n')
    with pytest.raises(DeviceError, match="mtdblock7 is missing"):
        _resolve("mtd:boot env", str(table))
    with pytest.raises(DeviceError, match="no MTD partition"):
        _resolve("mtd:boot", str(table))
    with pytest.raises(DeviceError, match="no MTD partition"):
        _resolve("mtd:boot", str(tmp_path / "none"))
    assert _resolve("/dev/sda") == "/dev/sda"


def test_copy_from_a_device(loop: str, tmp_path: Path) -> None:
    data = os.urandom(16 << 20)
    Path(loop).write_bytes(data)
    slot = tmp_path / "slot"
    slot.write_bytes(b"")
    ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))
    art = Artifact(Kind.SCRIPT, "copy", device=str(slot))
    Copy().run(art, Copy.Options(copyfrom=loop, type="postinstall", offset=5), Phase.POSTINSTALL, ctx)
    assert slot.read_bytes() == data[5:]


@pytest.mark.parametrize("source", ["/dev/null", "/nowhere", "/dev", "nul\0"])
def test_sources_that_cannot_be_copied(tmp_path: Path, source: str) -> None:
    art = Artifact(Kind.SCRIPT, "copy", device=str(tmp_path / "slot"))
    with pytest.raises(DeviceError):
        Copy().run(art, Copy.Options(copyfrom=source), Phase.PREINSTALL, FakeContext(str(tmp_path)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (Copy.Options("x", type="sometimes"), "sometimes"),
        (Copy.Options("x", chain="rawcopy"), "itself"),
        (Copy.Options("x", recursive=True), "path"),
    ],
)
def test_copies_that_make_no_sense(tmp_path: Path, options: Copy.Options, text: str) -> None:
    with pytest.raises(PreflightRefused, match=text):
        Copy().preflight(Artifact(Kind.SCRIPT, "copy"), options, FakeContext(str(tmp_path)))


@pytest.mark.parametrize(
    ("properties", "error", "text"),
    [
        ({"chain": "unheard"}, DescriptionError, "unheard"),
        ({"chain": "shellscript"}, DescriptionError, "shellscript"),
        ({"chain": "rawfile", "recursive": "true"}, PreflightRefused, "not absolute"),
        ({"size": "100"}, PreflightRefused, "holds only"),
    ],
)
def test_what_the_chained_handler_cannot_do_is_known_beforehand(
    tmp_path: Path, properties: dict[str, str], error: type[SwagentError], text: str
) -> None:
    device = tmp_path / "device"
    device.touch()
    told = {"copyfrom": "/nowhere/yet", "type": "postinstall", "chain": "raw", **properties}
    art = Artifact(
        Kind.SCRIPT, "copy", device=str(device), path="folder",
        properties={key: (value,) for key, value in told.items()},
    )  # fmt: skip
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(capacities={str(device): 99}))
    with pytest.raises(error, match=text):
        run_script(art, [], ctx)


def test_folder_into_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    art = Artifact(Kind.SCRIPT, "copy", path=str(tmp_path / "a" / "b"))
    opt = Copy.Options(copyfrom=str(tmp_path / "a"), chain="rawfile", recursive=True)
    with pytest.raises(Exception, match="into itself"):
        Copy().run(art, opt, Phase.PREINSTALL, FakeContext(str(tmp_path)))
