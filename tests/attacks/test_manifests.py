"""Rows 28, 29 and 34, and the Director's part of 31 to 33: lies to a Director, and what it keeps of them."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from swagent.errors import MetadataTrustError, SwagentError
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.errors import (
    InvalidMetadata,
    ReplayedReport,
    Spoofing,
    UnknownEcu,
    UnknownVehicle,
)
from swagent.uptane.metadata import TARGETS
from swagent.uptane.reports import EcuReport
from swagent.uptane_server.director import Newcomer
from swagent.uptane_server.director_intake import FORMAT, MISSING, REPLAY, SIGNATURE, STRANGER, TIME, Policy
from swagent.uptane_server.inventory_records import Ecu
from tests.fuzz.test_seeds import mutated
from tests.uptane_server.fleet import BCU, HARDWARE, PRIMARY, TCU, VIN, Car, Fleet, signer

OTHER = "othercar"


@contextmanager
def nothing_stored(fleet: Fleet) -> Iterator[None]:
    """The whole database is afterwards what it was, and the next honest manifest is taken."""
    before = fleet.stored()
    yield
    assert fleet.stored() == before
    honest(fleet)


def honest(fleet: Fleet) -> None:
    """An honest manifest is taken whole, and both ECUs are trusted."""
    judged = fleet.director.submit(VIN, fleet.car.manifest(), PRIMARY)
    assert judged.is_news
    assert {ecu.serial for ecu in judged.ecus} == {PRIMARY, TCU}
    assert {serial: each.distrust for serial, each in ecus(fleet).items()} == {PRIMARY: "", TCU: ""}


def ecus(fleet: Fleet) -> dict[str, Ecu]:
    with fleet.director.inventory.look() as look:
        return look.ecus(VIN)


def alerts(fleet: Fleet) -> set[tuple[str, str]]:
    with fleet.director.inventory.look() as look:
        return {(kept.alert.serial, kept.alert.kind) for kept in look.alerts(VIN) if kept.is_open}


def hand_in(fleet: Fleet, reports: Mapping[str, tuple[bytes, ...]]) -> None:
    """A manifest of these reports and an honest one of the Primary."""
    manifest = fleet.car.manifest({PRIMARY: (fleet.car.report(PRIMARY),), **reports})
    fleet.director.submit(VIN, manifest, PRIMARY)


def reported(fleet: Fleet, serial: str) -> EcuReport | None:
    """What the Director has of an ECU's last report."""
    raw = ecus(fleet)[serial].report
    return fleet.car.codec.decode_ecu_report(raw).content if raw is not None else None


def counted(fleet: Fleet) -> bool:
    """Whether the dialect's reports have a counter."""
    return fleet.dialect in ("tuf1", "ak")


def another_car(fleet: Fleet) -> Car:
    car = Car(fleet.dialect, fleet.clock, OTHER, "INFOother", ("INFOother", "TCUother"))
    fleet.director.add_vehicle(OTHER)
    fleet.director.register(OTHER, car.newcomers())
    return car


