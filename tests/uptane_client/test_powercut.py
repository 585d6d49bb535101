"""Power cuts during a cycle: whatever they leave of files and database, the next cycle ends right."""

import random
from pathlib import Path
from typing import Any

import pytest

from swagent.testing.powercut import Cut, Recording, Tree, cuts
from swagent.uptane.codecs import NAMES
from swagent.uptane.metadata import IMAGE, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane_client.vehicle import Vehicle
from tests.faults.traced import recorded

from .world import PRIMARY, TCU, Installs, World

SAMPLE = 10
NEW = b"newer " * 300


def rotated(world: World) -> None:
    world.director.rotate(TIMESTAMP, SNAPSHOT)
    world.image.rotate(ROOT, TARGETS)
    world.publish()


def ordered(world: World) -> None:
    world.order(PRIMARY, "info.img", NEW)
    world.order(TCU, data=NEW)


def both(world: World) -> None:
    rotated(world)
    ordered(world)


def states(folder: Path, dialect: str, change: Any, *, by_chance: int) -> tuple[World, list[Cut], Recording]:
    """A vehicle before a change of its repositories, and what a cut during the next round can leave."""
    vehicle = folder / "vehicle"
    vehicle.mkdir()
    world = World(vehicle, dialect).started()
    world.order(TCU)
    world.round()
    change(world)
    world.secondary().report()
    close(world)

    def work() -> None:
        open_again(world)
        world.round()

    recording = recorded(vehicle, folder / "trace", work)
    return world, cuts(recording, by_chance=by_chance, seed=1), recording


def close(world: World) -> None:
    world.memory.close()
    world.tcu_memory.close()


def open_again(world: World) -> None:
    world.memory = Vehicle(str(world.folder / "db" / "vehicle.sqlite"))
    world.tcu_memory = Vehicle(str(world.folder / "db" / "ecu.sqlite"))


class CutOff(Installs):
    """What installs, after a cut in the middle of it: its own journal says whether it had come to its end."""

    def __init__(self, *, done: bool) -> None:
        super().__init__()
        self.done = done

    def completed(self, mark: str) -> bool | None:
        return self.done


def judge(world: World, tree: Tree, story: str, *, done: bool) -> None:
    close(world)
    tree.restore(world.folder)
    open_again(world)
    world.installers = {serial: CutOff(done=done) for serial in (PRIMARY, TCU)}
    try:
        world.secondary().report()
        world.round()
        world.round()
    except Exception as exc:
        raise AssertionError(f"the next cycle fails after\n{story}") from exc
    for store in (world.metadata, world.tcu_metadata):
        for repository, sim in (("director", world.director), ("image", world.image)):
            for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
                if repository == IMAGE or world.rules.director_lists or role in (ROOT, TARGETS):
                    assert store.load(repository, role) == sim.files[role], story
    memories = {PRIMARY: world.memory, TCU: world.tcu_memory}
    for path, target in world.director.targets.items():
        for serial in target.ecus:
            ecu = memories[serial].ecus()[serial]
            assert (ecu.installed.path, ecu.installed.length_bytes) == (path, target.length_bytes), story
            assert not memories[serial].pending(), story


@pytest.mark.parametrize("change", [both])
@pytest.mark.parametrize("dialect", ["tuf1"])
def test_a_sample(quick_path: Path, dialect: str, change: Any) -> None:
    world, found, recording = states(quick_path, dialect, change, by_chance=4)
    written = {operation.path for operation in recording.operations if operation.kind == "write"}
    assert {"db/vehicle.sqlite", "db/ecu.sqlite", "db/vehicle.sqlite-journal"} <= written
    dice = random.Random(dialect)
    for cut in dice.sample(found, SAMPLE):
        judge(world, recording.crash(cut), recording.story(cut), done=dice.random() < 0.5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("change", [rotated, ordered, both])
@pytest.mark.parametrize("dialect", NAMES)
def test_all(quick_path: Path, dialect: str, change: Any) -> None:
    world, found, recording = states(quick_path, dialect, change, by_chance=1)
    for number, (cut, tree) in enumerate(recording.crashes(found)):
        judge(world, tree, recording.story(cut), done=bool(number % 2))
