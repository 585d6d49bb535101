"""The questions that are asked of the inventory: vehicles, their ECUs, manifests and alerts, inside one transaction."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, or_, select

from swagent.uptane.errors import Spoofing, UnknownEcu, UnknownVehicle
from swagent.uptane.metadata import Key
from swagent.uptane.reports import InstalledImage

from . import inventory_schema as db
from .inventory_orders import Orders
from .inventory_records import Alert, Ecu, KeptAlert, Vehicle, VehicleEvent

if TYPE_CHECKING:
    from sqlalchemy import Row, Select

MANIFESTS_KEPT, EVENTS_KEPT, ALERTS_MAX, ALERT_TEXT_MAX = 20, 200, 256, 2000
_LAST = "\U0010ffff"


# built once: to build a statement costs more than to execute it
_VEHICLE = db.VEHICLES.select().where(db.VEHICLES.c.vin == bindparam("is"))
_VEHICLE_LOCKED = _VEHICLE.with_for_update()
_ECUS = db.ECUS.select().where(db.ECUS.c.vin.in_(bindparam("are", expanding=True))).order_by(db.ECUS.c.serial)
_REPORTED = ("counter", "time_s", "report", "report_digest", "report_s", "distrust")
_REPORT = (
    db.ECUS.update()
    .where(db.ECUS.c.serial == bindparam("is"))
    .values(
        {
            name: bindparam(name)
            for name in (*_REPORTED, "installed_path", "installed_length", "installed_hashes")
        }
    )
)
_DIGESTS = (
    select(db.MANIFESTS.c.digest)
    .where(db.MANIFESTS.c.vin == bindparam("is"))
    .order_by(db.MANIFESTS.c.number.desc())
)
_KEEP_MANIFEST = db.MANIFESTS.insert()


class Fleet(Orders):
    """One transaction's view of the inventory.

    Args:
        connection: whose transaction that is.
    """

    # -- vehicles

    def vehicle(self, vin: str, *, lock: bool = False) -> Vehicle:
        """A vehicle; locked, nobody else changes it before this transaction ends.

        Raises:
            UnknownVehicle: there is none.
        """
        row = None
        if vin.isprintable():  # of other texts not all databases take all
            row = self._db.execute(_VEHICLE_LOCKED if lock else _VEHICLE, {"is": vin}).one_or_none()
        if row is None:
            raise UnknownVehicle(f"there is no vehicle {vin[:60]!r}")
        return Vehicle(*row)

    def add_vehicle(self, vin: str, primary: str | None, now_s: int) -> None:
        """A new vehicle; one that is there is reset: its ECUs, manifests, alerts and assignments go.

        The versions of its metadata stay, as what was signed can never be taken back; its files are due to be signed
        anew.
        """
        where = db.VEHICLES.c.vin == vin
        if self._db.execute(db.VEHICLES.select().where(where).with_for_update()).one_or_none() is None:
            self._db.execute(db.VEHICLES.insert().values(vin=vin, primary_serial=primary, created_s=now_s))
            return
        for table in (db.ECUS, db.MANIFESTS, db.ALERTS, db.ASSIGNMENTS, db.SEALED, db.EVENTS, db.FACTS):
            self._db.execute(table.delete().where(table.c.vin == vin))
        self._db.execute(
            db.VEHICLES.update()
            .where(where)
            .values(
                primary_serial=primary, created_s=now_s, contact_s=None, manifests=0, alerts=0, root_version=0
            )
        )

    def update_vehicle(self, vin: str, **values: Any) -> None:
        """Change columns of a vehicle."""
        self._db.execute(db.VEHICLES.update().where(db.VEHICLES.c.vin == vin).values(**values))

    def vehicles(
        self, *, after: str = "", prefix: str = "", show: str = "all", before_s: int = 0, limit: int = 50
    ) -> list[Vehicle]:
        """A page of vehicles, by VIN.

        Args:
            after: the last VIN of the page before.
            prefix: how their VINs begin.
            show: ``all``; those with open ``alerts``; those that were ``silent``: without contact since ``before_s``.
            before_s: see ``show``.
            limit: how many at most.
        """
        table = db.VEHICLES
        query: Select[Any] = table.select().order_by(table.c.vin).limit(limit)
        if after:
            query = query.where(table.c.vin > after)
        if prefix:
            query = query.where(table.c.vin >= prefix, table.c.vin < prefix + _LAST)
        if show == "alerts":
            query = query.where(table.c.alerts > 0)
        elif show == "silent":
            query = query.where(or_(table.c.contact_s.is_(None), table.c.contact_s < before_s))
        return [Vehicle(*row) for row in self._db.execute(query)]

    # -- ECUs

    def ecu(self, serial: str) -> Ecu:
        """An ECU, of whatever vehicle.

        Raises:
            UnknownEcu: there is none.
        """
        row = None
        if serial.isprintable():
            row = self._db.execute(db.ECUS.select().where(db.ECUS.c.serial == serial)).one_or_none()
        if row is None:
            raise UnknownEcu(f"there is no ECU {serial[:60]!r}")
        return _ecu(row)

    def ecus(self, *vins: str) -> dict[str, Ecu]:
        """The ECUs of these vehicles, by serial."""
        rows = self._db.execute(_ECUS, {"are": list(vins)})
        return {row.serial: _ecu(row) for row in rows}

    def add_ecu(self, ecu: Ecu) -> None:
        """A new ECU.

        Raises:
            Spoofing: there is one of this serial.
        """
        from sqlalchemy.exc import IntegrityError

        values = _columns(ecu._asdict())
        key: Key = values.pop("key")
        installed: InstalledImage = values.pop("installed")
        values |= {
            "keyid": key.keyid,
            "key_kind": key.kind,
            "key_scheme": key.scheme,
            "key_public": key.public,
        }
        try:
            self._db.execute(db.ECUS.insert().values(**values, **_installed(installed)))
        except IntegrityError as exc:
            raise Spoofing(f"the ECU {ecu.serial[:60]!r} is registered already") from exc

    def update_ecu(self, serial: str, **values: Any) -> None:
        """Change columns of an ECU."""
        self._db.execute(db.ECUS.update().where(db.ECUS.c.serial == serial).values(**values))

    def keep_reports(self, ecus: Sequence[Ecu]) -> None:
        """What these ECUs reported last, and whether they are trusted."""
        rows = [
            {
                **{name: getattr(ecu, name) for name in _REPORTED},
                **_installed(ecu.installed),
                "is": ecu.serial,
            }
            for ecu in ecus
        ]
        if rows:
            self._db.execute(_REPORT, rows)

    # -- manifests

    def keep_manifest(self, vehicle: Vehicle, raw: bytes, digest: str, now_s: int) -> None:
        """The next manifest of a vehicle; the oldest beyond those kept goes."""
        number = vehicle.manifests + 1
        values = {"vin": vehicle.vin, "number": number, "taken_s": now_s, "digest": digest, "raw": raw}
        self._db.execute(_KEEP_MANIFEST, values)
        self._forget(db.MANIFESTS, vehicle.vin, number - MANIFESTS_KEPT)
        self.update_vehicle(vehicle.vin, manifests=number, contact_s=now_s)

    def digests(self, vin: str) -> list[str]:
        """Of the manifests that are kept, the newest first."""
        return list(self._db.execute(_DIGESTS, {"is": vin}).scalars())

    def manifests(self, vin: str, *, limit: int = MANIFESTS_KEPT) -> "Sequence[Row[Any, Any, Any]]":
        """Number, time and bytes of the last manifests, the newest first."""
        table = db.MANIFESTS
        query = select(table.c.number, table.c.taken_s, table.c.raw).where(table.c.vin == vin)
        return self._db.execute(query.order_by(table.c.number.desc()).limit(limit)).all()

    # -- alerts

    def raise_alerts(self, vin: str, alerts: Sequence[Alert], now_s: int) -> None:
        """Note alerts; one that is open already is counted, so that nobody can fill the database with them."""
        if not alerts:
            return
        known = {(kept.alert.serial, kept.alert.kind): kept for kept in self.alerts(vin)}
        table = db.ALERTS
        for alert in alerts:
            kept = known.get((alert.serial, alert.kind))
            text = "".join(
                char if char.isprintable() or char == "\n" else "?" for char in alert.text[:ALERT_TEXT_MAX]
            )
            if kept is None and len(known) >= ALERTS_MAX:
                continue
            if kept is None:
                self._db.execute(
                    table.insert().values(
                        vin=vin, serial=alert.serial, kind=alert.kind, text=text, first_s=now_s, last_s=now_s,
                        times=1, is_open=True,
                    )
                )  # fmt: skip
                known[alert.serial, alert.kind] = KeptAlert(vin, alert, now_s, now_s, 1, True)
                continue
            changes: dict[str, Any] = {
                "text": text,
                "last_s": now_s,
                "times": table.c.times + 1,
                "is_open": True,
            }
            if not kept.is_open:
                changes |= {"times": 1, "first_s": now_s}
            self._db.execute(
                table.update()
                .where(table.c.vin == vin, table.c.serial == alert.serial, table.c.kind == alert.kind)
                .values(**changes)
            )
        self._count_alerts(vin)

    def close_alerts(self, vin: str) -> None:
        """Somebody has seen them."""
        self._db.execute(db.ALERTS.update().where(db.ALERTS.c.vin == vin).values(is_open=False))
        self._count_alerts(vin)

    def alerts(self, vin: str) -> list[KeptAlert]:
        """All of a vehicle, the newest first."""
        query = db.ALERTS.select().where(db.ALERTS.c.vin == vin).order_by(db.ALERTS.c.last_s.desc())
        return [
            KeptAlert(row.vin, Alert(row.serial, row.kind, row.text), *row[4:])
            for row in self._db.execute(query)
        ]

    def _count_alerts(self, vin: str) -> None:
        self.update_vehicle(vin, alerts=sum(kept.is_open for kept in self.alerts(vin)))

    # -- what vehicles tell of themselves

    def keep_events(self, vin: str, events: Sequence[tuple[str, Mapping[str, Any]]], now_s: int) -> None:
        """Add to a vehicle's events; the oldest beyond those kept go."""
        table = db.EVENTS
        last = self._db.execute(select(func.max(table.c.number)).where(table.c.vin == vin)).scalar() or 0
        rows = [
            {"vin": vin, "number": number, "taken_s": now_s, "kind": kind, "body": dict(body)}
            for number, (kind, body) in enumerate(events, last + 1)
        ]
        if rows:
            self._db.execute(table.insert(), rows)
            self._forget(table, vin, last + len(rows) - EVENTS_KEPT)

    def events(self, vin: str) -> list[VehicleEvent]:
        """Of a vehicle, the newest first."""
        table = db.EVENTS
        query = table.select().where(table.c.vin == vin).order_by(table.c.number.desc())
        return [VehicleEvent(*row[1:]) for row in self._db.execute(query)]

    def keep_fact(self, vin: str, name: str, value: bytes, now_s: int) -> None:
        """What a vehicle says of itself under a name; replaces what it said before."""
        table = db.FACTS
        self._db.execute(table.delete().where(table.c.vin == vin, table.c.name == name))
        self._db.execute(table.insert().values(vin=vin, name=name, value=value, taken_s=now_s))

    def facts(self, vin: str) -> dict[str, bytes]:
        """What a vehicle says of itself, by name."""
        query = db.FACTS.select().where(db.FACTS.c.vin == vin).order_by(db.FACTS.c.name)
        return {row.name: row.value for row in self._db.execute(query)}


def _ecu(row: "Row[Any]") -> Ecu:
    return Ecu(
        row.serial,
        row.vin,
        row.hardware_id,
        row.is_primary,
        Key(row.keyid, row.key_kind, row.key_scheme, row.key_public),
        row.image_key,
        row.counter,
        row.time_s,
        row.report,
        row.report_digest,
        row.report_s,
        InstalledImage(row.installed_path, row.installed_length, row.installed_hashes),
        row.distrust,
    )


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    values["is_primary"] = values.pop("primary")
    return values


def _installed(image: InstalledImage) -> dict[str, Any]:
    return {
        "installed_path": image.path,
        "installed_length": image.length_bytes,
        "installed_hashes": dict(image.hashes),
    }
