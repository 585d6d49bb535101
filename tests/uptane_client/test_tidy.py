"""Which images stay: what an ECU runs or shall run, and everything as long as an update fails."""

import os
from pathlib import Path

import pytest

from swagent.errors import SwagentError
from swagent.model import Outcome
from swagent.uptane.codecs import NAMES
from swagent.uptane_client.desk import HandOver
from swagent.uptane_client.parts import Policy
from swagent.uptane_client.vehicle import NEEDS_COMPLETION

from .world import PRIMARY, TCU, World


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    return World(quick_path, request.param).started()


def folder(world: World) -> Path:
    return world.folder / "files" / "primary" / "targets"


def stored(world: World) -> set[str]:
    root = folder(world)
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_what_is_neither_run_nor_assigned_goes(world: World) -> None:
    for number in (1, 2, 3):
        world.order(PRIMARY, f"v{number}.img", f"release {number}".encode())
        world.primary().cycle()
        assert stored(world) == {f"v{number}.img"}


def test_an_update_that_fails_takes_nothing_away(world: World) -> None:
    world.order(PRIMARY, "v1.img", b"release 1")
    world.primary().cycle()
    world.order(PRIMARY, "v2.img", b"release 2")
    world.mirror.images["v2.img"] = b"evil"
    for _ in range(2):
        with pytest.raises(SwagentError):
            world.primary().cycle()
        assert stored(world) == {"v1.img"}
    world.mirror.images["v2.img"] = b"release 2"
    world.primary().cycle()
    assert stored(world) == {"v2.img"}


def test_what_waits_for_a_reboot_stays_beside_what_runs(world: World) -> None:
    world.order(PRIMARY, "v1.img", b"release 1")
    world.primary().cycle()
    world.order(PRIMARY, "v2.img", b"release 2")
    world.installers[PRIMARY].outcome = Outcome(NEEDS_COMPLETION)
    world.primary().cycle()
    world.primary().cycle()
    assert stored(world) == {"v1.img", "v2.img"}


def test_what_a_secondary_has_still_to_fetch_stays(world: World) -> None:
    handover = HandOver(world.metadata.folder, world.codec, world.rules.caps)
    world.order(TCU, "tcu/one.img", b"for the TCU")
    for name in ("v1.img", "v2.img"):
        world.order(PRIMARY, name, name.encode())
        world.primary(handover=handover).cycle()
        assert stored(world) == {name, "tcu/one.img"}
    world.order(TCU, "tcu/two.img", b"for the TCU, too")
    world.primary(handover=handover).cycle()
    assert stored(world) == {"v2.img", "tcu/two.img"}


def test_only_looking_takes_nothing_away(world: World) -> None:
    world.policy = Policy(install=False)
    world.order(PRIMARY, "v1.img", b"release 1")
    world.primary().cycle()
    world.order(PRIMARY, "v2.img", b"release 2")
    world.policy = Policy(fetch=False)
    world.primary().cycle()
    assert stored(world) == {"v1.img"}


def test_leftovers_and_what_does_not_belong_there(world: World) -> None:
    world.order(PRIMARY, "a/v1.img", b"release 1")
    world.primary().cycle()
    root, outside = folder(world), world.folder / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (root / ".v0.img.swagent-7").write_bytes(b"half")
    (root / "b" / "c").mkdir(parents=True)
    (root / "b" / "c" / "old.img").write_bytes(b"old")
    os.symlink(outside, root / "link")
    os.symlink(outside / "kept", root / "a" / "link")
    world.primary().cycle()
    assert stored(world) == {"a/v1.img"}
    assert sorted(path.name for path in root.iterdir()) == ["a"]
    assert (outside / "kept").read_bytes() == b"kept"


def test_names_that_lead_elsewhere_keep_nothing_and_harm_nothing(world: World) -> None:
    world.order(PRIMARY, "v1.img", b"release 1")
    world.primary().cycle()
    ecu = world.memory.ecus()[TCU]
    for path in ("../../outside", "/etc/passwd", "", "a\0b"):
        world.memory.installed(TCU, ecu.installed._replace(path=path), None)
        world.primary().cycle()
        assert stored(world) == {"v1.img"}
