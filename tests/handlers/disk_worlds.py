"""Worlds of handlers for disks, file systems and eMMCs (see failures.py)."""

import errno
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from swagent.errors import DeviceError, HashError, PreflightRefused, ScriptError, SizeError
from swagent.hw import filesystem
from swagent.hw.programs import Log
from swagent.model import Artifact, Kind, Reader
from swagent.testing import FakeHardware
from swagent.testing.storage import FakeEmmc
from tests.programs import need

from .failures import DATA, Expected, World


def divide(disk: Path, *script: str) -> None:
    """A disk image of 1 MiB."""
    need("sfdisk")
    disk.write_bytes(bytes(1 << 20))
    subprocess.run(["sfdisk", "--quiet", disk], input="\n".join(script).encode(), check=True)


class GptPartWorld(World):
    handler = "gptpart"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "cannot find", untouched=True),
        "small": Expected(PreflightRefused, "holds only", untouched=True),
        "read-only": Expected(DeviceError, "cannot open", untouched=True),
        "fails": Expected(PreflightRefused, "no valid GPT", untouched=True),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.disk, self.slot = folder / "disk", folder / "diskp2"
        divide(self.disk, "label: gpt", "first-lba: 64", "size=64, name=a", "size=64, name=b")
        self.slot.write_bytes(b"old")
        self.hw = FakeHardware()
        self.art = Artifact(
            Kind.IMAGE, "gptpart", filename="x", device=str(self.disk), volume="b", size_bytes=len(DATA)
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.slot.unlink()
        elif fault == "small":
            self.hw.capacities[str(self.slot)] = len(DATA) - 1
        elif fault == "read-only":
            self.hw.read_only.add(str(self.slot))
        elif fault == "fails":
            self.disk.write_bytes(b"\xff" * (1 << 20))

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert {target.state for target in self.hw.targets} <= {"closed" if installed else "abandoned"}
        if untouched and self.slot.exists():
            assert self.slot.read_bytes() == b"old"


class GptSwapWorld(World):
    handler = "gptswap"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "cannot find", untouched=True),
        "small": Expected(PreflightRefused, "no valid GPT", untouched=True),
        "read-only": Expected(PreflightRefused, "cannot open", untouched=True),
        "fails": Expected(DeviceError, "cannot write the GPT", untouched=True),
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        divide(self.disk, "label: gpt", "first-lba: 64", "size=64, name=a", "size=64, name=b")
        self.before = self.disk.read_bytes()
        self.hw = FakeHardware()
        properties = {"swap-0": ("a", "b")}
        self.art = Artifact(Kind.SCRIPT, "gptswap", device=str(self.disk), properties=properties)

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.disk.unlink()
        elif fault == "small":
            self.before = b"small"
            self.disk.write_bytes(self.before)
        elif fault == "read-only":
            self.hw.read_only.add(str(self.disk))
        elif fault == "fails":
            self.hw.failing.add(str(self.disk))

    def check(self, *, installed: bool, untouched: bool) -> None:
        if self.disk.exists():
            assert (self.disk.read_bytes() == self.before) is not installed


