"""The Director over the network: the reference's XML-RPC and files over HTTP, asked by our own vehicle's clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import Binary, Fault, ServerProxy

import pytest
import urllib3

from swagent.clock import SystemClock
from swagent.errors import TransportError
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.metadata import ROOT, TARGETS
from swagent.uptane_client.sources import RepositorySource, RpcDirectorService
from swagent.uptane_server import director_rpc
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import VehicleFolders
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_files import director_files, static_files
from swagent.uptane_server.service_rpc import rpc_application
from tests.net.dribble import hung_up_on_after_s

from .fleet import PRIMARY, TCU, VIN, Car, Fleet

DIALECTS = [name for name in NAMES if name != "ak"]


class Served:
    """A Director with all its doors open, as in a testbed."""

    def __init__(self, inventory: Inventory, dialect: str, folder: Path, *, trusted: bool = True) -> None:
        self.fleet = Fleet(inventory, dialect, prompt=False)
        self.log: list[str] = []
        self.folder = folder / "director"
        self.desk = DirectorDesk(self.fleet.director, VehicleFolders(str(self.folder)), static=True)
        methods = director_rpc.methods(self.desk, self.hear)
        self.service = Service(
            Door(rpc_application(methods, lambda request: trusted)),
            Door(director_files(self.fleet.director, str(self.folder), self.hear)),
            Door(static_files(str(self.folder))),
        )
        self.rpc, self.files, self.static = (f"http://127.0.0.1:{port}" for port in self.service.ports)

    def hear(self, level: str, line: str) -> None:
        self.log.append(line)

    def call(self, name: str, *words: Any) -> Any:
        with ServerProxy(self.rpc, allow_none=True, use_builtin_types=True) as proxy:
            return getattr(proxy, name)(*words)


@pytest.fixture(params=DIALECTS)
def served(request: pytest.FixtureRequest, sqlite: Inventory, quick_path: Path) -> Iterator[Served]:
    found = Served(sqlite, request.param, quick_path)
    yield found
    found.service.close()


def value(served: Served, raw: bytes) -> Any:
    from swagent.uptane_client.sources import as_value

    found = as_value(raw, served.fleet.director.codec)
    return Binary(found) if isinstance(found, bytes) else found


def refused(served: Served, name: str, *words: Any) -> str:
    with pytest.raises(Fault) as caught:
        served.call(name, *words)
    assert caught.value.faultCode == 1
    return str(caught.value.faultString)


class TestRpc:
    def test_a_vehicle_from_nothing(self, served: Served, tmp_path: Path) -> None:
        """The whole of the reference's interface, in the order of its demonstration."""
        fleet = served.fleet
        served.call("add_new_vehicle", "111")
        car = Car(fleet.dialect, fleet.clock, "111", "INFO", ("INFO", "TCU"))
        client = RpcDirectorService(served.rpc, fleet.director.codec, SystemClock())
        for each in car.newcomers():
            client.register("111", each.serial, "", each.key, primary=each.primary)
            client.register("111", each.serial, "", each.key, primary=each.primary)  # known already: no error
        assert served.call("get_last_vehicle_manifest", "111") is None
        assert served.call("get_last_ecu_manifest", "TCU") is None
        client.submit("111", "INFO", car.manifest({}))
        client.submit("111", "INFO", car.manifest())
        last = served.call("get_last_vehicle_manifest", "111")
        assert last["signed"]["vin"] == "111"
        assert last["signed"]["ecu_version_manifests"]["TCU"][0]["signed"]["ecu_serial"] == "TCU"
        ecu = served.call("get_last_ecu_manifest", "TCU")
        assert ecu == last["signed"]["ecu_version_manifests"]["TCU"][0]
        assert bytes.fromhex(ecu["signatures"][0]["sig"])

        (tmp_path / "image").write_bytes(b"Fresh firmware image")
        served.call("add_target_to_director", str(tmp_path / "image"), "/firmware.img", "111", "TCU")
        assert (served.folder / "111" / "targets" / "firmware.img").read_bytes() == b"Fresh firmware image"
        served.call("write_director_repo", "111")
        assert fleet.orders("111") == {"TCU": "firmware.img"}
        served.call("clear_vehicle_targets", "111")
        assert fleet.orders("111") == {"TCU": "firmware.img"}
        served.call("write_director_repo")
        assert fleet.orders("111") == {}

    def test_faults(self, served: Served, tmp_path: Path) -> None:
        fleet, car = served.fleet, served.fleet.car
        tcu = car.newcomers()[1].key
        key = {"keytype": "ed25519", "keyid": tcu.keyid, "keyval": {"public": tcu.public}}
        key["keyid_hash_algorithms"] = ["sha256", "sha512"]
        manifest = value(served, car.manifest())
        malformed: Any = Binary(b"rubbish") if fleet.director.codec.extension == "der" else {"signed": {}}
        told = "FailedToDecodeASN1DER" if fleet.director.codec.extension == "der" else "tuf.FormatError"
        calls: list[tuple[Any, ...]] = [
            ("uptane.UnknownVehicle", "register_ecu_serial", "new", key, "nobody", False),
            ("uptane.Spoofing", "register_ecu_serial", TCU, key, VIN, False),
            ("uptane.Spoofing", "register_ecu_serial", "new", key, VIN, True),
            ("tuf.FormatError", "register_ecu_serial", "new", {**key, "keyval": {}}, VIN),
            ("tuf.FormatError", "register_ecu_serial", "new", {**key, "keyval": {"public": "00"}}, VIN),
            ("tuf.FormatError", "register_ecu_serial", "new", "key", VIN),
            ("uptane.UnknownVehicle", "submit_vehicle_manifest", "nobody", PRIMARY, manifest),
            ("uptane.Spoofing", "submit_vehicle_manifest", VIN, TCU, manifest),
            (told, "submit_vehicle_manifest", VIN, PRIMARY, malformed),
            ("tuf.FormatError", "add_new_vehicle", "../etc"),
            ("tuf.FormatError", "add_new_vehicle", "new", 5),
            ("uptane.UnknownVehicle", "get_last_vehicle_manifest", "nobody"),
            ("uptane.UnknownECU", "get_last_ecu_manifest", "nobody"),
            ("KeyError", "clear_vehicle_targets", "nobody"),
            ("uptane.UnknownVehicle", "add_target_to_director", "x", "x", "nobody", TCU),
            ("uptane.Error", "add_target_to_director", str(tmp_path / "missing"), "x", VIN, TCU),
            ("uptane.UnknownVehicle", "write_director_repo", "nobody"),
            ("Exception", "no_such_method"),
        ]
        for word, name, *words in calls:
            text = refused(served, name, *words)
            assert text.startswith("<class '"), text
            assert word in text.split(">")[0], (name, text)
        stored = fleet.stored()
        (tmp_path / "image").write_bytes(b"x")
        for path in ("../../escape", "..", "a/../../b", "/", ""):
            assert "FormatError" in refused(
                served, "add_target_to_director", str(tmp_path / "image"), path, VIN, TCU
            )
        assert fleet.stored() == stored
        assert not list(tmp_path.rglob("escape"))

    def test_the_first_fault_of_a_manifest_counts(self, served: Served) -> None:
        car = served.fleet.car
        text = refused(
            served, "submit_vehicle_manifest", VIN, PRIMARY, value(served, car.manifest(by=car.signer(TCU)))
        )
        assert text.startswith("<class 'tuf.BadSignatureError'>:")


