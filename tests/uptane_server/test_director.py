"""What a Director signs for its vehicles, and that vehicles believe it."""

from typing import Any

import pytest

from swagent.errors import MetadataTrustError, SettingsError
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import (
    BadHardwareId,
    InvalidMetadata,
    InvalidTarget,
    RootRotationError,
    Spoofing,
    UnknownEcu,
    UnknownVehicle,
)
from swagent.uptane.metadata import DIRECTOR, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane.repository import Repository
from swagent.uptane_server.director import Director
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.inventory_records import Wish

from .fleet import BCU, PRIMARY, TCU, VIN, Car, Fleet, online, signer

SLOW = ("ak", "ref-json")
"""Dialects that `make test` leaves to `make test-all` here."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES])
def fleet(request: pytest.FixtureRequest, sqlite: Inventory) -> Fleet:
    """In each dialect."""
    return Fleet(sqlite, request.param)


@pytest.fixture
def one(inventory: Inventory) -> Fleet:
    """In each kind of database."""
    return Fleet(inventory, "tuf1")


def versions(fleet: Fleet) -> dict[str, int]:
    found = {role: fleet.director.file(VIN, role) for role in (TARGETS, SNAPSHOT, TIMESTAMP)}
    return {role: file.version for role, file in found.items() if file is not None}


class TestSigning:
    def test_versions_rise(self, fleet: Fleet) -> None:
        fleet.director.write(VIN)
        first = versions(fleet)
        assert set(first.values()) == {1}
        fleet.director.write(VIN)
        assert versions(fleet) == {role: 1 if role == TARGETS else 2 for role in first}
        fleet.order()
        assert versions(fleet) == {role: 2 if role == TARGETS else 3 for role in first}

    def test_an_order_is_signed_when_it_is_written(self, fleet: Fleet) -> None:
        fleet.director.assign(VIN, TCU, fleet.image())
        assert fleet.orders() == {}
        fleet.director.write(VIN)
        assert fleet.orders() == {TCU: "firmware.img"}

    def test_a_second_order_replaces_the_first(self, fleet: Fleet) -> None:
        fleet.order(path="old.img")
        fleet.order(path="new.img")
        assert fleet.orders() == {TCU: "new.img"}

    def test_orders_are_withdrawn(self, fleet: Fleet) -> None:
        fleet.order()
        fleet.director.clear(VIN)
        assert fleet.orders() == {TCU: "firmware.img"}, "not before it is written"
        fleet.director.write(VIN)
        assert fleet.orders() == {}

    def test_an_empty_list_names_the_vehicle(self, one: Fleet) -> None:
        assert one.signed().vin == VIN

    def test_an_ecu_need_not_be_registered_yet(self, fleet: Fleet) -> None:
        fleet.order("later")
        assert fleet.orders() == {"later": "firmware.img"}

    def test_files_are_renewed_before_they_expire(self, fleet: Fleet) -> None:
        fleet.order()
        before = versions(fleet)
        fleet.clock.passes(20 * 3600)
        after = versions(fleet)
        assert before.keys() == after.keys()
        if TIMESTAMP in after:
            assert after[TIMESTAMP] == before[TIMESTAMP] + 1
            assert after[TARGETS] == before[TARGETS]
        fleet.clock.passes(90.4 * 86400)
        assert versions(fleet)[TARGETS] == before[TARGETS] + 1
        assert fleet.orders() == {TCU: "firmware.img"}

    def test_renewal_signs_no_new_order(self, fleet: Fleet) -> None:
        fleet.order()
        fleet.director.assign(VIN, TCU, fleet.image("later.img"))
        fleet.clock.passes(91.2 * 86400)
        assert fleet.orders() == {TCU: "firmware.img"}

    def test_old_files_stay_for_one_generation(self, one: Fleet) -> None:
        for path in ("a.img", "b.img", "c.img"):
            one.order(path=path)
        assert [one.director.file(VIN, TARGETS, version) is not None for version in (1, 2, 3)] == [
            False,
            True,
            True,
        ]

    def test_a_vehicle_believes_it(self, fleet: Fleet) -> None:
        """The client's own check of one repository: root, timestamp, snapshot, targets."""
        fleet.order()
        believe(fleet)

    def test_static_files(self, fleet: Fleet) -> None:
        fleet.order()
        names = fleet.director.files(VIN)
        extension = fleet.director.codec.extension
        assert {f"1.root.{extension}", f"root.{extension}", f"1.targets.{extension}"} <= names.keys()

    def test_no_root_no_signature(self, sqlite: Inventory) -> None:
        fleet = Fleet(sqlite, "tuf1")
        with sqlite.change() as change:
            from swagent.uptane_server.inventory_schema import ROOTS

            change._db.execute(ROOTS.delete())
        with pytest.raises(SettingsError):
            fleet.director.write(VIN)


