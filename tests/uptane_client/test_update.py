"""``swagent uptane update --once`` against a vehicle's two repositories, in every dialect."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from swagent.cli.main import main
from swagent.clock import SystemClock
from swagent.testing.repositories import RepoSimulator, image_target
from swagent.uptane.codecs import NAMES
from swagent.uptane.metadata import TARGETS, TIMESTAMP
from tests.cli.event_schema import problems

FIRMWARE = b"Fresh firmware image"
SERIAL, HARDWARE, VIN = "INFOdemocar", "infotainment", "democar"


class Vehicle:
    """One vehicle, its Director and the Image repository, below one folder."""

    def __init__(self, folder: Path, dialect: str, capfd: pytest.CaptureFixture[str]) -> None:
        now_s = int(SystemClock().now_s())
        self.folder = folder
        self.dialect = dialect
        self.capfd = capfd
        self.director = RepoSimulator(
            dialect, seed=1, now_s=now_s, vin="" if dialect.startswith("ref") else VIN
        )
        self.image = RepoSimulator(dialect, seed=2, now_s=now_s)
        self.url = folder.as_uri()
        self.words: list[str] = []
        self.write()

    def write(self) -> None:
        self.director.write(str(self.folder / "director"))
        self.image.write(str(self.folder / "image"))

    def order(self, name: str = "firmware.img", data: bytes = FIRMWARE, **lies: Any) -> None:
        target = image_target(name, data, SERIAL)
        self.image.targets[name] = image_target(name, data)
        self.director.targets = {name: target._replace(**lies)}
        self.publish()
        path = self.folder / "image" / "targets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def publish(self) -> None:
        self.director.publish()
        self.image.publish()
        self.write()

    def provision(self) -> None:
        extension = self.director.codec.extension
        code = main([
            "uptane", "provision", "--state", str(self.folder / "state"), "--dialect", self.dialect,
            "--director-root", str(self.folder / "director" / "metadata" / f"1.root.{extension}"),
            "--image-root", str(self.folder / "image" / "metadata" / f"1.root.{extension}"),
        ])  # fmt: skip
        assert code == 0
        self.capfd.readouterr()

    def update(self, *more: str) -> tuple[int, list[dict[str, Any]]]:
        code = main([
            "uptane", "update", "--once", "--json", "--state", str(self.folder / "state"),
            "--director", f"{self.url}/director", "--image-repo", f"{self.url}/image",
            "--ecu-serial", SERIAL, "--hardware-id", HARDWARE, "--vin", VIN, "--dialect", self.dialect, *more,
        ])  # fmt: skip
        lines = self.capfd.readouterr().out.splitlines()
        for line in lines:
            assert problems(line) == []
        return code, [json.loads(line) for line in lines]

    def kept(self) -> dict[str, bytes]:
        root = self.folder / "state" / "metadata"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(params=NAMES)
def vehicle(request: pytest.FixtureRequest, quick_path: Path, capfd: pytest.CaptureFixture[str]) -> Vehicle:
    vehicle = Vehicle(quick_path, request.param, capfd)
    vehicle.provision()
    return vehicle


def test_an_update_arrives(vehicle: Vehicle) -> None:
    code, lines = vehicle.update()
    assert (code, lines[-1]["result"]) == (0, "nothing-to-do")
    vehicle.order()
    code, lines = vehicle.update()
    assert (code, lines[-1]["result"]) == (0, "downloaded")
    assert (vehicle.folder / "state" / "targets" / "firmware.img").read_bytes() == FIRMWARE


def test_the_report_lies_where_it_was_asked_for(vehicle: Vehicle) -> None:
    service = vehicle.folder / "service"
    code, _ = vehicle.update("--director-service", service.as_uri())
    assert code == 0
    (path,) = service.iterdir()
    found = vehicle.director.codec.decode_vehicle_report(path.read_bytes()).content
    assert found.primary == SERIAL
    assert list(found.ecus) == [SERIAL]


def test_trust_on_first_use(quick_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    vehicle = Vehicle(quick_path, "tuf1", capfd)
    code, lines = vehicle.update()
    assert code == 70
    assert "provision" in lines[-1]["error"]["hint"]
    code, _ = vehicle.update("--trust-on-first-use")
    assert code == 0


@pytest.mark.parametrize(
    ("lie", "name"),
    [
        ({"length_bytes": 3}, "TargetMismatch"),
        ({"hashes": {"sha256": "00" * 32, "sha512": "00" * 64}}, "TargetMismatch"),
        ({"path": "other.img"}, "TargetMismatch"),
        ({"path": "../../evil"}, "InvalidTarget"),
        ({"path": "/etc/passwd"}, "InvalidTarget"),
        ({"ecus": {"somebody else": ""}}, "BadEcuId"),
    ],
)
def test_a_lying_director(vehicle: Vehicle, lie: dict[str, Any], name: str) -> None:
    vehicle.order()
    vehicle.director.targets = {"x": vehicle.director.targets["firmware.img"]._replace(**lie)}
    if "path" in lie:
        vehicle.director.targets = {lie["path"]: vehicle.director.targets["x"]}
    else:
        vehicle.director.targets = {"firmware.img": vehicle.director.targets["x"]}
    vehicle.publish()
    code, lines = vehicle.update()
    if name == "BadEcuId" and vehicle.dialect.startswith("ref"):
        assert lines[-1]["result"] == "nothing-to-do"
        return
    error = lines[-1]["error"]
    if lie.get("path") == "/etc/passwd" and vehicle.dialect.startswith("ref"):
        assert error["name"] in ("TargetMismatch", "InvalidTarget")
    else:
        assert error["name"] == name
    assert code == lines[-1]["exit_code"] in (12, 62, 65)
    assert not (vehicle.folder / "state" / "targets").exists()
    vehicle.order()
    assert vehicle.update()[0] == 0


@pytest.mark.parametrize("change", [b"Evil  firmware image", b"short", FIRMWARE + b"!"])
def test_an_image_changed_on_the_mirror(vehicle: Vehicle, change: bytes) -> None:
    vehicle.order()
    (vehicle.folder / "image" / "targets" / "firmware.img").write_bytes(change)
    code, lines = vehicle.update()
    assert code in (62, 66)
    assert lines[-1]["error"]["name"] in ("TargetHashMismatch", "OversizedTarget")
    targets = vehicle.folder / "state" / "targets"
    assert [path for path in targets.rglob("*") if path.is_file()] == []
    vehicle.order()
    assert vehicle.update()[0] == 0


def test_replay_is_a_rollback_and_leaves_everything(vehicle: Vehicle) -> None:
    if vehicle.dialect == "ak":
        old_targets = vehicle.director.files[TARGETS]
    old = dict(vehicle.director.files)
    vehicle.order()
    assert vehicle.update()[0] == 0
    before = vehicle.kept()
    if vehicle.dialect == "ak":
        vehicle.director.files[TARGETS] = old_targets
        name = f"targets.{vehicle.director.codec.extension}"
        (vehicle.folder / "director" / "metadata" / name).write_bytes(old_targets)
    else:
        name = f"timestamp.{vehicle.director.codec.extension}"
        (vehicle.folder / "director" / "metadata" / name).write_bytes(old[TIMESTAMP])
    code, lines = vehicle.update()
    assert code == 61
    assert lines[-1]["error"]["attack"] == "rollback"
    assert vehicle.kept() == before


def test_another_unit_may_not_use_the_folder(vehicle: Vehicle) -> None:
    assert vehicle.update()[0] == 0
    code, lines = vehicle.update("--vin", "other")
    assert code == 70
    assert "vin" in lines[-1]["message"]


def test_the_key_is_private(vehicle: Vehicle) -> None:
    vehicle.update()
    key = vehicle.folder / "state" / "ecu.key"
    assert os.stat(key).st_mode & 0o777 == 0o600
    key.chmod(0o644)
    code, lines = vehicle.update()
    assert code == 70
    assert "chmod" in lines[-1]["error"]["hint"]