class TestVehicleManifest:
    """Row 29: the request is refused, and nothing is stored."""

    def test_another_primary_serial(self, fleet: Fleet) -> None:
        with nothing_stored(fleet), pytest.raises(Spoofing):
            fleet.director.submit(VIN, fleet.car.manifest(), TCU)

    def test_the_manifest_of_another_primary(self, fleet: Fleet) -> None:
        """Signed well by a Secondary that says it is the Primary."""
        car = fleet.car
        with nothing_stored(fleet), pytest.raises(Spoofing):
            fleet.director.submit(VIN, car.manifest(by=car.signer(TCU), primary=TCU), TCU)

    def test_a_primary_that_nobody_knows(self, fleet: Fleet) -> None:
        car = fleet.car
        with nothing_stored(fleet), pytest.raises(UnknownEcu):
            fleet.director.submit(VIN, car.manifest(by=car.signer("new"), primary="new"), "new")

    def test_another_vin(self, fleet: Fleet) -> None:
        """Whether it is the argument that lies or the manifest; aktualizr's says no VIN, its Primary gives it away."""
        car = another_car(fleet)
        lies: list[Callable[[], object]] = [
            lambda: fleet.director.submit(VIN, car.manifest(), car.primary),
            lambda: fleet.director.submit(OTHER, fleet.car.manifest(), PRIMARY),
        ]
        if fleet.dialect != "ak":
            lies.append(lambda: fleet.director.submit(VIN, fleet.car.manifest(vin=OTHER), PRIMARY))
        for lie in lies:
            with nothing_stored(fleet), pytest.raises((Spoofing, UnknownEcu)):
                lie()

    def test_a_vehicle_that_nobody_knows(self, fleet: Fleet) -> None:
        with nothing_stored(fleet), pytest.raises(UnknownVehicle):
            fleet.director.submit("nobody", fleet.car.manifest(), PRIMARY)

    def test_a_bad_signature(self, fleet: Fleet) -> None:
        car, thief = fleet.car, signer(fleet.dialect, "thief")
        with nothing_stored(fleet), pytest.raises(MetadataTrustError):
            fleet.director.submit(VIN, car.manifest(by=car.signer(TCU)), PRIMARY)
        thief.key = thief.key._replace(keyid=car.signer(PRIMARY).key.keyid)
        with nothing_stored(fleet), pytest.raises(MetadataTrustError):
            fleet.director.submit(VIN, car.manifest(by=thief), PRIMARY)

    def test_a_replay(self, fleet: Fleet) -> None:
        old = fleet.car.manifest()
        fleet.director.submit(VIN, old, PRIMARY)
        honest(fleet)
        with nothing_stored(fleet), pytest.raises(ReplayedReport):
            fleet.director.submit(VIN, old, PRIMARY)

    def test_a_replay_from_before_what_is_remembered(self, fleet: Fleet) -> None:
        """The newest manifests are known by their digest, older ones by the counter or the time in them."""
        old = fleet.car.manifest()
        fleet.director.submit(VIN, old, PRIMARY)
        for _ in range(25):
            honest(fleet)
        before = ecus(fleet)
        if counted(fleet):
            with nothing_stored(fleet), pytest.raises(ReplayedReport):
                fleet.director.submit(VIN, old, PRIMARY)
        else:
            fleet.director.submit(VIN, old, PRIMARY)
            after = ecus(fleet)
            assert {serial: each.report for serial, each in after.items()} == {
                serial: each.report for serial, each in before.items()
            }
            assert {(PRIMARY, REPLAY), (TCU, REPLAY)} <= alerts(fleet)

    def test_the_same_one_twice_in_a_row_is_no_attack(self, fleet: Fleet) -> None:
        """The answer got lost, and the client asked again."""
        last = fleet.car.manifest()
        fleet.director.submit(VIN, last, PRIMARY)
        with nothing_stored(fleet):
            assert not fleet.director.submit(VIN, last, PRIMARY).is_news

    def test_no_primary_in_the_inventory(self, fleet: Fleet) -> None:
        fleet.director.add_vehicle("bare")
        with nothing_stored(fleet), pytest.raises(UnknownEcu):
            fleet.director.submit("bare", fleet.car.manifest({}, vin="bare"), PRIMARY)