def believe(fleet: Fleet) -> None:
    """A vehicle that knows the first root follows to the present state."""
    director, extension = fleet.director, fleet.director.codec.extension
    first = director.file(VIN, ROOT, 1)
    assert first is not None
    repository = Repository(DIRECTOR, director.codec, fleet.rules, first.raw, fleet.clock.now_s())
    files = director.files(VIN)
    number = 2
    while f"{number}.root.{extension}" in files:
        repository.update_root(files[f"{number}.root.{extension}"])
        number += 1
    if fleet.rules.director_lists:
        repository.update_timestamp(files[f"timestamp.{extension}"])
        repository.update_snapshot(files[f"snapshot.{extension}"])
    repository.update_targets(files[f"targets.{extension}"])


class TestRoots:
    def test_new_keys(self, fleet: Fleet) -> None:
        """After a theft: all vehicles' files are signed by the new keys when they are asked for."""
        fleet.order()
        before = versions(fleet)
        fleet.director.use_signers(online(fleet.dialect, " new"))
        fleet.director.issue_root([signer(fleet.dialect, ROOT)])
        assert fleet.orders() == {TCU: "firmware.img"}
        assert versions(fleet) == {role: version + 1 for role, version in before.items()}
        keyid = online(fleet.dialect, " new")[TARGETS][0].key.keyid
        assert fleet.root().roles[TARGETS].keyids == (keyid,)
        believe(fleet)

    def test_a_new_root_key(self, fleet: Fleet) -> None:
        old, new = signer(fleet.dialect, ROOT), signer(fleet.dialect, "another root")
        fleet.director.issue_root([new], also=[old])
        assert fleet.root().roles[ROOT].keyids == (new.key.keyid,)

    def test_a_root_that_does_not_follow(self, one: Fleet) -> None:
        with pytest.raises(MetadataTrustError):
            one.director.issue_root([signer("tuf1", "thief")])
        first = one.director.file(VIN, ROOT, 1)
        assert first is not None
        with pytest.raises(RootRotationError):
            one.director.add_root(first.raw)
        targets = one.director.file(VIN, TARGETS)
        assert targets is not None
        stored = one.stored()
        for raw in (targets.raw, b"", b"{}"):
            with pytest.raises(InvalidMetadata):
                one.director.add_root(raw)
        assert one.stored() == stored


