"""The inventory's database: one schema in SQLite and PostgreSQL, by migrations; found by index, whatever the number."""

import re
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import DeviceError, SettingsError, TransportError
from swagent.uptane.errors import UnknownVehicle
from swagent.uptane_server.inventory import Inventory

from .fleet import VIN, Fleet


def test_migrations_make_the_schema(inventory: Inventory) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from swagent.uptane_server.inventory_schema import METADATA

    with inventory.look() as fleet:
        context = MigrationContext.configure(fleet._db, opts={"compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_upgrading_again_does_nothing(inventory: Inventory) -> None:
    Fleet(inventory, "tuf1")
    inventory.upgrade()
    with inventory.look() as fleet:
        assert fleet.vehicle(VIN).vin == VIN


def test_a_database_of_a_later_version(inventory: Inventory) -> None:
    with inventory.change() as fleet:
        fleet._db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match="later version"):
        inventory.upgrade()


def test_all_or_nothing(inventory: Inventory) -> None:
    with pytest.raises(ZeroDivisionError), inventory.change() as fleet:
        fleet.add_vehicle("half", None, 0)
        _ = 1 // 0
    with inventory.look() as fleet, pytest.raises(UnknownVehicle):
        fleet.vehicle("half")


def test_addresses(tmp_path: Path) -> None:
    for url in ("mysql://host/db", "nonsense://", "sqlite+aiosqlite:///x"):
        with pytest.raises(SettingsError):
            Inventory(url)
    with pytest.raises(TransportError):
        Inventory(f"postgresql://director@/fleet?host={tmp_path}").upgrade()
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)
    with pytest.raises(DeviceError):
        Inventory(str(tmp_path / "rubbish")).upgrade()
    with pytest.raises(DeviceError):
        Inventory(str(tmp_path / "missing" / "fleet.sqlite")).upgrade()


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    inventory = Inventory(f"postgresql://director:secret@/fleet?host={tmp_path}")
    assert "secret" not in inventory.name
    with pytest.raises(TransportError) as caught:
        inventory.upgrade()
    assert "secret" not in caught.value.message


class TestIndexes:
    """No statement of a request reads a table from end to end: EXPLAIN says so, in both databases."""

    SMALL = ("images", "roots")
    """Tables that do not grow with the fleet."""

    def test_of_every_statement(self, inventory: Inventory) -> None:
        fleet = Fleet(inventory, "tuf1")
        statements = self.statements(inventory, fleet)
        assert len(statements) > 15
        for statement, parameters in statements:
            plan = self.plan(inventory, statement, parameters)
            scans = re.findall(r"(?:Seq Scan on|SCAN) (\w+)", plan)
            assert set(scans) <= set(self.SMALL), f"{statement}\n{plan}"

    def statements(self, inventory: Inventory, fleet: Fleet) -> list[tuple[str, Any]]:
        """What a day of one vehicle asks of the database."""
        from sqlalchemy import event

        found: list[tuple[str, Any]] = []

        def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
            if re.match(r"SELECT|UPDATE|DELETE", statement):
                found.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

        event.listen(inventory._engine, "before_cursor_execute", note)
        fleet.order()
        fleet.director.submit(VIN, fleet.car.manifest())
        for role in ("root", "timestamp", "snapshot", "targets"):
            fleet.director.file(VIN, role)
        fleet.director.last_vehicle_manifest(VIN)
        fleet.director.last_ecu_manifest(fleet.car.primary)
        with inventory.look() as look:
            look.vehicles(after="a", prefix="demo")
            look.alerts(VIN)
            look.events(VIN)
            look.facts(VIN)
            look.operator_of_token("x")
            look.operator_of_session("x", 0)
        event.remove(inventory._engine, "before_cursor_execute", note)
        return found

    def plan(self, inventory: Inventory, statement: str, parameters: Any) -> str:
        with inventory.look() as look:
            if inventory.is_sqlite:
                rows = look._db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            else:
                look._db.exec_driver_sql("SET LOCAL enable_seqscan = off")  # tables this small are read whole
                rows = look._db.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            return "\n".join(" ".join(map(str, row)) for row in rows)