class ToggleBootWorld(GptSwapWorld):
    handler = "toggleboot"
    expects: ClassVar = {
        **GptSwapWorld.expects,
        "small": Expected(PreflightRefused, "too small", untouched=True),
        "fails": Expected(DeviceError, "cannot write the partition table", untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        divide(self.disk, "label: dos", "start=64, size=64, bootable", "size=64")
        self.before = self.disk.read_bytes()
        self.art = Artifact(
            Kind.SCRIPT, "toggleboot", device=str(self.disk), properties={"partition": ("2",)}
        )


class DiskPartWorld(GptSwapWorld):
    handler = "diskpart"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "cannot find", untouched=True),
        "small": Expected(PreflightRefused, "bytes left for partition-1", untouched=True),
        "read-only": Expected(PreflightRefused, "cannot open", untouched=True),
        "fails": "sfdisk writes by itself: tests/hw/test_partitions.py has a device that fails",
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with open(self.disk, "r+b") as file:
            file.truncate(4 << 20)
        self.before = self.disk.read_bytes()
        self.art = Artifact(
            Kind.PARTITION,
            "diskpart",
            device=str(self.disk),
            properties={"labeltype": ("dos",), "partition-1": ("size=2M",)},
        )

    def inflict(self, fault: str) -> None:
        super().inflict(fault)
        if fault == "small":
            self.before = bytes(2 << 20)
            self.disk.write_bytes(self.before)


class DiskFormatWorld(World):
    handler = "diskformat"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot find", untouched=True),
        "small": Expected(DeviceError, "cannot make vfat", untouched=True),
        "read-only": Expected(DeviceError, "cannot make vfat", untouched=True),
        "fails": "mkfs writes by itself: tests/hw/test_partitions.py has a device that fails",
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        need("mkfs.vfat")
        self.device = folder / "device"
        self.device.write_bytes(b"old")
        self.hw = FakeHardware()
        properties = {"fstype": ("vfat",)}
        self.art = Artifact(Kind.PARTITION, "diskformat", device=str(self.device), properties=properties)

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.device.unlink()
        elif fault == "small":
            self.hw = Formatting()
        elif fault == "read-only":
            self.hw.read_only.add(str(self.device))

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert bool(self.hw.filesystems) is installed


class Formatting(FakeHardware):
    """Really makes file systems."""

    def make_filesystem(self, path: str, kind: str, label: str, log: Log) -> None:
        filesystem.make(path, kind, label, log)
        super().make_filesystem(path, kind, label, log)


class UniqueUuidWorld(World):
    handler = "uniqueuuid"
    expects: ClassVar = {
        "missing": "it looks at all devices there are",
        "small": "it writes nothing",
        "read-only": "it writes nothing",
        "fails": Expected(PreflightRefused, "holds a file system with the UUID", untouched=True),
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        self.hw = FakeHardware()
        self.art = Artifact(Kind.PARTITION, "uniqueuuid", properties={"fs-uuid": ("AB-CD",)})

    def inflict(self, fault: str) -> None:
        self.hw.filesystems["/dev/twin"] = filesystem.Filesystem("vfat", "", "ab-cd")

    def check(self, *, installed: bool, untouched: bool) -> None:
        """There is nothing that it could have done."""


class ReadBackWorld(World):
    handler = "readback"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot open", untouched=True),
        "small": Expected(PreflightRefused, "are to be compared", untouched=True),
        "read-only": "it writes nothing",
        "fails": Expected(DeviceError, "Input/output error", untouched=True),
        "short": Expected(DeviceError, "are to be compared", untouched=True),
        "hash": Expected(DeviceError, "holds something else", untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.device = folder / "device"
        self.device.write_bytes(DATA)
        self.hw = FakeHardware(before_read_back=self.before)
        self.broken = False
        properties = {"sha256": (sha256(DATA).hexdigest(),), "size": (str(len(DATA)),)}
        self.art = Artifact(Kind.SCRIPT, "readback", device=str(self.device), properties=properties)

    def before(self, fd: int) -> None:
        if self.broken:
            raise DeviceError("cannot read it: Input/output error", path=str(self.device), errno=errno.EIO)

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.device.unlink()
        elif fault == "small":
            self.hw.capacities[str(self.device)] = len(DATA) - 1
        elif fault == "fails":
            self.broken = True
        elif fault == "short":
            self.device.write_bytes(DATA[:-1])
        elif fault == "hash":
            self.device.write_bytes(DATA[:-1] + b"?")

    def check(self, *, installed: bool, untouched: bool) -> None:
        """It only reads; the frame looks at what is open."""


class EmmcWorld(World):
    handler = "emmc_boot_toggle"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "cannot read the EXT_CSD", untouched=True),
        "small": "it writes one byte of a register",
        "read-only": Expected(PreflightRefused, "boots from no partition", untouched=True),
        "fails": Expected(DeviceError, "cannot switch", untouched=True),
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "mmcblk0")
        self.emmc = FakeEmmc(active=0)
        self.hw = FakeHardware()
        self.hw.emmcs[self.path] = self.emmc
        self.art = Artifact(Kind.SCRIPT, "emmc_boot_toggle", device=self.path)

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.hw.emmcs.clear()
        elif fault == "read-only":
            self.emmc.active = None
        elif fault == "fails":
            self.emmc.fails = True

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.emmc.active == 1 if installed else self.emmc.active in (0, None)


class EmmcBootWorld(EmmcWorld):
    handler = "emmc_boot"
    expects: ClassVar = {
        **EmmcWorld.expects,
        "missing": Expected(PreflightRefused, "is no boot partition", untouched=True),
        "read-only": "it sets what was not set too",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.boot = folder / "mmcblk0boot1"
        self.boot.touch()
        self.art = Artifact(Kind.SCRIPT, "emmc_boot", device=str(self.boot))

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.boot.unlink()
        else:
            super().inflict(fault)


class BtrfsWorld(World):
    handler = "btrfs"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot mount", untouched=True),
        "small": "the kernel tells, as when it is not to be written",
        "read-only": Expected(DeviceError, "cannot make the subvolume", untouched=True),
        "fails": Expected(DeviceError, "is no btrfs subvolume", untouched=True),
        "short": "it takes no data",
        "hash": "it takes no data",
    }

    def __init__(self, folder: Path) -> None:
        self.device, self.root = folder / "device", folder / "root"
        self.device.touch()
        self.root.mkdir()
        self.hw = FakeHardware(volumes={str(self.device): str(self.root)})
        self.ask("create", "/new")

    def ask(self, command: str, path: str) -> None:
        self.art = Artifact(
            Kind.PARTITION,
            "btrfs",
            filename="x",
            device=str(self.device),
            properties={"command": (command,), "path": (path,), "mount": ("true",)},
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.hw.volumes.clear()
        elif fault == "read-only":
            self.hw.volumes[str(self.device)] = "/proc"
        elif fault == "fails":
            (self.root / "folder").mkdir()
            self.ask("delete", "/folder")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.hw.subvolumes == ({f"{self.root}/new"} if installed else set())
        assert set(os.listdir(self.root)) <= ({"new"} if installed else {"folder"})


class BtrfsReceiveWorld(World):
    """A program that makes a subvolume of what it reads, and is killed when reading fails."""

    handler = "btrfs-receive"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot mount", untouched=True),
        "small": Expected(ScriptError, "ended with status 1", untouched=True),
        "read-only": "its program tells, as when it is too small",
        "fails": "its program tells, as when it is too small",
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.device, self.root = folder / "device", folder / "root"
        self.device.touch()
        self.root.mkdir()
        self.hw = FakeHardware(volumes={str(self.device): str(self.root)}, program=self.receive)
        self.status = 0
        self.art = Artifact(
            Kind.IMAGE,
            "btrfs-receive",
            filename="x",
            device=str(self.device),
            properties={"path": ("/",), "mount": ("true",), "btrfs-cmd": ("/bin/true",)},
        )

    def receive(self, argv: list[str], stdin: Reader | None) -> int:
        assert argv == ["/bin/true", "receive", f"{self.root}/"]
        self.hw.make_subvolume(f"{self.root}/new")
        buffer = memoryview(bytearray(1000))
        while stdin is not None and stdin.readinto(buffer):
            pass
        return self.status

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.hw.volumes.clear()
        elif fault == "small":
            self.status = 1

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert os.listdir(self.root) == (["new"] if installed else [])


WORLDS: tuple[type[World], ...] = (
    GptPartWorld,
    GptSwapWorld,
    ToggleBootWorld,
    DiskPartWorld,
    DiskFormatWorld,
    UniqueUuidWorld,
    ReadBackWorld,
    EmmcWorld,
    EmmcBootWorld,
    BtrfsWorld,
    BtrfsReceiveWorld,
)