def test_orders_need_a_login(sqlite: Inventory, quick_path: Path) -> None:
    served = Served(sqlite, "ref-der", quick_path, trusted=False)
    try:
        stored = served.fleet.stored()
        for name, *words in [
            ("add_new_vehicle", "new"),
            ("add_target_to_director", "/etc/passwd", "x", VIN, TCU),
            ("write_director_repo",),
            ("get_last_vehicle_manifest", VIN),
            ("get_last_ecu_manifest", TCU),
            ("clear_vehicle_targets", VIN),
        ]:
            assert "for operators" in refused(served, name, *words)
        assert served.fleet.stored() == stored
    finally:
        served.service.close()


class TestFiles:
    def test_on_request(self, served: Served) -> None:
        served.fleet.order()
        source = RepositorySource(f"{served.files}/{VIN}", SystemClock())
        extension = served.fleet.director.codec.extension
        for role in ("root", "timestamp", "snapshot", "targets"):
            found = served.fleet.director.file(VIN, role)
            assert found is not None
            assert source.metadata(f"{role}.{extension}", 10_000) == found.raw
            assert source.metadata(f"{found.version}.{role}.{extension}", 10_000) == found.raw
        for name in (f"2.root.{extension}", f"9.targets.{extension}", "other.json", f"root.{extension}.bak"):
            assert source.metadata(name, 10_000) is None
        source.close()

    def test_from_the_folder(self, served: Served) -> None:
        served.fleet.director.assign(VIN, TCU, served.fleet.image())
        served.desk.write()
        extension = served.fleet.director.codec.extension
        source = RepositorySource(f"{served.static}/{VIN}", SystemClock())
        found = served.fleet.director.file(VIN, TARGETS)
        assert found is not None
        assert source.metadata(f"targets.{extension}", 10_000) == found.raw
        assert (served.folder / VIN / "metadata.staged" / f"1.{ROOT}.{extension}").is_file()
        source.close()

    @pytest.mark.parametrize(
        "path", ["../x", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", ".hidden", "%00", "democar", ""]
    )
    def test_nothing_else(self, sqlite: Inventory, quick_path: Path, path: str) -> None:
        served = Served(sqlite, "tuf1", quick_path)
        try:
            (quick_path / "x").write_text("secret")
            (served.folder / VIN).mkdir(parents=True)
            (served.folder / ".hidden").write_text("secret")
            for base in (served.static, f"{served.files}/{VIN}/targets", f"{served.files}/{VIN}/metadata"):
                answer = urllib3.request("GET", f"{base}/{path}", retries=False)
                assert answer.status in (400, 404), base
                assert b"secret" not in answer.data
        finally:
            served.service.close()


def test_a_port_that_is_taken(quick_path: Path) -> None:
    from swagent.errors import DeviceError

    first = Service(Door(static_files(str(quick_path))))
    try:
        with pytest.raises(DeviceError):
            Service(Door(static_files(str(quick_path)), port=first.ports[0]))
    finally:
        first.close()
    client = RpcDirectorService(f"http://127.0.0.1:{first.ports[0]}", codec("tuf1"), SystemClock())
    with pytest.raises(TransportError):
        client.submit(VIN, PRIMARY, b"{}")


def test_several_processes_share_a_port(quick_path: Path) -> None:
    """One takes over where the other ends."""
    (quick_path / "x").write_text("there")
    first = Service(Door(static_files(str(quick_path)), shared=True))
    second = Service(Door(static_files(str(quick_path)), port=first.ports[0], shared=True))
    assert second.ports == first.ports
    first.close()
    source = RepositorySource(f"http://127.0.0.1:{second.ports[0]}", SystemClock())
    assert source.metadata("x", 100) == b"there"
    source.close()
    second.close()


def test_an_inventory_that_is_away(sqlite: Inventory, quick_path: Path) -> None:
    """A client must not take it for a file that is not there."""
    served = Served(sqlite, "tuf1", quick_path)
    try:
        with sqlite.change() as change:
            change._db.exec_driver_sql("ALTER TABLE vehicles RENAME TO gone")
        for name in ("2.root.json", "timestamp.json"):
            answer = urllib3.request("GET", f"{served.files}/{VIN}/metadata/{name}", retries=False)
            assert answer.status == 503
            assert b"gone" not in answer.data
    finally:
        served.service.close()


def test_who_never_ends_a_request_is_hung_up_on(quick_path: Path) -> None:
    service = Service(Door(static_files(str(quick_path))), idle_s=0.5)
    try:
        assert hung_up_on_after_s(service.ports[0]) >= 0.4
    finally:
        service.close()
