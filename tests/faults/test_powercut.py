"""Power cuts at every point of an update of two copies: what boots next is complete, and the next update succeeds.

An update is recorded as it runs on real files; ``swagent.testing.powercut`` tells what may be left of them.
"""

import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from swagent import handlers
from swagent.bootloader import Bootloader, ubootenv
from swagent.bootloader.uboot import UBoot
from swagent.clock import SystemClock
from swagent.events import EventBus
from swagent.hw import Hardware
from swagent.hw.block import BlockTarget
from swagent.installer.journal import Journal
from swagent.installer.rig import Policy, Rig
from swagent.installer.session import Session
from swagent.installer.writing import Writing
from swagent.model import Unit as Facts
from swagent.stream import Member as ArchiveMember
from swagent.stream.source import open_source
from swagent.testing.powercut import Cut, Recording, cuts, read_tree
from swagent.testing.recording import Recorder
from tests.programs import need

from .images import Member
from .unit import FIRST, NEW, ChunkedUnit, Ebg, Grub, Loader, OneCopy, OneLargeCopy, Unit, digests

SAFE: tuple[type[Loader], ...] = (Loader, OneCopy, Grub, Ebg)
SAMPLE = 40
STATES_EACH = 300


@pytest.fixture
def folder(tmp_path: Path, quick_folder: Path) -> Iterator[Path]:
    """A folder of the test's own, in memory where there is one."""
    path = quick_folder / tmp_path.name
    path.mkdir()
    yield path


def judge(
    unit: Unit, recording: Recording, chosen: list[Cut], *, slot: str = "b", recover: bool = True
) -> tuple[int, dict[str, int]]:
    """Judge what is found after each cut; the number of states that differ, and how many boot which copy."""
    seen: dict[int, None] = {}
    boots = {"a": 0, "b": 0}
    for cut, tree in recording.crashes(chosen):
        ended = cut.point == len(recording.operations)
        key = hash((ended, tuple(tree.files.items()), tree.folders))
        if key in seen:
            continue
        seen[key] = None
        tree.restore(unit.root)
        wrong = unit.wrong(tree, installed=slot if ended else "")
        assert not wrong, f"{wrong}\n{recording.story(cut)}"
        boots[unit.loader.read(unit.root)["slot"]] += 1
        if recover:
            try:
                unit.recover()
            except AssertionError as exc:
                raise AssertionError(f"the next update: {exc}\n{recording.story(cut)}") from exc
    return len(seen), boots


def sample(recording: Recording, count: int, seed: str) -> list[Cut]:
    """The last state, and some of all others, in order."""
    all_cuts = cuts(recording, by_chance=20)
    return sorted([*random.Random(seed).sample(all_cuts, count), all_cuts[-1]])


@pytest.mark.parametrize("loader", SAFE)
def test_any_cut(folder: Path, loader: type[Loader]) -> None:
    unit = Unit(folder / "unit", loader())
    recording = unit.recorded_update().recording
    states, boots = judge(unit, recording, sample(recording, SAMPLE, loader.__name__))
    assert states > SAMPLE // 3
    assert boots["a"] and boots["b"], boots


