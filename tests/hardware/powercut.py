"""The power goes while a UBI volume is written, and comes back: two boots with one flash (tools/test-hw runs both).

    python -m tests.hardware.powercut cut       installs over ``b`` and takes the power away in the middle of it
    python -m tests.hardware.powercut look      judges what the flash holds then, and installs again

The flash is a disk that the host keeps (``--state``). Unlike a chip it has a cache, so all is synced before the cut.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from swagent.handlers.ubidevice import device_of
from swagent.hw import Hardware
from swagent.hw.mtd import Mtd
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, install
from tests.hw.ubi_manners import read, update

from .conftest import DEVICES

OLD, NEW = (bytes([first]) + bytes(range(256)) * 6000 for first in b"on")


class Cut:
    """Half of ``NEW``, and then the power is gone."""

    def __init__(self) -> None:
        self.at = 0

    def readinto(self, buffer: memoryview) -> int:
        if self.at >= len(NEW) // 2:
            os.sync()
            print("cut", flush=True)
            Path("/proc/sysrq-trigger").write_text("b")
        piece = NEW[self.at : self.at + len(buffer)]
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


def erase(path: str) -> None:
    """What is not erased is not formatted: a new disk holds zeros."""
    flash = Mtd(path, writable=True)
    for at in range(0, flash.size_bytes, flash.erase_bytes):
        flash.erase(at)
    flash.close()


def main(what: str) -> None:
    subprocess.run(["modprobe", "ubi"], check=True)
    with TemporaryDirectory() as folder:
        hw = Hardware(folder)
        ctx = FakeContext(folder, hw=hw)
        art = Artifact(
            Kind.IMAGE,
            "ubivol",
            filename="image",
            volume="b",
            device=str((DEVICES / "flash").resolve()),
            properties={"replaces": ("a",)},
        )
        if what == "cut":
            erase(art.device)
            device = device_of(art, ctx, may_format=True)
            assert device is not None
            for name in ("a", "b"):
                update(hw.ubi, hw.ubi.create(device.number, name, len(OLD)), OLD)
            install(art, FakeData(Cut(), size_bytes=len(NEW)), ctx)
            raise AssertionError("the power is still there")
        device = device_of(art, ctx)
        assert device is not None, "the flash does not hold UBI any more"
        a, b = hw.ubi.volumes(device.number)
        assert (a.name, a.interrupted, b.name, b.interrupted) == ("a", False, "b", True), (a, b)
        assert read(hw.ubi, a, len(OLD)) == OLD
        install(art, FakeData(NEW), ctx)
        b, a = hw.ubi.volumes(device.number)
        assert (a.name, a.interrupted, b.name, b.interrupted) == ("a", False, "b", False), (a, b)
        assert (read(hw.ubi, a, len(NEW)), read(hw.ubi, b, len(OLD))) == (NEW, OLD)
        print(
            "after the power cut the old volume is whole, the new one is marked, and the next update repairs it"
        )


if __name__ == "__main__":
    main(sys.argv[1])
