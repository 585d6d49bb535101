"""Power cuts during a cycle: whatever they leave of files and database, the next cycle ends right."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from swagent.testing.powercut import cuts
from swagent.testing.recording import Recorder
from swagent.uptane.codecs import NAMES
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane_client.vehicle import Vehicle

from .world import FIRMWARE, PRIMARY, TCU, World

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


def states(folder: Path, dialect: str, change: Any) -> tuple[World, list[Any], list[Path], Any]:
    """A vehicle before a change of its repositories, and what a cut during the next round can leave."""
    world = World(folder, dialect).started()
    world.order(TCU)
    world.round()
    database = folder / "db"
    snapshots = [folder / "db-before", folder / "db-after"]
    change(world)
    world.secondary().report()
    shutil.copytree(database, snapshots[0])
    with Recorder(folder / "files") as recorder:
        world.round()
    shutil.copytree(database, snapshots[1])
    return world, cuts(recorder.recording, by_chance=4, seed=1), snapshots, recorder.recording


def judge(world: World, snapshot: Path, tree: Any, story: str) -> None:
    folder = world.folder
    tree.restore(folder / "files")
    world.memory.close()
    world.tcu_memory.close()
    shutil.rmtree(folder / "db")
    shutil.copytree(snapshot, folder / "db")
    world.memory = Vehicle(str(folder / "db" / "vehicle.sqlite"))
    world.tcu_memory = Vehicle(str(folder / "db" / "ecu.sqlite"))
    try:
        world.secondary().report()
        world.round()
        world.round()
    except Exception as exc:
        raise AssertionError(f"the next cycle fails after\n{story}") from exc
    for store in (world.metadata, world.tcu_metadata):
        for repository, sim in (("director", world.director), ("image", world.image)):
            for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
                assert store.load(repository, role) == sim.files[role], story
    assert world.memory.ecus()[PRIMARY].installed.path in ("info.img", "")
    assert world.tcu_memory.ecus()[TCU].installed.length_bytes in (len(NEW), len(FIRMWARE))


@pytest.mark.parametrize("change", [both])
@pytest.mark.parametrize("dialect", ["tuf1"])
def test_a_sample(quick_path: Path, dialect: str, change: Any) -> None:
    world, found, snapshots, recording = states(quick_path, dialect, change)
    dice = random.Random(dialect)
    for cut in dice.sample(found, SAMPLE):
        judge(world, dice.choice(snapshots), recording.crash(cut), recording.story(cut))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("change", [rotated, ordered, both])
@pytest.mark.parametrize("dialect", NAMES)
def test_all(quick_path: Path, dialect: str, change: Any) -> None:
    world, found, snapshots, recording = states(quick_path, dialect, change)
    for cut, tree in recording.crashes(found):
        for snapshot in snapshots:
            judge(world, snapshot, tree, recording.story(cut))
