"""Rows 16 to 20 and 24: one of the repositories has been taken over, or both."""

from typing import Any

import pytest

from swagent.errors import AssignmentError, SettingsError, SwagentError
from swagent.testing.repositories import image_target
from swagent.uptane.errors import (
    BadEcuId,
    BadHardwareId,
    BadVehicleId,
    InvalidMetadata,
    ReleaseCounterRollback,
    TargetMismatch,
    UnmetThreshold,
)
from swagent.uptane.metadata import SNAPSHOT, TARGETS, TIMESTAMP
from tests.uptane_client.world import FIRMWARE, HARDWARE, PRIMARY, TCU, VIN, World

from .scenes import attacks_told, honest_again, nothing_installed, refuses, running

ECUS = {"firmware.img": TCU, "info.img": PRIMARY}
WRONG = {"sha256": "00" * 32, "sha512": "00" * 64}


def hardware_of(path: str) -> frozenset[str]:
    return frozenset((HARDWARE[ECUS[path]],))


LIES: dict[str, tuple[Any, type[SwagentError]]] = {
    "hash": (lambda target: target._replace(hashes=WRONG), TargetMismatch),
    "one hash of two": (
        lambda target: target._replace(hashes={**target.hashes, "sha512": "00" * 64}),
        TargetMismatch,
    ),
    "length": (lambda target: target._replace(length_bytes=target.length_bytes + 1), TargetMismatch),
    "unknown image": (lambda target: target._replace(path="un" + target.path), TargetMismatch),
    "other hardware": (lambda target: target._replace(hardware_ids=frozenset(("x",))), BadHardwareId),
    "more hardware": (
        lambda target: target._replace(hardware_ids=hardware_of(target.path) | {"x"}),
        TargetMismatch,
    ),
    "lower counter": (lambda target: target._replace(release_counter=4), TargetMismatch),
    "no counter": (lambda target: target._replace(release_counter=None), ReleaseCounterRollback),
}


class TestDirectorAlone:
    """Row 16: the Director signs what the Image repository does not."""

    @pytest.mark.parametrize("path", ECUS)
    @pytest.mark.parametrize("lie", LIES)
    def test_lie(self, world: World, path: str, lie: str) -> None:
        change, error = LIES[lie]
        serial = ECUS[path]
        world.order(serial, path, b"older", hardware_ids=hardware_of(path), release_counter=5)
        world.round()
        world.order(serial, path, hardware_ids=hardware_of(path), release_counter=5)
        target = change(world.director.targets[path])
        world.director.targets = {target.path: target}
        world.mirror.images[target.path] = FIRMWARE
        try:
            world.publish()
        except SettingsError:
            pytest.skip("this encoding cannot spell it")
        with nothing_installed(world):
            if (lie, serial) != ("no counter", TCU):  # what counter an ECU is at, it alone knows
                found = refuses(world.primary().cycle, error)
                assert found.message in attacks_told(world)
            if serial == TCU:
                refuses(world.secondary().cycle, error)
        honest_again(world, release_counter=6)

    @pytest.mark.parametrize("path", ECUS)
    def test_a_real_image_of_other_hardware(self, world: World, path: str) -> None:
        """Row 17, where the Director does not say what it is for: the Image repository does."""
        world.order(ECUS[path], path)
        world.image.targets[path] = image_target(path, FIRMWARE, hardware_ids=frozenset(("other",)))
        world.publish()
        with nothing_installed(world):
            refuses(world.primary().cycle, BadHardwareId)
            if ECUS[path] == TCU:
                refuses(world.secondary().cycle, BadHardwareId)
        honest_again(world)

    def test_fewer_hashes_than_the_image_repository_lists(self, world: World) -> None:
        world.order(PRIMARY)
        target = world.director.targets["firmware.img"]
        fewer = target._replace(hashes={"sha256": target.hashes["sha256"]})
        world.director.targets["firmware.img"] = fewer
        world.publish()
        if world.rules.hash_sets_equal:
            with nothing_installed(world):
                refuses(world.primary().cycle, TargetMismatch)
        else:
            world.primary().cycle()
        honest_again(world)

    def test_no_hash_in_common(self, world: World) -> None:
        world.order(PRIMARY)
        for sim, algorithm in ((world.director, "sha256"), (world.image, "sha512")):
            target = sim.targets["firmware.img"]
            one = {algorithm: target.hashes[algorithm]}
            sim.targets["firmware.img"] = target._replace(hashes=one)
        world.publish()
        with nothing_installed(world):
            refuses(world.primary().cycle, TargetMismatch)
        honest_again(world)

    def test_agreement_is_sought_under_the_same_name(self, world: World) -> None:
        world.order(PRIMARY)
        world.image.targets = {"another.img": image_target("another.img", FIRMWARE)}
        world.publish()
        with nothing_installed(world):
            refuses(world.primary().cycle, TargetMismatch)
        honest_again(world)