class TestEcuReport:
    """Row 28: it is dropped with an alert, the rest is kept, and nothing new is assigned until a good one comes."""

    def taken(self, fleet: Fleet, reports: Mapping[str, tuple[bytes, ...]]) -> None:
        """A manifest whose Secondary's report is bad."""
        fleet.order(path="first.img")
        before = ecus(fleet)[TCU]
        hand_in(fleet, reports)
        after = ecus(fleet)
        assert after[PRIMARY].report is not None, "the rest is kept"
        assert after[TCU]._replace(distrust="") == before, "of the bad one nothing is"

    def stays_suspect(self, fleet: Fleet) -> None:
        assert ecus(fleet)[TCU].distrust
        fleet.order(path="second.img")
        assert fleet.orders() == {TCU: "first.img"}, "nothing new"
        honest(fleet)
        assert fleet.orders() == {TCU: "second.img"}, "as soon as a good report comes"

    def test_altered(self, fleet: Fleet) -> None:
        raw = fleet.car.report(TCU)
        self.taken(fleet, {TCU: (altered(fleet, raw),)})
        assert (TCU, SIGNATURE) in alerts(fleet)
        self.stays_suspect(fleet)

    def test_signed_by_the_wrong_key(self, fleet: Fleet) -> None:
        for by in (fleet.car.signer(PRIMARY), signer(fleet.dialect, "thief")):
            self.taken(fleet, {TCU: (fleet.car.report(TCU, by=by),)})
            assert (TCU, SIGNATURE) in alerts(fleet)
            self.stays_suspect(fleet)

    def test_an_unknown_ecu(self, fleet: Fleet) -> None:
        reports = {TCU: (fleet.car.report(TCU),), "new": (fleet.car.report("new"),)}
        hand_in(fleet, reports)
        assert ("", STRANGER) in alerts(fleet)
        assert set(ecus(fleet)) == {PRIMARY, TCU}
        assert reported(fleet, TCU) == fleet.car.codec.decode_ecu_report(reports[TCU][0]).content

    def test_an_ecu_of_another_vehicle(self, fleet: Fleet) -> None:
        car = another_car(fleet)
        reports = {serial: (fleet.car.report(serial),) for serial in (PRIMARY, TCU)}
        reports["TCUother"] = (car.report("TCUother"),)
        fleet.director.submit(VIN, fleet.car.manifest(reports), PRIMARY)
        assert ("", STRANGER) in alerts(fleet)
        with fleet.director.inventory.look() as look:
            assert look.ecu("TCUother").report is None

    def test_under_the_name_of_another(self, fleet: Fleet) -> None:
        if fleet.dialect == "ref-der":  # has no outer name
            pytest.skip("DER has one name only")
        self.taken(fleet, {TCU: (fleet.car.report(PRIMARY),)})
        assert (TCU, STRANGER) in alerts(fleet)
        self.stays_suspect(fleet)

    def test_a_counter_that_was_used(self, fleet: Fleet) -> None:
        """In dialects without a counter it is the time that may not go back."""
        old = fleet.car.report(TCU)
        hand_in(fleet, {TCU: (old,)})
        honest(fleet)
        self.taken(fleet, {TCU: (old,)})
        assert (TCU, REPLAY) in alerts(fleet)
        self.stays_suspect(fleet)

    def test_two_reports_with_one_counter(self, fleet: Fleet) -> None:
        if not counted(fleet):
            pytest.skip("no counter in this dialect")
        honest(fleet)
        counter = fleet.car.counters[TCU]
        self.taken(fleet, {TCU: (fleet.car.report(TCU, counter=counter, attacks="another text"),)})
        assert (TCU, REPLAY) in alerts(fleet)

    def test_no_counter_any_more(self, fleet: Fleet) -> None:
        if not counted(fleet):
            pytest.skip("no counter in this dialect")
        honest(fleet)
        self.taken(fleet, {TCU: (fleet.car.report(TCU, counter=None),)})
        assert (TCU, REPLAY) in alerts(fleet)

    def test_a_time_that_is_to_come(self, fleet: Fleet) -> None:
        ahead = int(fleet.clock.now_s()) + 400
        self.taken(fleet, {TCU: (fleet.car.report(TCU, time_s=ahead),)})
        assert (TCU, TIME) in alerts(fleet)
        self.stays_suspect(fleet)

    def test_rubbish(self, fleet: Fleet) -> None:
        if fleet.dialect == "ref-der":
            pytest.skip("in DER it is the manifest that cannot be understood")
        self.taken(fleet, {TCU: (b'{"signed":{},"signatures":[]}',)})
        assert (TCU, FORMAT) in alerts(fleet)
        self.stays_suspect(fleet)

    def test_the_last_one_again_is_no_attack(self, fleet: Fleet) -> None:
        """A Primary sends it for a Secondary that is silent; it tells nothing new."""
        raw = fleet.car.report(TCU)
        for _ in range(2):
            hand_in(fleet, {TCU: (raw,)})
        assert alerts(fleet) == set()
        assert ecus(fleet)[TCU].distrust == ""

    def test_several_of_one_ecu(self, fleet: Fleet) -> None:
        if fleet.dialect == "ak":
            pytest.skip("one for each ECU")
        first = fleet.car.report(TCU)
        fleet.clock.passes(1)
        last = fleet.car.report(TCU)
        hand_in(fleet, {TCU: (first, last)})
        assert reported(fleet, TCU) == fleet.car.codec.decode_ecu_report(last).content
        assert alerts(fleet) == set()

    def test_an_ecu_that_was_replaced(self, fleet: Fleet) -> None:
        """Its counter begins again: nothing is taken before somebody says that this is right."""
        honest(fleet)
        honest(fleet)
        fleet.car.counters[TCU] = 0
        if counted(fleet):
            fleet.director.submit(VIN, fleet.car.manifest(), PRIMARY)
            assert ecus(fleet)[TCU].distrust
            fleet.car.counters[TCU] = 0
        fleet.director.forgive(TCU)
        honest(fleet)

    def test_strict(self, fleet: Fleet) -> None:
        """As the Standard suggests: any of these drops the whole request."""
        fleet.director.policy = Policy(strict=True)
        thief = fleet.car.report(TCU, by=signer(fleet.dialect, "thief"))
        for reports in (
            {TCU: (thief,)},
            {},
            {TCU: (fleet.car.report(TCU),), "new": (fleet.car.report("new"),)},
        ):
            manifest = fleet.car.manifest({PRIMARY: (fleet.car.report(PRIMARY),), **reports})
            with nothing_stored(fleet), pytest.raises(SwagentError):
                fleet.director.submit(VIN, manifest, PRIMARY)

    def test_attacks_that_an_ecu_reports(self, fleet: Fleet) -> None:
        report = fleet.car.report(TCU, attacks="Image from Primary failed to validate: hash mismatch.")
        hand_in(fleet, {TCU: (report,)})
        assert (TCU, "attack") in alerts(fleet)

    def test_alerts_do_not_grow(self, fleet: Fleet) -> None:
        for number in range(20):
            thief = {f"new{number}": (fleet.car.report(f"new{number}"),)}
            hand_in(fleet, thief)
        assert alerts(fleet) == {("", STRANGER), (TCU, MISSING)}