@pytest.mark.parametrize("loader", SAFE)
def test_any_cut_of_an_update_that_fails(folder: Path, loader: type[Loader]) -> None:
    unit = Unit(folder / "unit", loader())
    image = unit.images["b"]
    damaged = image.with_members(lambda members: [*members[:-1], Member("added.conf", b"damaged")])
    with Recorder(unit.root) as recorder:
        assert unit.install(damaged, image, pipe=True).code == 21
    recording = recorder.recording
    states, boots = judge(unit, recording, sample(recording, SAMPLE // 2, loader.__name__), slot="")
    assert boots == {"a": states, "b": 0}


@pytest.mark.parametrize("loader", [Loader, OneCopy, Grub])
def test_an_update_replaced_before_its_first_boot(folder: Path, loader: type[Loader]) -> None:
    """The copy that was to be booted next is written anew: while it is, the old one boots."""
    unit = Unit(folder / "unit", loader())
    unit.update("b")
    (unit.root / "rootfs-b.img").write_bytes(FIRST.rootfs)  # another system than the one that comes
    (unit.root / "kernel-b.img").write_bytes(FIRST.kernel)
    recording = unit.recorded_update().recording
    _, boots = judge(unit, recording, sample(recording, SAMPLE // 2, loader.__name__))
    assert boots["a"] and boots["b"], boots


@pytest.mark.slow
@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("loader", SAFE)
def test_thousands_of_cuts(folder: Path, loader: type[Loader], pipe: bool) -> None:
    unit = Unit(folder / "unit", loader())
    recording = unit.recorded_update(pipe=pipe).recording
    states, boots = judge(unit, recording, cuts(recording, by_chance=300))
    assert states >= STATES_EACH, f"only {states} states differ"
    assert boots["a"] and boots["b"], boots


@pytest.mark.slow
@pytest.mark.parametrize("loader", SAFE)
def test_cut_again_in_the_update_that_follows(folder: Path, loader: type[Loader]) -> None:
    unit = Unit(folder / "unit", loader())
    first = unit.recorded_update().recording
    for cut, tree in first.crashes(sample(first, 12, "again")):
        tree.restore(unit.root)
        unit.loader.start(unit.root)
        slot = {"a": "b", "b": "a"}[unit.loader.read(unit.root)["slot"]]
        second = unit.recorded_update(slot).recording
        try:
            judge(unit, second, sample(second, 10, str(cut)), slot=slot)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\nafter a first\n{first.story(cut)}") from exc


def judge_going_on(unit: ChunkedUnit, recording: Recording, chosen: list[Cut]) -> int:
    """Install again after each cut: it goes on behind the chunks that are there, and ends right; how many went on."""
    went_on = 0
    image = unit.images["b"]
    for cut, tree in recording.crashes(chosen):
        tree.restore(unit.root)
        if unit.loader.read(unit.root)["slot"] != "a":
            continue
        record = Journal(f"{unit.root}/state", "").read().last
        there = tree.files["rootfs-b.img"]
        size, wanted = unit.chunk_bytes, 0
        while (
            record is not None
            and wanted < len(NEW.rootfs)
            and there[wanted : wanted + size] == NEW.rootfs[wanted : wanted + size]
        ):
            wanted = min(wanted + size, len(NEW.rootfs))
        outcome = unit.install(image.raw, image, pipe=False, more=("--json",))
        assert outcome.code == 0, f"{outcome}\n{recording.story(cut)}"
        told = re.search(r"goes on after (\d+) bytes", outcome.stdout)
        assert (int(told[1]) if told else 0) == wanted, recording.story(cut)
        after = read_tree(unit.root)
        assert (digests(after, "b"), unit.loader.read(unit.root)["slot"]) == (NEW.digests, "b"), (
            recording.story(cut)
        )
        went_on += wanted > 0
    return went_on


def test_what_was_cut_goes_on(folder: Path) -> None:
    unit = ChunkedUnit(folder / "unit", Loader())
    recording = unit.recorded_update().recording
    chosen = writing(recording)
    assert judge_going_on(unit, recording, sorted(random.Random("on").sample(chosen, 24))) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("loader", SAFE)
@pytest.mark.parametrize("pipe", [False, True])
def test_whatever_was_cut_goes_on(folder: Path, loader: type[Loader], pipe: bool) -> None:
    unit = ChunkedUnit(folder / "unit", loader())
    recording = unit.recorded_update(pipe=pipe).recording
    assert judge_going_on(unit, recording, cuts(recording, by_chance=20)) >= 20


def writing(recording: Recording) -> list[Cut]:
    """Cuts while the root file system is written, and before anything else is."""
    points = {n for n, operation in enumerate(recording.operations, 1) if "rootfs-b.img" in str(operation)}
    return [cut for cut in cuts(recording, by_chance=20) if min(points) <= cut.point <= max(points)]


@pytest.mark.parametrize("loader", [Loader, OneCopy, Grub])
def test_the_boot_loader_s_own_tool_agrees(folder: Path, loader: type[Loader]) -> None:
    unit = Unit(folder / "unit", loader())
    need(unit.loader.tool(unit.root)[0])
    recording = unit.recorded_update().recording
    for cut, tree in recording.crashes(sample(recording, 8, "tool")):
        tree.restore(unit.root)
        done = subprocess.run(unit.loader.tool(unit.root), capture_output=True, text=True, check=True)
        told = dict(line.split("=", 1) for line in done.stdout.splitlines())
        assert told == unit.loader.read(unit.root), recording.story(cut)


def test_one_copy_of_several_sectors_can_be_lost_while_it_is_written(folder: Path) -> None:
    """The limit that docs/explanation/power-cuts.md tells of: exactly then, and the copies themselves are sound."""
    unit = Unit(folder / "unit", OneLargeCopy())
    recording = unit.recorded_update().recording
    writing = {
        n for n, operation in enumerate(recording.operations, 1) if str(operation).startswith("write env.bin")
    }
    lost = set()
    chosen = [cut for cut in cuts(recording, by_chance=40) if cut.point in writing or cut.data != "torn"]
    for cut, tree in recording.crashes(chosen):
        tree.restore(unit.root)
        wrong = unit.wrong(tree)
        if wrong:
            assert wrong.startswith("no boot environment"), wrong
            lost.add(cut.point)
    assert lost == writing


# -- installers that do it wrong are caught


class CommitsFirst(Writing):
    """Switches, then writes."""

    def write(self, rest: Iterator[ArchiveMember], index: Mapping[str, ArchiveMember] | None) -> None:
        for name, value in self.plan.description.bootenv.items():
            self._env.stage(name, value)
        self._env.succeed()
        super().write(rest, index)


class MarksLate(Writing):
    """Overwrites a copy before it says that an update has begun."""

    def _begin(self) -> None:
        return


class Unsynced(BlockTarget):
    """An image target that is closed and not synced."""

    def close(self) -> None:
        self.abandon()


class ForgetsFsync(Hardware):
    """Does not sync what it has written."""

    def image_target(self, path: str, *, offset_bytes: int = 0, allow_mounted: bool = False) -> BlockTarget:
        target = super().image_target(path, offset_bytes=offset_bytes, allow_mounted=allow_mounted)
        return Unsynced(path, target.sink, None)


class OverwritesWhatIsInForce(UBoot):
    """Writes the copy of the environment that boots: the first one of ``OneOfTwo``."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._path = Path(settings["fwenv-config-location"]).with_name("env.bin")

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        variables = {name: value for name, value in {**self.all(), **changes}.items() if value}
        with self._path.open("r+b", buffering=0) as file:
            file.write(ubootenv.build_copy(variables, Loader.env_bytes, flags=1))
            os.fsync(file.fileno())


def install_with(
    unit: Unit,
    *,
    writing: type[Writing] = Writing,
    hardware: type[Hardware] = Hardware,
    bootloader: Callable[[Mapping[str, str]], Bootloader] = UBoot,
) -> None:
    """Install the update for copy b with other parts."""
    path = unit.folder / "update.swu"
    path.write_bytes(unit.images["b"].raw)
    fwenv = {"fwenv-config-location": f"{unit.root}/fw_env.config", "fwenv-lockfile": f"{unit.run}/env.lock"}
    rig = Rig(
        handlers=handlers.registry(),
        hw=hardware(str(unit.tmp)),
        bootloader=bootloader(fwenv),
        bus=EventBus(),
        clock=SystemClock(),
        unit=Facts(None, {}),
        gates=(),
        journal=Journal(f"{unit.root}/state", "this boot"),
    )
    policy = Policy(None, tmpdir=str(unit.tmp), versions_file=f"{unit.root}/sw-versions")
    with path.open("rb") as file:
        session = Session(rig, policy, open_source(file.fileno(), "update.swu"))
        session.writing = writing
        session.run()


def complaints(unit: Unit, recording: Recording) -> Iterator[str]:
    """What is wrong after each cut, until something is."""
    for _, tree in recording.crashes(cuts(recording, by_chance=8)):
        tree.restore(unit.root)
        yield unit.wrong(tree)


WRONG: tuple[tuple[str, str], ...] = (
    ("none", "nothing is wrong"),
    ("commits first", "copy b boots and is not complete"),
    ("marks late", "copy b is half written, and nothing says that an update had begun"),
    ("forgets fsync", "copy b boots and is not complete"),
    ("overwrites", "no boot environment"),
)


@pytest.mark.parametrize(("fault", "complaint"), WRONG)
def test_wrong_installers_are_caught(folder: Path, fault: str, complaint: str) -> None:
    unit = Unit(folder / "unit", OneOfTwo() if fault == "overwrites" else Loader())
    with Recorder(unit.root) as recorder:
        install_with(
            unit,
            writing={"commits first": CommitsFirst, "marks late": MarksLate}.get(fault, Writing),
            hardware=ForgetsFsync if fault == "forgets fsync" else Hardware,
            bootloader=OverwritesWhatIsInForce if fault == "overwrites" else UBoot,
        )
    found = (wrong for wrong in complaints(unit, recorder.recording) if wrong)
    assert next(found, "nothing is wrong").startswith(complaint)


class OneOfTwo(Loader):
    """Two copies, of which one was never valid."""

    def files(self, root: Path) -> dict[str, bytes]:
        files = super().files(root)
        return {**files, "env.bin": files["env.bin"][: self.env_bytes] + bytes(self.env_bytes)}