class TestAssignments:
    """Rows 17 and 18."""

    def test_the_hardware_of_another_ecu(self, either: World) -> None:
        either.order(TCU, hardware_ids=frozenset((HARDWARE[PRIMARY],)))
        with nothing_installed(either):
            refuses(either.primary().cycle, BadHardwareId)
            refuses(either.secondary().cycle, BadHardwareId)
        honest_again(either)

    def test_an_ecu_twice(self, either: World) -> None:
        either.order(TCU)
        either.director.targets["second.img"] = image_target("second.img", b"2", TCU)
        either.image.targets["second.img"] = image_target("second.img", b"2")
        either.publish()
        with nothing_installed(either):
            refuses(either.primary().cycle, BadEcuId)
            refuses(either.secondary().cycle, BadEcuId)
        del either.director.targets["second.img"]
        honest_again(either)

    def test_an_ecu_that_is_not_in_the_vehicle(self, world: World) -> None:
        world.order(TCU)
        world.order("BCUdemocar", "bcu.img", b"for nobody here")
        if world.dialect.startswith("ref"):
            world.primary().cycle()  # it is passed over, and the others go on
        else:
            with nothing_installed(world):
                refuses(world.primary().cycle, BadEcuId)
        del world.director.targets["bcu.img"]
        honest_again(world)

    def test_delegations(self, either: World) -> None:
        either.order(TCU)
        either.director.delegate("supplier", ("*",))
        either.publish()
        with nothing_installed(either):
            refuses(either.primary().cycle, InvalidMetadata)
            refuses(either.secondary().cycle, InvalidMetadata)
        from swagent.uptane.metadata import Delegations

        either.director.delegations = Delegations()
        either.director.delegated.clear()
        honest_again(either)


class TestAnotherVehicle:
    """Row 19: all vehicles' Directors share their keys."""

    def test_its_list(self, either: World) -> None:
        if either.dialect == "ref-der":
            pytest.skip("it has no word for the vehicle")
        either.director.vin = "another"
        either.order(TCU)
        with nothing_installed(either):
            refuses(either.primary().cycle, BadVehicleId)
            refuses(either.secondary().cycle, BadVehicleId)
        either.director.vin = "" if either.dialect.startswith("ref") else VIN
        honest_again(either)

    def test_its_empty_list(self, either: World) -> None:
        if either.dialect == "ref-der":
            pytest.skip("it has no word for the vehicle")
        either.order(TCU)
        either.director.vin = "another"
        either.director.targets = {}
        either.publish()
        with nothing_installed(either):
            refuses(either.primary().cycle, BadVehicleId)
            refuses(either.secondary().cycle, BadVehicleId)
        either.director.vin = "" if either.dialect.startswith("ref") else VIN
        honest_again(either)

    def test_an_empty_list_for_nobody(self, either: World) -> None:
        either.director.vin = ""
        either.publish()
        with nothing_installed(either):
            if either.rules.vin_on_empty:
                refuses(either.primary().cycle, BadVehicleId)
                refuses(either.secondary().cycle, BadVehicleId)
            else:
                either.round()
        either.director.vin = "" if either.dialect.startswith("ref") else VIN
        honest_again(either)

    def test_its_ecus(self, either: World) -> None:
        either.order("its TCU")
        with nothing_installed(either):
            if either.dialect.startswith("ref"):
                either.primary().cycle()
            else:
                refuses(either.primary().cycle, AssignmentError)
            assert either.secondary().cycle() == "no-update"
        either.director.targets.clear()
        honest_again(either)


class TestTheImageRepositoryAlone:
    """Row 20: nobody ordered its image."""

    def test_nothing_happens(self, either: World) -> None:
        either.order(TCU)
        either.order(PRIMARY, "info.img")
        either.round()
        either.image.targets["evil.img"] = image_target("evil.img", b"evil content")
        either.mirror.images["evil.img"] = b"evil content"
        either.publish()
        with nothing_installed(either):
            either.round()

    def test_another_image_under_an_ordered_name(self, world: World) -> None:
        world.order(PRIMARY)
        world.image.targets["firmware.img"] = image_target("firmware.img", b"evil content")
        world.mirror.images["firmware.img"] = b"evil content"
        world.publish()
        with nothing_installed(world):
            refuses(world.primary().cycle, TargetMismatch)
        honest_again(world)


class TestBoth:
    """Row 24: it installs, and new keys in both roots end it."""

    def test_recovery(self, world: World) -> None:
        roles = (TIMESTAMP, SNAPSHOT, TARGETS)
        world.order(TCU, data=b"evil content")
        assert world.round() == "updated"
        assert running(world)[TCU] == b"evil content"
        stolen = [{role: sim.signers[role] for role in roles} for sim in (world.director, world.image)]
        for sim in (world.director, world.image):
            sim.rotate(*roles)
        honest_again(world)
        good = [dict(sim.signers) for sim in (world.director, world.image)]
        for sim, keys in zip((world.director, world.image), stolen, strict=True):
            sim.signers.update(keys)
        world.order(TCU, data=b"evil content again")
        with nothing_installed(world):
            refuses(world.primary().cycle, UnmetThreshold)
            refuses(world.secondary().cycle, UnmetThreshold)
        for sim, keys in zip((world.director, world.image), good, strict=True):
            sim.signers = keys
        honest_again(world)