def altered(fleet: Fleet, raw: bytes) -> bytes:
    """A report that says something else, under the same signature."""
    found = fleet.director.codec.decode_ecu_report(raw)
    mark = found.content.installed.hashes["sha256"]
    if fleet.dialect == "ref-der":
        changed = raw.replace(bytes.fromhex(mark), bytes(32))
    else:
        changed = raw.replace(mark.encode(), b"0" * 64)
    assert changed != raw
    return changed


class TestRegistration:
    """Row 34: the first key stays."""

    def test_a_serial_twice(self, fleet: Fleet) -> None:
        thief = signer(fleet.dialect, "thief").key
        for vin in (VIN, OTHER):
            fleet.director.add_vehicle(OTHER)
            for primary in (True, False):
                with nothing_stored(fleet), pytest.raises(Spoofing):
                    fleet.director.register(vin, [Newcomer(TCU, thief, "tcu", primary)])
                with nothing_stored(fleet), pytest.raises(Spoofing):
                    fleet.director.register(vin, [Newcomer(TCU, thief, "tcu", primary)], again=True)

    def test_a_second_primary(self, fleet: Fleet) -> None:
        with nothing_stored(fleet), pytest.raises(Spoofing):
            fleet.director.register(VIN, [Newcomer(BCU, fleet.car.signer(BCU).key, HARDWARE[BCU], True)])

    def test_another_primary_than_was_announced(self, fleet: Fleet) -> None:
        fleet.director.add_vehicle(OTHER, "INFOother")
        key = fleet.car.signer("thief").key
        with pytest.raises(Spoofing):
            fleet.director.register(OTHER, [Newcomer("thief", key, "", True)])
        with pytest.raises(Spoofing):
            fleet.director.register(OTHER, [Newcomer("INFOother", key, "", False)])

    def test_all_or_none(self, fleet: Fleet) -> None:
        newcomers = [
            Newcomer(BCU, fleet.car.signer(BCU).key),
            Newcomer(TCU, signer(fleet.dialect, "thief").key),
        ]
        with nothing_stored(fleet), pytest.raises(Spoofing):
            fleet.director.register(VIN, newcomers)

    def test_an_unknown_vehicle(self, fleet: Fleet) -> None:
        with nothing_stored(fleet), pytest.raises(UnknownVehicle):
            fleet.director.register("nobody", fleet.car.newcomers())