class TestOrders:
    def test_other_hardware(self, one: Fleet) -> None:
        image = one.image(hardware_ids=frozenset({"bcu"}))
        with pytest.raises(BadHardwareId):
            one.director.assign(VIN, TCU, image)

    def test_an_ecu_of_another_vehicle(self, one: Fleet) -> None:
        one.director.add_vehicle("other")
        with pytest.raises(Spoofing):
            one.director.assign("other", TCU, one.image())

    def test_an_unknown_vehicle(self, one: Fleet) -> None:
        with pytest.raises(UnknownVehicle):
            one.director.assign("nobody", TCU, one.image())

    @pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "a//b", "", "a\0b", "C:x"])
    def test_a_name_that_leads_elsewhere(self, one: Fleet, path: str) -> None:
        with pytest.raises(InvalidTarget):
            one.image(path)

    def test_what_is_required_comes_first(self, one: Fleet) -> None:
        car = one.car
        car.serials = (PRIMARY, TCU, BCU)
        one.director.register(VIN, car.newcomers()[2:])
        needs = Wish(hardware_id="bcu", path="bcu.*", least=3)
        tcu = one.image("tcu.2", release_counter=2, requires=(needs,))
        one.director.assign(VIN, TCU, tcu)
        one.director.write(VIN)
        assert one.orders() == {}
        assert held_back(one) == {
            TCU: "tcu.2 requires an ECU with hardware bcu, image bcu.*, release counter 3 or more"
        }
        one.director.assign(VIN, BCU, one.image("bcu.2", release_counter=2))
        one.director.write(VIN)
        assert one.orders() == {BCU: "bcu.2"}
        one.director.assign(VIN, BCU, one.image("bcu.3", release_counter=3))
        one.director.write(VIN)
        assert one.orders() == {BCU: "bcu.3", TCU: "tcu.2"}
        assert held_back(one) == {}

    def test_what_is_required_runs_already(self, one: Fleet) -> None:
        image = one.image("infotainment.7", release_counter=7)
        one.car.runs[PRIMARY] = installed(image.target)
        one.director.assign(VIN, TCU, one.image("tcu.2", requires=(Wish(path="infotainment.*", least=7),)))
        one.director.write(VIN)
        assert one.orders() == {}
        one.director.submit(VIN, one.car.manifest())
        assert one.orders() == {TCU: "tcu.2"}, "as soon as the vehicle reports it"

    def test_conflicts(self, one: Fleet) -> None:
        one.order(PRIMARY, "infotainment.7", release_counter=7)
        one.director.assign(VIN, TCU, one.image("tcu.2", conflicts=(Wish(path="infotainment.*", least=7),)))
        one.director.write(VIN)
        assert one.orders() == {PRIMARY: "infotainment.7"}
        assert held_back(one) == {TCU: f"tcu.2 conflicts with {PRIMARY}, which runs infotainment.7"}

    def test_what_rests_on_something_that_is_held_back(self, one: Fleet) -> None:
        one.director.assign(VIN, PRIMARY, one.image("a", requires=(Wish(path="never"),)))
        one.director.assign(VIN, TCU, one.image("b", requires=(Wish(path="a"),)))
        one.director.write(VIN)
        assert one.orders() == {}
        assert set(held_back(one)) == {PRIMARY, TCU}

    def test_a_lower_release_counter(self, one: Fleet) -> None:
        new, old = one.image("tcu", b"new", release_counter=2), one.image("tcu", b"old", release_counter=1)
        one.car.runs[TCU] = installed(new.target)
        one.director.submit(VIN, one.car.manifest())
        one.director.assign(VIN, TCU, old)
        one.director.write(VIN)
        assert one.orders() == {}
        assert "release counter 2" in held_back(one)[TCU]

    def test_one_image_for_several_ecus(self, fleet: Fleet) -> None:
        image = fleet.image()
        for serial in (PRIMARY, TCU):
            fleet.director.assign(VIN, serial, image)
        fleet.director.write(VIN)
        if fleet.dialect.startswith("ref"):  # has words for one ECU
            assert len(fleet.orders()) == 1
            assert len(held_back(fleet)) == 1
        else:
            assert fleet.orders() == {PRIMARY: "firmware.img", TCU: "firmware.img"}

    def test_two_images_of_one_name(self, fleet: Fleet) -> None:
        fleet.director.assign(VIN, PRIMARY, fleet.image(data=b"one"))
        fleet.director.assign(VIN, TCU, fleet.image(data=b"two"))
        fleet.director.write(VIN)
        assert len(fleet.orders()) == 1
        assert len(held_back(fleet)) == 1


def held_back(fleet: Fleet) -> dict[str, str]:
    with fleet.director.inventory.look() as look:
        return {order.serial: order.held_back for order in look.assignments(VIN) if order.held_back}


def installed(target: Any) -> Any:
    from swagent.uptane.reports import InstalledImage

    return InstalledImage(target.path, target.length_bytes, target.hashes)


