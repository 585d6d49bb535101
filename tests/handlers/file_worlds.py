"""Worlds of handlers for files, and of those that pass on to others (see failures.py)."""

import io
import os
import tarfile
from pathlib import Path
from typing import ClassVar

from swagent.errors import DeviceError, HashError, PreflightRefused, ScriptError, SizeError
from swagent.hw import Hardware
from swagent.model import Artifact, Kind
from swagent.testing import FakeHardware

from .failures import DATA, Expected, World

FULL = "a file system tells that it is full when it is: tests/faults/test_failing_targets.py"


def tar_of(data: bytes) -> bytes:
    """An archive with one file in it."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return whole.getvalue()


class ArchiveWorld(World):
    """An archive of one file; what came of it stays after a failure, as what a target held before is not known."""

    handler = "archive"
    data = tar_of(DATA)
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot mount", untouched=True),
        "small": FULL,
        "read-only": Expected(DeviceError, "cannot unpack file", untouched=True),
        "fails": FULL,
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        device = folder / "device"
        device.touch()
        self.hw = FakeHardware(volumes={str(device): str(self.root)})
        self.art = Artifact(
            Kind.FILE, "archive", filename="a.tar", path="/", device=str(device), filesystem="ext4"
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.hw.volumes.clear()
        elif fault == "read-only":
            self.art = self.art._replace(device="", filesystem="", path="/proc")

    def check(self, *, installed: bool, untouched: bool) -> None:
        if installed:
            assert (self.root / "file").read_bytes() == DATA
        if untouched:
            assert os.listdir(self.root) == []


class BootEnvFileWorld(World):
    """Boot variables are only staged: the frame holds that none is after a failure."""

    handler = "bootloader"
    data = b"slot=b\n" * 10
    expects: ClassVar = {
        "missing": "it only stages: the boot loader is looked for before any handler runs",
        "small": "the boot environment is written last, all or nothing: tests/bootloader/",
        "read-only": "the boot environment is written last, all or nothing: tests/bootloader/",
        "fails": "the boot environment is written last, all or nothing: tests/bootloader/",
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.hw = FakeHardware()
        self.art = Artifact(Kind.IMAGE, self.handler, filename="vars")

    def check(self, *, installed: bool, untouched: bool) -> None:
        """The frame looks at what is staged."""


class ExecutorWorld(World):
    handler = "executor"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "is not an executable file", untouched=True),
        "small": Expected(ScriptError, "ended with status 7"),
        "read-only": "its program tells, as when it is too small",
        "fails": Expected(ScriptError, "ended by a signal"),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.done = folder / "done"
        self.hw = Running(folder)
        self.art = Artifact(Kind.IMAGE, "executor", filename="x")
        self.say(f"cat >/dev/null; echo >{self.done}")

    def say(self, command: str) -> None:
        self.art = self.art._replace(properties={"cmd": ("/bin/sh",), "parms": (f"-c '{command}'",)})

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(properties={"cmd": ("/bin/nobody",)})
        elif fault == "small":
            self.say("cat >/dev/null; exit 7")
        elif fault == "fails":
            self.say("kill -9 $PPID")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.done.exists() is installed


class Running(FakeHardware):
    """Really runs programs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.run = Hardware(str(folder)).run  # type: ignore[method-assign]  # all else stays a stand-in


class CopyWorld(World):
    handler = "copy"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "slot", untouched=True),
        "small": Expected(PreflightRefused, "holds only", untouched=True),
        "read-only": Expected(DeviceError, "cannot open", untouched=True),
        "fails": Expected(DeviceError, "cannot write"),
        "short": Expected(SizeError, "are to be copied", untouched=True),
        "hash": "it copies what the unit has: nothing was promised about that",
    }

    def __init__(self, folder: Path) -> None:
        self.source, self.slot = folder / "source", folder / "slot"
        self.source.write_bytes(DATA)
        self.slot.write_bytes(b"old")
        self.hw = FakeHardware()
        properties = {
            "copyfrom": (str(self.source),),
            "chain": ("raw",),
            "type": ("postinstall",),
            "size": (str(len(DATA)),),
        }
        self.art = Artifact(Kind.SCRIPT, "copy", device=str(self.slot), properties=properties)

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.slot.unlink()
        elif fault == "small":
            self.hw.capacities[str(self.slot)] = len(DATA) - 1
        elif fault == "read-only":
            self.hw.read_only.add(str(self.slot))
        elif fault == "fails":
            self.art = self.art._replace(device="/dev/full")
        elif fault == "short":
            self.source.write_bytes(DATA[:-1])

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert {target.state for target in self.hw.targets} <= {"closed" if installed else "abandoned"}
        if untouched and self.slot.exists():
            assert self.slot.read_bytes() == b"old"


WORLDS: tuple[type[World], ...] = (ArchiveWorld, BootEnvFileWorld, ExecutorWorld, CopyWorld)
