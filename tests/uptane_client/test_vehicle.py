"""A Primary and its Secondary, full and partial, in every dialect: updates arrive, and nothing else does."""

from pathlib import Path

import pytest

from swagent.errors import AttestedTimeError, SwagentError, TransportError
from swagent.model import Outcome
from swagent.testing.repositories import DAY_S, RepoSimulator, image_target
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import (
    BadEcuId,
    BadHardwareId,
    ExpiredMetadata,
    InvalidMetadata,
    ReleaseCounterRollback,
    TargetHashMismatch,
    UnmetThreshold,
    VersionRollback,
)
from swagent.uptane.metadata import TARGETS
from swagent.uptane_client.parts import Policy
from swagent.uptane_client.vehicle import NEEDS_COMPLETION

from .world import FIRMWARE, PRIMARY, TCU, VIN, Bytes, World


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    return World(quick_path, request.param).started()


@pytest.fixture(params=[f"{name}-{kind}" for name in NAMES for kind in ("full", "partial")])
def either(request: pytest.FixtureRequest, quick_path: Path) -> World:
    dialect, _, kind = request.param.rpartition("-")
    world = World(quick_path, dialect)
    world.partial = kind == "partial"
    return world.started()


def last_attacks(world: World) -> str:
    return world.codec.decode_ecu_report(world.reports[-1]).content.attacks


class TestUpdates:
    def test_one_for_each(self, either: World) -> None:
        either.order(TCU)
        either.order(PRIMARY, "info.img", b"for the Primary")
        assert either.round() == "updated"
        assert either.installers[TCU].runs == FIRMWARE
        assert either.installers[PRIMARY].runs == b"for the Primary"
        assert either.round() == "no-update-needed"

    def test_reports_tell_what_runs(self, either: World) -> None:
        either.order(TCU)
        either.round()
        either.primary().cycle()
        found = either.codec.decode_vehicle_report(either.service.taken[-1]).content
        assert set(found.ecus) == {PRIMARY, TCU}
        tcu = either.codec.decode_ecu_report(found.ecus[TCU][-1]).content
        assert tcu.installed.path == "firmware.img"
        assert tcu.time_s == int(either.clock.now_s())

    def test_a_report_that_is_not_taken_comes_with_the_next(self, world: World) -> None:
        world.service.refuses = True
        before = len(world.service.taken)
        world.secondary().report()
        world.primary().cycle()
        world.service.refuses = False
        world.primary().cycle()
        assert len(world.service.taken) == before + 1
        assert TCU in world.codec.decode_vehicle_report(world.service.taken[-1]).content.ecus
        assert world.memory.reports() == (0, {})

    def test_a_director_that_does_not_know_the_primary_is_told(self, world: World) -> None:
        world.service.knows = False
        world.primary().cycle()
        assert world.service.knows
        assert len(world.service.taken) == 1 + 1

    def test_pending_until_the_reboot(self, world: World) -> None:
        world.order(PRIMARY)
        installer = world.installers[PRIMARY]
        installer.outcome = Outcome(NEEDS_COMPLETION)
        assert world.primary().cycle().result == "pending"
        taken = len(world.service.taken)
        assert world.primary().cycle().result == "pending"
        assert len(world.service.taken) == taken, "held back"
        installer.done = True
        assert world.primary().cycle().result == "nothing-to-do"
        report = world.codec.decode_vehicle_report(world.service.taken[-1]).content
        own = world.codec.decode_ecu_report(report.ecus[PRIMARY][0]).content
        assert own.installed.path == "firmware.img"

    def test_given_up_after_the_reboot(self, world: World) -> None:
        world.order(PRIMARY)
        installer = world.installers[PRIMARY]
        installer.outcome = Outcome(NEEDS_COMPLETION)
        world.primary().cycle()
        installer.done = False
        installer.outcome = Outcome(0)
        world.primary().cycle()
        _, results = world.memory.results()
        assert [result.code for result in results] == [0, 4]


