"""Raw flash and UBI in the table of faults (test_failures.py)."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from swagent.errors import DeviceError, HashError, PreflightRefused, SizeError
from swagent.hw.mtd import NOR
from swagent.model import Artifact, Kind
from swagent.testing import FakeFlash, FakeHardware, FakeUbi

from .failures import DATA, Expected, World

GONE = "there is no MTD"
NO_DATA = "it has no artifact"


class FlashWorld(World):
    handler = "flash"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, GONE, untouched=True),
        "small": Expected(PreflightRefused, "good blocks", untouched=True),
        "read-only": Expected(PreflightRefused, "read-only", untouched=True),
        "fails": Expected(DeviceError, "blocks failed in this update"),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.flash = FakeFlash(bad=[1])
        self.flash.content[0:3] = b"old"
        self.hw = FakeHardware(flashes={3: self.flash})
        self.art = Artifact(Kind.IMAGE, self.handler, filename="image", device="mtd3", size_bytes=len(DATA))

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(device="mtd4")
        elif fault == "small":
            self.flash.bad = set(range(2, 8))
        elif fault == "read-only":
            self.flash.read_only = True
        elif fault == "fails":
            self.flash.breaks_after = 3

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.flash.opened == 0
        assert not untouched or self.flash.log == []


class HammingWorld(FlashWorld):
    handler = "flash-hamming1"


class UbiVolumeWorld(World):
    handler = "ubivol"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "there is no UBI volume", untouched=True),
        "small": Expected(PreflightRefused, "can have", untouched=True),
        "read-only": Expected(PreflightRefused, "read-only", untouched=True),
        "fails": Expected(DeviceError, "the flash is broken"),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.ubi = FakeUbi()
        self.ubi.put("a", b"old", lebs=3)
        self.ubi.put("b", b"older", lebs=3)
        self.hw = FakeHardware(flashes={4: FakeFlash()}, ubi=self.ubi)
        self.art = Artifact(
            Kind.IMAGE,
            "ubivol",
            filename="rootfs",
            volume="b",
            device="mtd4",
            size_bytes=len(DATA),
            properties={"replaces": ("a",)},
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(volume="c")
        elif fault == "small":
            self.ubi.resize(self.ubi.facts("b"), 4096)
            self.ubi.log.clear()
        elif fault == "read-only":
            self.ubi.read_only = True
        elif fault == "fails":
            self.ubi.before_change = broken_at("write b")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.ubi.opened == 0
        assert not untouched or self.ubi.log == []
        if installed:
            assert self.ubi.names() == {"a": 1, "b": 0}
            assert self.ubi.holds("a") == DATA.rstrip(b"\xff")
            return
        assert self.ubi.names() == {"a": 0, "b": 1}
        assert self.ubi.holds("a") == b"old"
        # what was begun and did not prove right is marked, so that nobody takes it for an image
        assert self.ubi.facts("b").interrupted is not untouched


class UbiPartitionWorld(World):
    handler = "ubipartition"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, GONE, untouched=True),
        "small": Expected(PreflightRefused, "too few", untouched=True),
        "read-only": Expected(PreflightRefused, "read-only", untouched=True),
        "fails": Expected(DeviceError, "the flash is broken"),
        "short": NO_DATA,
        "hash": NO_DATA,
    }

    def __init__(self, folder: Path) -> None:
        self.ubi = FakeUbi(lebs=10)
        self.ubi.put("data", b"old", lebs=4)
        self.hw = FakeHardware(flashes={4: FakeFlash()}, ubi=self.ubi)
        self.art = Artifact(
            Kind.PARTITION, "ubipartition", volume="data", name="data", device="mtd4", size_bytes=4096
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(device="mtd5")
        elif fault == "small":
            self.art = self.art._replace(size_bytes=11 * 4096)
        elif fault == "read-only":
            self.ubi.read_only = True
        elif fault == "fails":
            self.ubi.before_change = broken_at("remove data")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert not untouched or self.ubi.log == []
        assert self.ubi.facts("data").lebs == (1 if installed else 4)
        assert self.ubi.holds("data") == (b"" if installed else b"old")


class UbiSwapWorld(World):
    handler = "ubiswap"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "there is no UBI volume c", untouched=True),
        "small": "names take no room",
        "read-only": Expected(DeviceError, "read-only", untouched=True),
        "fails": Expected(DeviceError, "the flash is broken", untouched=True),
        "short": NO_DATA,
        "hash": NO_DATA,
    }

    def __init__(self, folder: Path) -> None:
        self.ubi = FakeUbi()
        self.ubi.put("a", b"first")
        self.ubi.put("b", b"second")
        self.hw = FakeHardware(flashes={4: FakeFlash()}, ubi=self.ubi)
        self.art = Artifact(Kind.SCRIPT, "ubiswap", properties={"swap-0": ("a", "b")})

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(properties={"swap-0": ("a", "c")})
        elif fault == "read-only":
            self.ubi.read_only = True
        elif fault == "fails":
            self.ubi.before_change = broken_at("rename a, b")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert self.ubi.names() == ({"b": 0, "a": 1} if installed else {"a": 0, "b": 1})


class SsblWorld(World):
    handler = "ssblswitch"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, GONE, untouched=True),
        "small": "a record is smaller than any erase block",
        "read-only": Expected(PreflightRefused, "read-only", untouched=True),
        "fails": Expected(DeviceError, "the flash is broken"),
        "short": NO_DATA,
        "hash": NO_DATA,
    }

    def __init__(self, folder: Path) -> None:
        self.flashes = {number: FakeFlash(NOR, blocks=2) for number in (1, 2)}
        self.flashes[2].content[:12] = bytes.fromhex("70df76e7 00100000 00200000")
        self.hw = FakeHardware(flashes=self.flashes)
        self.art = Artifact(
            Kind.SCRIPT,
            "ssblswitch",
            properties={
                "device": ("mtd1", "mtd2"),
                "imageoffs": ("0x1000", "0x2000"),
                "imagesize": ("4K", "4K"),
            },
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            del self.flashes[1]
        elif fault == "read-only":
            self.flashes[1].read_only = True
        elif fault == "fails":
            self.flashes[1].breaks_after = 3  # two erases and the record: what fails is its mark

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert {flash.opened for flash in self.flashes.values()} == {0}
        assert self.flashes[2].content[:4] == bytes.fromhex("70df76e7")
        if installed:
            assert self.flashes[1].content[:4] == bytes.fromhex("71df76e7")
        elif not untouched:
            assert self.flashes[1].content[:4] == bytes.fromhex("f9ffffff"), "no valid record"


def broken_at(change: str) -> Callable[[str], None]:
    """A hook that fails at one change."""

    def hook(what: str) -> None:
        if what == change:
            raise DeviceError("the flash is broken", path="fake", errno=errno.EIO)

    return hook


WORLDS = (FlashWorld, HammingWorld, UbiVolumeWorld, UbiPartitionWorld, UbiSwapWorld, SsblWorld)
