"""A Director and the vehicles that report to it, in one process and by one clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from swagent.crypto.schemes import from_seed
from swagent.testing.repositories import image_target
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Root, Targets
from swagent.uptane.reports import EcuReport, InstalledImage, VehicleReport
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane.signing import Signer
from swagent.uptane_server.director import Director, Newcomer
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.inventory_records import Image
from tests.uptane_client.world import TestClock

VIN, PRIMARY, TCU, BCU = "democar", "INFOdemocar", "TCUdemocar", "BCUdemocar"
HARDWARE = {PRIMARY: "infotainment", TCU: "tcu", BCU: "bcu"}
FACTORY = InstalledImage("factory.img", 3, {"sha256": "6b" * 32})


def signer(dialect: str, name: str) -> Signer:
    """The key of that name, always the same."""
    return Signer(from_seed(sha256(name.encode()).digest()), codec(dialect))


def online(dialect: str, generation: str = "") -> dict[str, list[Signer]]:
    roles = (TARGETS,) if dialect == "ak" else (TARGETS, SNAPSHOT, TIMESTAMP)
    return {role: [signer(dialect, role + generation)] for role in roles}


@dataclass
class Car:
    """One vehicle, as it reports.

    Attributes:
        runs: serial to what the ECU reports.
        counters: serial to that of its last report.
    """

    dialect: str
    clock: TestClock
    vin: str = VIN
    primary: str = PRIMARY
    serials: tuple[str, ...] = (PRIMARY, TCU)
    runs: dict[str, InstalledImage] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.codec = codec(self.dialect)

    def signer(self, serial: str) -> Signer:
        return signer(self.dialect, f"ECU {serial}")

    def newcomers(self) -> list[Newcomer]:
        return [
            Newcomer(serial, self.signer(serial).key, HARDWARE.get(serial, ""), serial == self.primary)
            for serial in self.serials
        ]

    def report(self, serial: str, by: Signer | None = None, **facts: Any) -> bytes:
        """The next report of an ECU; ``facts`` are other than they should be."""
        self.counters[serial] = self.counters.get(serial, 0) + 1
        counter = self.counters[serial] if self.dialect in ("tuf1", "ak") else None
        now_s = int(self.clock.now_s())
        report = EcuReport(serial, self.runs.get(serial, FACTORY), now_s, now_s - 10, "", counter)
        return self.codec.encode_ecu_report(report._replace(**facts), by or self.signer(serial))

    def manifest(
        self,
        reports: Mapping[str, tuple[bytes, ...]] | None = None,
        by: Signer | None = None,
        **facts: Any,
    ) -> bytes:
        """The next manifest of the vehicle, of these reports or of all its ECUs."""
        if reports is None:
            reports = {serial: (self.report(serial),) for serial in self.serials}
        report = VehicleReport("" if self.dialect == "ak" else self.vin, self.primary, reports)
        self.clock.passes(1)
        return self.codec.encode_vehicle_report(report._replace(**facts), by or self.signer(self.primary))


class Fleet:
    """A Director with one vehicle that has made itself known."""

    def __init__(self, inventory: Inventory, dialect: str, **settings: Any) -> None:
        self.dialect = dialect
        self.rules = BY_DIALECT[dialect]
        self.clock = TestClock()
        self.director = Director(inventory, codec(dialect), online(dialect), self.clock, **settings)
        self.director.issue_root([signer(dialect, ROOT)])
        self.director.add_vehicle(VIN)
        self.car = Car(dialect, self.clock)
        self.director.register(VIN, self.car.newcomers())

    def image(self, path: str = "firmware.img", data: bytes = b"firmware", **facts: Any) -> Image:
        wishes = {name: facts.pop(name) for name in ("requires", "conflicts") if name in facts}
        return self.director.add_image(Image(0, image_target(path, data, **facts), **wishes))

    def order(self, serial: str = TCU, path: str = "firmware.img", **facts: Any) -> Image:
        image = self.image(path, **facts)
        self.director.assign(VIN, serial, image)
        self.director.write(VIN)
        return image

    def signed(self, vin: str = VIN) -> Targets:
        """What a vehicle's targets say."""
        found = self.director.file(vin, TARGETS)
        assert found is not None
        body = self.director.codec.decode(found.raw).body
        assert isinstance(body, Targets)
        return body

    def orders(self, vin: str = VIN) -> dict[str, str]:
        """Serial to path, as signed."""
        return {serial: target.path for target in self.signed(vin).targets.values() for serial in target.ecus}

    def stored(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything in the database."""
        from swagent.uptane_server.inventory_schema import METADATA

        with self.director.inventory.look() as fleet:
            return {
                name: sorted(map(tuple, fleet._db.execute(table.select()).all()), key=repr)
                for name, table in METADATA.tables.items()
            }

    def root(self) -> Root:
        found = self.director.file(VIN, ROOT)
        assert found is not None
        body = self.director.codec.decode(found.raw).body
        assert isinstance(body, Root)
        return body