class TestTheImage:
    @pytest.mark.parametrize("data", [b"Evil  firmware image", FIRMWARE[:-1], FIRMWARE + b"!"])
    def test_changed_on_the_mirror(self, world: World, data: bytes) -> None:
        world.order(PRIMARY)
        world.mirror.images["firmware.img"] = data
        with pytest.raises(SwagentError) as caught:
            world.primary().cycle()
        assert caught.value.exit_code in (62, 66)
        assert world.installers[PRIMARY].runs == b""
        assert not [
            path for path in (world.folder / "files" / "primary" / "targets").rglob("*") if path.is_file()
        ]
        world.mirror.images["firmware.img"] = FIRMWARE
        world.primary().cycle()
        assert world.installers[PRIMARY].runs == FIRMWARE

    def test_one_of_a_bundle_is_missing(self, world: World) -> None:
        world.order(PRIMARY)
        world.order(TCU, "tcu.img", b"for the TCU")
        del world.mirror.images["tcu.img"]
        with pytest.raises(TransportError):
            world.primary().cycle()
        assert world.installers[PRIMARY].runs == b"", "nothing is installed half"
        _, results = world.memory.results()
        assert results[0].path == "tcu.img"

    @pytest.mark.parametrize("lie", [b"Evil  firmware image", FIRMWARE[:-1], FIRMWARE + b"!"])
    def test_changed_by_the_primary(self, either: World, lie: bytes) -> None:
        either.order(TCU)
        either.primary().cycle()
        either.link.lies["image"] = ("firmware.img", Bytes(lie))
        with pytest.raises(SwagentError) as caught:
            either.secondary().cycle()
        assert caught.value.exit_code in (62, 66)
        assert either.installers[TCU].runs == b""
        assert last_attacks(either)
        either.link.lies.clear()
        assert either.secondary().cycle() == "updated"

    @pytest.mark.parametrize(
        ("image", "text"),
        [
            (None, "Requested image from Primary but received none."),
            (
                ("other.img", Bytes(FIRMWARE)),
                "Received unexpected image from Primary with unexpected filename.",
            ),
        ],
    )
    def test_the_primary_has_another_or_none(self, either: World, image: object, text: str) -> None:
        either.order(TCU)
        either.primary().cycle()
        either.link.lies["image"] = image
        with pytest.raises(TargetHashMismatch):
            either.secondary().cycle()
        assert last_attacks(either) == text