class TestRegistration:
    def test_twice(self, one: Fleet) -> None:
        stored = one.stored()
        with pytest.raises(Spoofing):
            one.director.register(VIN, one.car.newcomers()[1:])
        one.director.register(VIN, one.car.newcomers(), again=True)
        assert one.stored() == stored

    @pytest.mark.parametrize("vin", ["a/b", "..", "a..b", "$HOME", "~root", "a\\b", "", "x" * 257, "a\nb"])
    def test_bad_vins(self, one: Fleet, vin: str) -> None:
        with pytest.raises(InvalidMetadata):
            one.director.add_vehicle(vin)

    def test_a_vehicle_is_reset(self, one: Fleet) -> None:
        one.order()
        before = versions(one)
        one.director.submit(VIN, one.car.manifest())
        one.director.add_vehicle(VIN)
        one.director.register(VIN, one.car.newcomers())
        assert one.director.last_vehicle_manifest(VIN) is None
        one.director.write(VIN)
        assert one.orders() == {}
        assert versions(one)[TARGETS] == before[TARGETS] + 1, "what was signed can never be taken back"

    def test_a_key_that_cannot_be_used(self, one: Fleet) -> None:
        (each,) = one.car.newcomers()[1:]
        for public in ("", "00", "zz" * 32, "A" * 10_000):
            with pytest.raises(InvalidMetadata):
                one.director.register(
                    VIN, [each._replace(serial="new", key=each.key._replace(public=public))]
                )


def test_two_directors_of_one_fleet(inventory: Inventory) -> None:
    """Any number may work on one database; none signs a version twice."""
    from concurrent.futures import ThreadPoolExecutor

    one = Fleet(inventory, "tuf1")
    others = [Director(inventory, one.director.codec, online("tuf1"), one.clock) for _ in range(4)]
    one.director.write(VIN)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda director: [director.write(VIN) for _ in range(5)], others))
    assert versions(one)[TIMESTAMP] == 21


def test_many_cars(one: Fleet) -> None:
    cars = [
        Car("tuf1", one.clock, f"V{number:03}", f"P{number}", (f"P{number}", f"S{number}"))
        for number in range(20)
    ]
    for car in cars:
        one.director.add_vehicle(car.vin)
        one.director.register(car.vin, car.newcomers())
        one.director.submit(car.vin, car.manifest())
    with one.director.inventory.look() as look:
        page = look.vehicles(limit=7)
        assert [each.vin for each in page] == [f"V{number:03}" for number in range(7)]
        page = look.vehicles(after=page[-1].vin, limit=7)
        assert [each.vin for each in page] == [f"V{number:03}" for number in range(7, 14)]
        assert [each.vin for each in look.vehicles(prefix="V01")] == [
            f"V{number:03}" for number in range(10, 20)
        ]
        assert [each.vin for each in look.vehicles(show="silent", before_s=one.director.now_s())][-1] == VIN


class TestTexts:
    """What vehicles say ends in a database, and not every database takes every text."""

    @pytest.mark.parametrize("text", ["a\0b", "x" * 2000, "\x1b[31m", "\u202e"])
    def test_in_reports(self, one: Fleet, text: str) -> None:
        from swagent.uptane.reports import InstalledImage

        image = InstalledImage(text, 1, {"sha256": "0" * 64})
        reports = {PRIMARY: (one.car.report(PRIMARY),), TCU: (one.car.report(TCU, installed=image),)}
        one.director.submit(VIN, one.car.manifest(reports))
        with one.director.inventory.look() as look:
            assert [kept.alert.kind for kept in look.alerts(VIN)] == ["format"]
            assert look.ecu(TCU).report is None
        one.director.submit(VIN, one.car.manifest({PRIMARY: (one.car.report(PRIMARY, attacks=text),)}))
        with one.director.inventory.look() as look:
            kinds = {kept.alert.kind for kept in look.alerts(VIN)}
            # one with control characters is refused as a whole
            assert kinds == {"format", "missing"} | (set() if min(text) < " " else {"attack"})
            assert all(
                len(kept.alert.text) <= 2000 and "\0" not in kept.alert.text for kept in look.alerts(VIN)
            )

    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 10_000, ""])
    def test_in_names(self, one: Fleet, text: str) -> None:
        with pytest.raises(UnknownVehicle):
            one.director.submit(text, one.car.manifest())
        with pytest.raises(UnknownVehicle):
            one.director.file(text, TARGETS)
        with pytest.raises(UnknownEcu):
            one.director.last_ecu_manifest(text)
        with pytest.raises(InvalidMetadata):
            one.director.assign(VIN, text, one.image())
