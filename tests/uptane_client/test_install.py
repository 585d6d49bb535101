"""Installing later what was downloaded, by the metadata that was verified then; and manifests made on request."""

from pathlib import Path
from typing import Any

import pytest

from swagent.errors import SettingsError, TransportError
from swagent.testing.repositories import DAY_S
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import ExpiredMetadata
from swagent.uptane_client.parts import Policy

from .world import FIRMWARE, PRIMARY, TCU, Source, World


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    return World(quick_path, request.param).started()


class Unreachable(Source):
    """Repositories that nobody may ask."""

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        raise AssertionError(f"{name} is fetched")


def alone(world: World, **changes: Any) -> Any:
    """A Primary without its repositories."""
    return world.primary(
        director=Unreachable(world.director, world.mirror),
        image=Unreachable(world.image, world.mirror),
        **changes,
    )


def download(world: World) -> None:
    world.policy = Policy(install=False)
    assert world.primary().cycle().result == "downloaded"
    world.policy = Policy()


def test_what_was_downloaded_is_installed(world: World) -> None:
    world.order(PRIMARY)
    download(world)
    assert world.installers[PRIMARY].runs == b""
    before = world.kept()
    assert alone(world).install().result == "installed"
    assert world.installers[PRIMARY].runs == FIRMWARE
    assert world.kept() == before
    assert alone(world).install().result == "nothing-to-do"
    report = world.codec.decode_vehicle_report(world.service.taken[-1]).content
    own = world.codec.decode_ecu_report(report.ecus[PRIMARY][0]).content
    assert own.installed.path == "firmware.img"


def test_not_before_it_was_downloaded(world: World) -> None:
    world.order(PRIMARY)
    world.policy = Policy(fetch=False)
    assert world.primary().cycle().result == "available"
    world.policy = Policy()
    with pytest.raises(TransportError, match=r"not fetched yet: firmware\.img"):
        alone(world).install()
    assert world.installers[PRIMARY].runs == b""


def test_half_a_bundle(world: World) -> None:
    world.order(PRIMARY)
    world.order(TCU, "tcu.img", b"for the TCU")
    download(world)
    (world.folder / "files" / "primary" / "targets" / "tcu.img").unlink()
    with pytest.raises(TransportError, match=r"tcu\.img"):
        alone(world).install()
    assert world.installers[PRIMARY].runs == b""
    world.policy = Policy(all_or_none=False)
    assert alone(world).install().result == "installed"


def test_an_image_that_was_changed_meanwhile_is_as_good_as_none(world: World) -> None:
    world.order(PRIMARY)
    download(world)
    (world.folder / "files" / "primary" / "targets" / "firmware.img").write_bytes(FIRMWARE[:-1] + b"!")
    with pytest.raises(TransportError, match="not fetched yet"):
        alone(world).install()


def test_metadata_that_has_expired_since(world: World) -> None:
    world.order(PRIMARY)
    download(world)
    world.clock.passes(91 * DAY_S)
    with pytest.raises(ExpiredMetadata):
        alone(world).install()
    assert world.installers[PRIMARY].runs == b""


def test_nothing_was_ever_verified(quick_path: Path) -> None:
    world = World(quick_path, "tuf1")
    with pytest.raises(SettingsError, match="no verified metadata"):
        alone(world).install()


def test_a_manifest_that_is_only_shown_forgets_nothing(world: World) -> None:
    world.secondary().report()
    world.memory.note_attack("something odd")
    taken = len(world.service.taken)
    for _ in range(2):
        report = world.codec.decode_vehicle_report(world.primary().manifest()).content
        assert set(report.ecus) == {PRIMARY, TCU}
        own = world.codec.decode_ecu_report(report.ecus[PRIMARY][0]).content
        assert own.attacks == "something odd"
    assert len(world.service.taken) == taken
    world.primary().report()
    assert len(world.service.taken) == taken + 1
    report = world.codec.decode_vehicle_report(world.primary().manifest()).content
    assert set(report.ecus) == {PRIMARY}