class TestMetadata:
    def test_the_primary_hands_over_old_metadata(self, either: World) -> None:
        old = either.link.metadata(partial=either.partial)
        either.order(TCU)
        either.round()
        before = either.kept()
        either.link.lies["metadata"] = old
        with pytest.raises(VersionRollback):
            either.secondary().cycle()
        assert either.kept() == before
        assert last_attacks(either)
        either.link.lies.clear()
        either.order(TCU, data=b"newer")
        assert either.round() == "updated"

    def test_the_primary_hands_over_rubbish(self, either: World) -> None:
        either.link.lies["metadata"] = b"rubbish"
        with pytest.raises(InvalidMetadata):
            either.secondary().cycle()
        either.link.lies.clear()
        either.order(TCU)
        assert either.round() == "updated"

    def test_signed_by_somebody_else(self, either: World) -> None:
        liar = RepoSimulator(either.dialect, seed=7, vin=either.director.vin)
        liar.targets = {"x.img": image_target("x.img", b"x", TCU)}
        liar.publish()
        either.order(TCU)
        good = either.director.files[TARGETS]
        honest = either.director
        either.director.files[TARGETS] = either.director.make(
            TARGETS,
            honest.codec.decode(liar.files[TARGETS]).body,
            honest.versions[TARGETS],
            liar.signers[TARGETS],
        )
        with pytest.raises(UnmetThreshold):
            either.secondary().cycle()
        either.director.files[TARGETS] = good
        assert either.secondary().cycle() == "updated"

    def test_expired(self, either: World) -> None:
        either.order(TCU)
        either.round()
        either.clock.passes(91 * DAY_S)
        with pytest.raises(ExpiredMetadata):
            either.primary().cycle()
        either.secondary().report()
        with pytest.raises(ExpiredMetadata):
            either.primary().cycle()  # the attestation arrives all the same
        with pytest.raises(ExpiredMetadata):
            either.secondary().cycle()
        either.director.renew_root()
        either.order(TCU, data=b"newer")
        either.round()
        assert either.installers[TCU].runs == b"newer"

    def test_for_other_hardware(self, either: World) -> None:
        either.order(TCU, hardware_ids=frozenset(("another",)))
        with pytest.raises(BadHardwareId):
            either.primary().cycle()
        with pytest.raises(BadHardwareId):
            either.secondary().cycle()
        assert either.installers[TCU].runs == b""

    def test_two_images_for_one_ecu(self, either: World) -> None:
        either.order(TCU)
        either.director.targets["second.img"] = image_target("second.img", b"2", TCU)
        either.publish()
        for cycle in (either.primary().cycle, either.secondary().cycle):
            with pytest.raises(BadEcuId):
                cycle()
        assert either.installers[TCU].runs == b""

    def test_release_counter_goes_down(self, either: World) -> None:
        either.order(TCU, release_counter=5)
        either.round()
        either.order(TCU, data=b"older", release_counter=4)
        with pytest.raises(ReleaseCounterRollback):
            either.secondary().cycle()
        assert either.installers[TCU].runs == FIRMWARE

    @pytest.mark.parametrize("dialect", ["tuf1"])
    def test_the_list_of_another_vehicle(self, quick_path: Path, dialect: str) -> None:
        world = World(quick_path, dialect).started()
        world.director.vin = "another"
        world.publish()
        for cycle in (world.primary().cycle, world.secondary().cycle):
            with pytest.raises(BadEcuId.__mro__[1]):
                cycle()
        world.director.vin = ""
        world.publish()
        with pytest.raises(BadEcuId.__mro__[1]):
            world.primary().cycle()
        world.director.vin = VIN
        world.publish()
        world.round()


class TestTime:
    def test_an_old_attestation(self, either: World) -> None:
        old = either.time.last
        either.secondary().report()
        either.clock.passes(3600)
        either.publish()
        either.primary().cycle()
        either.link.lies["attestation"] = old
        before = either.secondary()._time.attested
        either.secondary().cycle()
        assert either.secondary()._time.attested == before, "old time kept"

    def test_a_forged_attestation(self, either: World) -> None:
        either.secondary().report()
        forger = RepoSimulator(either.dialect, seed=9).signers[TARGETS][0]
        raw = either.codec.decode_time(either.time.last).content
        either.link.lies["attestation"] = either.codec.encode_time(raw, forger)
        either.secondary().cycle()
        assert last_attacks(either) == "Timeserver attestation had bad signature."

    def test_a_time_server_that_replays(self, world: World) -> None:
        old = world.time.last
        world.clock.passes(3600)
        world.publish()
        world.time.lie = lambda raw: old
        before = world.memory.fact("attested")
        world.primary().cycle()
        assert world.memory.fact("attested") == before

    def test_nothing_without_a_fresh_time(self, world: World) -> None:
        world.order(PRIMARY)
        world.boot_id = "boot-2"
        world.time.lie = lambda raw: b"rubbish"
        with pytest.raises(AttestedTimeError):
            world.primary().cycle()
        assert world.installers[PRIMARY].runs == b""
        assert world.service.taken, "the report goes out all the same"
        world.policy = Policy(system_time=True)
        world.primary().cycle()
        assert world.installers[PRIMARY].runs == FIRMWARE

    def test_an_attestation_grows_old(self, world: World) -> None:
        world.time.lie = lambda raw: b"rubbish"
        world.clock.passes(Policy().time_fresh_s + 1)
        with pytest.raises(AttestedTimeError):
            world.primary().cycle()