def test_a_stale_manifest_is_seen(fleet: Fleet) -> None:
    """Row 31: whose requests are dropped does not report, and is found by that."""
    honest(fleet)
    fleet.clock.passes(86400)
    with fleet.director.inventory.look() as look:
        (vehicle,) = look.vehicles(show="silent", before_s=fleet.director.now_s() - 3600)
        assert vehicle.vin == VIN
    honest(fleet)
    with fleet.director.inventory.look() as look:
        assert look.vehicles(show="silent", before_s=fleet.director.now_s() - 3600) == []


# -- row 32


def test_a_power_cut_between_any_two_statements(fleet: Fleet) -> None:
    """Row 32: the old state or the new one, and metadata that hangs together."""
    inventory = fleet.director.inventory
    fleet.order(path="first.img")
    for number in range(1, 200):
        before = fleet.stored()
        manifest, work = fleet.car.manifest(), [0]

        def cut(*words: Any, work: list[int] = work, number: int = number) -> None:
            work[0] += 1
            if work[0] == number:
                raise _PowerCutError

        fleet.director.assign(VIN, TCU, fleet.image(f"image{number}"))
        before = fleet.stored()
        with listening(inventory, cut):
            try:
                fleet.director.submit(VIN, manifest, PRIMARY)
            except _PowerCutError:
                assert fleet.stored() == before
                continue
        break
    assert number > 8
    assert fleet.orders() == {TCU: f"image{number}"}


class _PowerCutError(BaseException):
    """No code may catch this."""


@contextmanager
def listening(inventory: Any, hear: Callable[..., None]) -> Iterator[None]:
    from sqlalchemy import event

    event.listen(inventory._engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        event.remove(inventory._engine, "before_cursor_execute", hear)


# -- row 33


def seeds(fleet: Fleet) -> list[bytes]:
    car = fleet.car
    return [car.manifest(), car.manifest({}), car.manifest({PRIMARY: (car.report(PRIMARY),)})]


def test_malformed_manifests(fleet: Fleet) -> None:
    """Row 33, a sample: refused by a typed error, with nothing stored."""
    survive(fleet, 60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_malformed_manifests(fleet: Fleet) -> None:
    survive(fleet, 2500)


def survive(fleet: Fleet, number: int) -> None:
    dice = random.Random(fleet.dialect)
    found = seeds(fleet)
    before = fleet.stored()
    for _ in range(number):
        raw = mutated(found, dice)
        if is_one_of(fleet, raw, found):
            continue
        try:
            fleet.director.submit(VIN, raw, PRIMARY)
        except SwagentError:
            continue
        raise AssertionError(f"taken: {raw!r}")
    assert fleet.stored() == before
    honest(fleet)


def is_one_of(fleet: Fleet, raw: bytes, honest: list[bytes]) -> bool:
    """Whether the mutation changed nothing but what nobody signed, such as white space."""
    try:
        message = fleet.car.codec.decode_vehicle_report(raw).message
    except NotUnderstood:
        return False
    return message in [fleet.car.codec.decode_vehicle_report(each).message for each in honest]


def test_numbers_at_the_edge(fleet: Fleet) -> None:
    """Databases have 64 bits; what does not fit is refused, or stored as it is."""
    if fleet.dialect == "ref-der":
        pytest.skip("DER's numbers are bounded by its codec")
    for length in (2**63 - 1, 2**63, 2**64, -1, 10**30):
        content = fleet.car.codec.decode_ecu_report(fleet.car.report(TCU)).content
        image = content.installed._replace(length_bytes=length)
        raw = fleet.car.codec.encode_ecu_report(content._replace(installed=image), fleet.car.signer(TCU))
        try:
            hand_in(fleet, {TCU: (raw,)})
        except (InvalidMetadata, ValueError):  # our own encoder does not take them all
            continue
    fleet.director.forgive(TCU)
    honest(fleet)


def test_a_manifest_that_is_none(fleet: Fleet) -> None:
    with nothing_stored(fleet), pytest.raises(InvalidMetadata):
        fleet.director.submit(VIN, b" " * (2 * 1024 * 1024 + 1), PRIMARY)
    found = fleet.director.file(VIN, TARGETS)
    assert found is not None
    with nothing_stored(fleet), pytest.raises(InvalidMetadata):
        fleet.director.submit(VIN, found.raw, PRIMARY)
