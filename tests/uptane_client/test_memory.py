"""The vehicle's memory: one that an earlier version made is read on."""

from pathlib import Path

from swagent.store.sqlite import Database
from swagent.uptane.reports import InstalledImage
from swagent.uptane_client import vehicle
from swagent.uptane_client.vehicle import Pending, Vehicle


def test_an_earlier_schema_is_raised(tmp_path: Path) -> None:
    path = str(tmp_path / "vehicle.sqlite")
    earlier = Database(path, vehicle._STEPS[:1])
    image = '{"path": "v1.img", "length": 3, "hashes": {"sha256": "00"}}'
    with earlier.transaction() as db:
        db.execute("INSERT INTO ecus VALUES ('GW1', 'gateway', ?, 4)", (image,))
        db.execute("INSERT INTO pending VALUES ('GW1', ?, 5, 'urn:1', 'boot')", (image,))
    earlier.close()
    memory = Vehicle(path)
    runs = InstalledImage("v1.img", 3, {"sha256": "00"})
    assert memory.ecus()["GW1"].installed == runs
    assert memory.pending() == {"GW1": Pending("GW1", runs, 5, "urn:1", "boot", "")}
    memory.keep_event("{}")
    assert [each.body for each in memory.events(9)] == ["{}"]
    memory.close()
