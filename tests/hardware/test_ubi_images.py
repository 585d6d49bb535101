"""Images into UBI volumes of a real kernel: handlers, cuts, and whole updates by the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.cli.main import main
from swagent.errors import DeviceError, HashError, PreflightRefused
from swagent.hw import Hardware
from swagent.hw.mtd import Mtd
from swagent.hw.ubi import KernelUbi, UbiDevice
from swagent.model import Artifact, Kind, Phase
from swagent.swu.make import make
from swagent.testing import FakeContext, FakeData, install, run_script
from tests.hw.ubi_manners import read, update

EXAMPLE = Path(__file__).parents[2] / "sw-description.examples" / "ubi"
MIB = 1 << 20


@pytest.fixture
def kernel(ubi: str) -> Iterator[KernelUbi]:
    kernel = KernelUbi()
    yield kernel
    for device in kernel.devices():
        for volume in kernel.volumes(device.number):
            kernel.remove(volume)


@pytest.fixture
def device(kernel: KernelUbi) -> UbiDevice:
    return kernel.devices()[0]


def entry(
    device: UbiDevice, volume: str, size_bytes: int, kind: Kind = Kind.IMAGE, **properties: str
) -> Artifact:
    return Artifact(
        kind,
        "ubivol" if kind is Kind.IMAGE else "ubipartition",
        filename="image",
        volume=volume,
        device=f"mtd{device.mtd}",
        size_bytes=size_bytes,
        properties={key.replace("_", "-"): (value,) for key, value in properties.items()},
    )


def put(art: Artifact, data: FakeData | bytes, folder: Path) -> FakeContext:
    ctx = FakeContext(str(folder), hw=Hardware(str(folder)))
    install(art, FakeData(data) if isinstance(data, bytes) else data, ctx)
    return ctx


def holds(kernel: KernelUbi, name: str, n_bytes: int) -> bytes:
    number = kernel.devices()[0].number
    return read(kernel, next(one for one in kernel.volumes(number) if one.name == name), n_bytes)


def names(kernel: KernelUbi) -> dict[str, int]:
    return {volume.name: volume.id for volume in kernel.volumes(kernel.devices()[0].number)}


def test_replaces(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    old, new = os.urandom(MIB), os.urandom(MIB + 77)
    update(kernel, kernel.create(device.number, "rootfs", 2 * MIB), old)
    kernel.create(device.number, "rootfs_new", 2 * MIB)
    put(entry(device, "rootfs_new", len(new), replaces="rootfs"), new, tmp_path)
    assert names(kernel) == {"rootfs_new": 0, "rootfs": 1}
    assert holds(kernel, "rootfs", len(new)) == new
    assert holds(kernel, "rootfs_new", len(old)) == old


def test_what_does_not_fit_changes_nothing(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    volume = kernel.create(device.number, "rootfs", device.leb_bytes)
    update(kernel, volume, b"old")
    for art in (
        entry(device, "rootfs", device.leb_bytes + 1),
        entry(device, "rootfs", (device.free_lebs + 1) * device.leb_bytes, auto_resize="true"),
        entry(device, "rootfs", (device.free_lebs + 1) * device.leb_bytes, Kind.PARTITION),
    ):
        with pytest.raises(PreflightRefused):
            put(art, b"x", tmp_path)
    assert kernel.volumes(device.number)[0].lebs == 1
    assert holds(kernel, "rootfs", 3) == b"old"


def test_partitions_and_auto_resize(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    leb = device.leb_bytes
    put(entry(device, "data", 3 * leb, Kind.PARTITION), b"", tmp_path)
    update(kernel, kernel.volumes(device.number)[0], b"kept")
    put(entry(device, "data", 5 * leb, Kind.PARTITION), b"", tmp_path)
    assert (kernel.volumes(device.number)[0].lebs, holds(kernel, "data", 4)) == (5, b"kept")
    put(entry(device, "data", 2 * leb, Kind.PARTITION), b"", tmp_path)
    assert kernel.volumes(device.number)[0].lebs == 2
    image = os.urandom(4 * leb - 5)
    art = entry(device, "kernel", len(image), auto_resize="true")._replace(data="static")
    put(art, image, tmp_path)
    put(art._replace(size_bytes=leb), image[:leb], tmp_path)  # a static volume does not shrink in place
    found = kernel.volumes(device.number)[1]
    assert (found.name, found.static, found.lebs, found.data_bytes) == ("kernel", True, 1, leb)
    put(entry(device, "data", 0, Kind.PARTITION), b"", tmp_path)
    assert names(kernel) == {"kernel": 1}


def test_swap(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        update(kernel, kernel.create(device.number, name, MIB), name.encode())
    art = Artifact(Kind.SCRIPT, "ubiswap", properties={"swap-0": ("a", "b"), "swap-1": ("c", "d")})
    ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))

    run_script(art, list(Phase), ctx)
    assert names(kernel) == {"b": 0, "a": 1, "d": 2, "c": 3}
    assert holds(kernel, "a", 1) == b"b"


def test_a_forged_end_is_never_read(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    update(kernel, kernel.create(device.number, "rootfs", MIB), b"old")
    kernel.create(device.number, "rootfs_new", MIB)
    data = os.urandom(MIB // 2)
    art = entry(device, "rootfs_new", len(data), replaces="rootfs")
    with pytest.raises(HashError):
        put(art, FakeData(data, verdict=HashError("forged")), tmp_path)
    with pytest.raises(DeviceError):
        holds(kernel, "rootfs_new", 1)
    assert names(kernel) == {"rootfs": 0, "rootfs_new": 1}
    assert holds(kernel, "rootfs", 3) == b"old"
    put(art, data, tmp_path)  # the next update repairs it
    assert holds(kernel, "rootfs", len(data)) == data


def test_ubi_is_attached_and_formatted(kernel: KernelUbi, device: UbiDevice, tmp_path: Path) -> None:
    kernel.create(device.number, "rootfs", MIB)
    kernel.detach(device.number)
    put(entry(device, "rootfs", 3)._replace(device=""), b"new", tmp_path)
    assert holds(kernel, "rootfs", 3) == b"new"
    (again,) = kernel.devices()
    kernel.remove(kernel.volumes(again.number)[0])
    kernel.detach(again.number)
    flash = Mtd(f"/dev/mtd{device.mtd}", writable=True)
    for at in range(0, flash.size_bytes, flash.erase_bytes):
        if not flash.is_bad(at):
            flash.erase(at)
    flash.close()
    with pytest.raises(PreflightRefused, match="no UBI volume"):
        put(entry(device, "rootfs", 3), b"new", tmp_path)
    assert kernel.devices() == [], "an empty MTD is not formatted by looking"
    put(entry(device, "rootfs", MIB, Kind.PARTITION), b"", tmp_path)
    assert names(kernel) == {"rootfs": 0}


# -- whole updates


class Unit:
    """What the example wants: a kernel partition, volumes, and a boot environment in two more."""

    def __init__(self, kernel: KernelUbi, device: UbiDevice, nand: str, folder: Path) -> None:
        self.folder = folder
        self.old, self.new = os.urandom(MIB), os.urandom(MIB + 4321)
        self.image = os.urandom(400_001)
        (folder / "rootfs.ubifs").write_bytes(self.new)
        (folder / "kernel.fit").write_bytes(self.image)
        for name in ("env", "redund"):
            kernel.create(device.number, name, 0x1F000)
        config = folder / "fw_env.config"
        config.write_text("/dev/ubi0:env 0x0 0x1f000\n/dev/ubi0:redund 0x0 0x1f000\n")
        (folder / "defaults").write_text("slot=a\n")
        self.tool = ["-c", str(config), "-f", str(folder / "defaults")]
        subprocess.run(["fw_setenv", *self.tool, "slot", "a"], check=True)
        update(kernel, kernel.create(device.number, "rootfs", 2 * MIB), self.old)
        self.update = folder / "update.swu"
        make(
            str(EXAMPLE / "sw-description"),
            output=str(self.update),
            search=[str(folder)],
            variables={
                "VERSION": "2.4.0",
                "KERNEL": f"mtd{nand.removeprefix('/dev/mtd')}",
                "SYSTEM": f"mtd{device.mtd}",
            },
        )
        config_file = folder / "swupdate.cfg"
        config_file.write_text(
            f'globals : {{ bootloader = "uboot"; fwenv-config-location = "{config}"; }};\n'
        )
        self.words = [str(self.update), "--allow-unsigned", "-H", "router:1.0", "-f", str(config_file)]

    def env(self) -> str:
        done = subprocess.run(
            ["fw_printenv", *self.tool, "-n", "slot"], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture
def unit(
    kernel: KernelUbi, device: UbiDevice, nand: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Unit:
    for name in ("TMPDIR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path))
    return Unit(kernel, device, nand, tmp_path)


def test_a_whole_update(unit: Unit, kernel: KernelUbi, nand: str) -> None:
    assert main(["-i", *unit.words]) == 0
    assert holds(kernel, "rootfs", len(unit.new)) == unit.new
    assert holds(kernel, "rootfs_old", len(unit.old)) == unit.old
    done = subprocess.run(["nanddump", "--bb=skipbad", "-q", nand], capture_output=True, check=True)
    assert done.stdout[: len(unit.image)] == unit.image
    assert unit.env() == "b"


def test_an_mtd_that_must_be_left_alone(unit: Unit, kernel: KernelUbi, device: UbiDevice) -> None:
    assert main(["-i", *unit.words, "-b", f"0 {device.mtd}"]) == 34
    assert unit.env() == "a"
    assert holds(kernel, "rootfs", len(unit.old)) == unit.old


def test_killed_in_the_middle_of_a_volume(unit: Unit, kernel: KernelUbi) -> None:
    data = unit.update.read_bytes()
    command = [sys.executable, "-m", "swagent", "-i", "-", *unit.words[1:]]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(data[: len(data) - MIB // 2])  # the volume comes last, and not to its end
        child.stdin.flush()
        end_s = time.monotonic() + 120
        while not any(one.interrupted for one in kernel.volumes(0)):
            assert time.monotonic() < end_s and child.poll() is None
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
    assert holds(kernel, "rootfs", len(unit.old)) == unit.old
    assert unit.env() == "a"
    assert main(["-i", *unit.words]) == 0
    assert holds(kernel, "rootfs", len(unit.new)) == unit.new
    assert unit.env() == "b"
