"""What can go wrong with a device or an artifact, handler by handler: the right error, nothing switched, all released.

A handler takes part with a subclass of ``World`` (failures.py) in ``WORLDS``: its fakes, one entry that they can
install, and for each fault of ``FAULTS`` what is expected, or why that fault cannot happen to it (a string). For each
fault a fresh world is made; ``inflict`` breaks it, the entry is installed as an update would do it, and ``check`` looks
at what is left. A world that nothing is inflicted upon must install.
"""

import os
from pathlib import Path
from typing import ClassVar

import pytest

from swagent.errors import DeviceError, HashError, PreflightRefused, SizeError, SwagentError
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, FakeData, FakeHardware, install, run_script

from . import disk_worlds, flash_worlds, peer_worlds
from .failures import DATA, FAULTS, SHORT, WRONG, Expected, World


class RawWorld(World):
    handler = "raw"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "slot", untouched=True),
        "small": Expected(PreflightRefused, "holds only", untouched=True),
        "read-only": Expected(DeviceError, "cannot open", untouched=True),
        "fails": Expected(DeviceError, "cannot write"),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.slot = folder / "slot"
        self.slot.write_bytes(b"old")
        self.hw = FakeHardware()
        self.art = Artifact(
            Kind.IMAGE,
            "raw",
            filename="rootfs",
            device=str(self.slot),
            size_bytes=len(DATA),
            installed_directly=True,
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.slot.unlink()
        elif fault == "small":
            self.hw.capacities[str(self.slot)] = len(DATA) - 1
        elif fault == "read-only":
            self.hw.read_only.add(str(self.slot))
        elif fault == "fails":
            self.art = self.art._replace(device="/dev/full")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert {target.state for target in self.hw.targets} <= {"closed" if installed else "abandoned"}
        if untouched and self.slot.exists():
            assert self.slot.read_bytes() == b"old"


class RawFileWorld(World):
    handler = "rawfile"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot write", untouched=True),
        "small": "a file system tells that it is full when it is",
        "read-only": Expected(DeviceError, "cannot write", untouched=True),
        "fails": "a full file system is tested with a real one",
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.path = folder / "conf"
        self.path.write_bytes(b"old")
        self.hw = FakeHardware()
        self.art = Artifact(
            Kind.FILE,
            "rawfile",
            filename="conf",
            path=str(self.path),
            properties={"atomic-install": ("true",)},
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(path=str(self.path.parent / "folder" / "conf"))
        elif fault == "read-only":
            self.art = self.art._replace(path="/proc/conf")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert os.listdir(self.path.parent) == ["conf"]
        assert self.path.read_bytes() == (DATA if installed else b"old")


WORLDS: tuple[type[World], ...] = (
    RawWorld,
    RawFileWorld,
    *disk_worlds.WORLDS,
    *flash_worlds.WORLDS,
    *peer_worlds.WORLDS,
)


def put(world: World, data: FakeData, folder: Path) -> FakeContext:
    """Install as an update does, up to where the boot environment would be written."""
    ctx = FakeContext(str(folder), hw=world.hw)
    try:
        if world.art.kind is Kind.SCRIPT:
            run_script(world.art, list(Phase), ctx)
        else:
            install(world.art, data, ctx)
        ctx.sync.flush()
    except SwagentError:
        ctx.sync.discard()
        assert ctx.env.staged == {}
        raise
    return ctx


def data_with(fault: str) -> FakeData:
    if fault == "short":
        return FakeData(DATA[: len(DATA) // 2], size_bytes=len(DATA), verdict=SHORT)
    return FakeData(DATA, verdict=WRONG if fault == "hash" else None)


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.handler)
def test_without_a_fault_it_installs(world: type[World], tmp_path: Path) -> None:
    built = world(fresh(tmp_path))
    put(built, data_with(""), tmp_path)
    built.check(installed=True, untouched=False)


@pytest.mark.parametrize(
    ("world", "fault"),
    [
        pytest.param(world, fault, id=f"{world.handler}-{fault}")
        for world in WORLDS
        for fault, expected in world.expects.items()
        if isinstance(expected, Expected)
    ],
)
def test_fault(world: type[World], fault: str, tmp_path: Path) -> None:
    expected = world.expects[fault]
    assert isinstance(expected, Expected)
    built = world(fresh(tmp_path))
    built.inflict(fault)
    before = open_files()
    with pytest.raises(expected.error) as caught:
        put(built, data_with(fault), tmp_path)
    assert open_files() == before
    assert type(caught.value) is expected.error
    assert expected.text in caught.value.message
    built.check(installed=False, untouched=expected.untouched)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.handler)
def test_every_fault_is_thought_of(world: type[World]) -> None:
    assert set(world.expects) == set(FAULTS)


def fresh(folder: Path) -> Path:
    world = folder / "world"
    world.mkdir()
    return world
