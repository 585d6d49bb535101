"""The JSON interface, aktualizr's, and who is let in."""

import json
import random
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from swagent.clock import SystemClock
from swagent.errors import SwagentError
from swagent.uptane.metadata import ROOT, TARGETS
from swagent.uptane_client.sources import HttpDirectorService
from swagent.uptane_server.director_access import Access
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import VehicleFolders
from swagent.uptane_server.director_rpc import methods
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_fleet import fleet_application
from swagent.uptane_server.service_http import Identity
from swagent.uptane_server.service_rpc import rpc_application
from tests.fuzz.test_seeds import mutated

from .fleet import PRIMARY, TCU, VIN, Car, Fleet

PASSWORD = "correct horse battery"


class Office:
    """A Director behind its HTTP door, with one operator."""

    def __init__(
        self, inventory: Inventory, folder: Path, dialect: str = "tuf1", *, everybody: bool = False
    ) -> None:
        self.fleet = Fleet(inventory, dialect)
        self.log: list[str] = []
        self.access = Access(self.fleet.director, everybody=everybody)
        self.token = self.access.add("anna", PASSWORD)
        (folder / "images").mkdir()
        self.images = folder / "images"
        self.desk = DirectorDesk(
            self.fleet.director, VehicleFolders(str(folder / "vehicles")), sources=str(self.images)
        )
        identity = Identity(self.access, certified=False)
        app = fleet_application(self.desk, identity, self.hear, silent_s=3600)
        rpc = rpc_application(methods(self.desk, self.hear), lambda call: bool(identity.operator(call)))
        self.service = Service(Door(app), Door(rpc))
        self.url, self.rpc = (f"http://127.0.0.1:{port}" for port in self.service.ports)

    def hear(self, level: str, line: str) -> None:
        self.log.append(line)

    def ask(self, method: str, path: str, tree: Any = None, *, token: str | None = None, **facts: Any) -> Any:
        """Status and answer."""
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = tree if isinstance(tree, bytes) else json.dumps(tree).encode() if tree is not None else None
        answer = urllib3.request(
            method, self.url + path, body=body, headers={**headers, **facts.pop("headers", {})}, retries=False,
            redirect=False, **facts,
        )  # fmt: skip
        found = answer.data
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(found) if found and is_json else found


@pytest.fixture
def office(sqlite: Inventory, quick_path: Path) -> Iterator[Office]:
    found = Office(sqlite, quick_path)
    yield found
    found.service.close()


@pytest.fixture
def aktualizr(sqlite: Inventory, quick_path: Path) -> Iterator[Office]:
    found = Office(sqlite, quick_path, "ak", everybody=True)
    yield found
    found.service.close()


BASE = "/api/v1"


class TestJson:
    def test_a_vehicle_from_nothing(self, office: Office) -> None:
        """All that an operator's program does, and the vehicle in between."""
        fleet = office.fleet
        car = Car("tuf1", fleet.clock, "new", "P", ("P", "S"))
        assert office.ask("PUT", f"{BASE}/vehicles/new") == (204, b"")
        ecus = [
            {
                "ecu_serial": each.serial,
                "hardware_id": "tcu",
                "primary": each.primary,
                "key": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": each.key.public}},
            }
            for each in car.newcomers()
        ]
        for _ in range(2):
            assert office.ask("POST", f"{BASE}/vehicles/new/ecus", {"ecus": ecus}, token="")[0] == 204
        assert office.ask("GET", f"{BASE}/vehicles/new/manifest") == (200, None)
        assert office.ask("PUT", f"{BASE}/vehicles/new/manifest", car.manifest(), token="") == (
            200,
            {"new": True, "alerts": 0},
        )
        status, last = office.ask("GET", f"{BASE}/vehicles/new/manifest")
        assert (status, last["signed"]["vin"]) == (200, "new")
        status, ecu = office.ask("GET", f"{BASE}/ecus/S/manifest")
        assert ecu == last["signed"]["ecu_version_manifests"]["S"][0]

        target = fleet.image("s.img", hardware_ids=frozenset({"tcu"})).target
        image = {"path": "s.img", "length": target.length_bytes, "hashes": dict(target.hashes)}
        image |= {"hardware_ids": ["tcu"], "release_counter": 3, "requires": [{"path": "p.*", "least": 1}]}
        status, made = office.ask("POST", f"{BASE}/images", image)
        assert status == 201
        number = made["image"]
        assert office.ask("POST", f"{BASE}/images", image) == (201, made), "the same one"
        assignment = f"{BASE}/vehicles/new/assignments/S"
        assert office.ask("PUT", assignment, {"image": number, "correlation_id": "urn:1"})[0] == 204
        status, preview = office.ask("GET", f"{BASE}/vehicles/new/preview")
        assert preview == {
            "targets": {},
            "held_back": {"S": "s.img requires an ECU with image p.*, release counter 1 or more"},
        }
        office.ask("POST", f"{BASE}/images", {**image, "path": "p.img", "requires": []})
        status, images = office.ask("GET", f"{BASE}/images")
        assert images["images"][0]["path"] == "p.img"
        assert (
            office.ask("PUT", f"{BASE}/vehicles/new/assignments/P", {"image": images["images"][0]["image"]})[
                0
            ]
            == 204
        )
        assert office.ask("POST", f"{BASE}/vehicles/new/metadata")[0] == 204
        assert fleet.orders("new") == {"P": "p.img", "S": "s.img"}
        assert fleet.signed("new").correlation_id == "urn:1"
        status, shown = office.ask("GET", f"{BASE}/vehicles/new")
        assert [ecu["assigned"] for ecu in shown["ecus"]] == ["p.img", "s.img"]
        assert office.ask("DELETE", assignment)[0] == 204
        assert office.ask("DELETE", f"{BASE}/vehicles/new/assignments")[0] == 204
        assert office.ask("POST", f"{BASE}/vehicles/new/metadata")[0] == 204
        assert fleet.orders("new") == {}
        status, found = office.ask("GET", f"{BASE}/vehicles?prefix=n&limit=5")
        assert [each["vin"] for each in found["vehicles"]] == ["new"]

    def test_errors(self, office: Office) -> None:
        car, stored = office.fleet.car, office.fleet.stored()
        thief = {"keytype": "ed25519", "keyval": {"public": car.signer("thief").key.public}}
        image = {"path": "x", "length": 1, "hashes": {"sha256": "0" * 64}}
        calls: list[tuple[Any, ...]] = [
            (404, "GET", f"{BASE}/vehicles/nobody"),
            (404, "PUT", f"{BASE}/vehicles/nobody/manifest", car.manifest()),
            (404, "GET", f"{BASE}/ecus/nobody/manifest"),
            (404, "POST", f"{BASE}/ecus/nobody/forgive"),
            (404, "GET", f"{BASE}/nothing"),
            (405, "DELETE", f"{BASE}/vehicles"),
            (400, "PUT", f"{BASE}/vehicles/a..b"),
            (400, "PUT", f"{BASE}/vehicles/x", b"rubbish"),
            (400, "PUT", f"{BASE}/vehicles/x", [1]),
            (400, "PUT", f"{BASE}/vehicles/x", {"primary_ecu_serial": 5}),
            (400, "PUT", f"{BASE}/vehicles/{VIN}/manifest", b"{}"),
            (400, "POST", f"{BASE}/images", {"path": "x"}),
            (400, "POST", f"{BASE}/images", {**image, "path": "../x"}),
            (400, "POST", f"{BASE}/images", {**image, "length": 1.5}),
            (400, "POST", f"{BASE}/images", {**image, "hashes": {"sha256": "0"}}),
            (400, "POST", f"{BASE}/images", {**image, "hashes": {}}),
            (400, "POST", f"{BASE}/images", {**image, "requires": [{"x": 1}]}),
            (409, "PUT", f"{BASE}/vehicles/{VIN}/assignments/{TCU}", {"image": 99}),
            (400, "PUT", f"{BASE}/vehicles/{VIN}/assignments/{TCU}", {"image": 0}),
            (409, "POST", f"{BASE}/vehicles/{VIN}/ecus", {"ecus": [{"ecu_serial": TCU, "key": thief}]}),
            (403, "PUT", f"{BASE}/vehicles/{VIN}/manifest", car.manifest(by=car.signer(TCU))),
            (400, "GET", f"{BASE}/vehicles?limit=9999"),
            (400, "GET", f"{BASE}/vehicles?show=x"),
        ]  # fmt: skip
        for expected, method, path, *body in calls:
            status, found = office.ask(method, path, *body)
            assert status == expected, (method, path, found)
            assert "Traceback" not in str(found)
            if path.startswith(BASE) and expected not in (405,) and "nothing" not in path:
                assert set(found["error"]) == {"class", "message", "hint"}
        assert office.fleet.stored() == stored

    def test_a_replay_is_a_conflict(self, office: Office) -> None:
        old = office.fleet.car.manifest()
        office.fleet.director.submit(VIN, old)
        office.fleet.director.submit(VIN, office.fleet.car.manifest())
        status, found = office.ask("PUT", f"{BASE}/vehicles/{VIN}/manifest", old)
        assert (status, found["error"]["class"]) == (409, "ReplayedReport")

    def test_the_description(self, office: Office) -> None:
        """It names every route, and says who may ask."""
        status, tree = office.ask("GET", "/api/openapi.json", token="")
        assert (status, tree["openapi"]) == (200, "3.1.0")
        operations = {(path, method) for path, item in tree["paths"].items() for method in item}
        assert (f"{BASE}/vehicles/{{vin}}/assignments/{{serial}}", "put") in operations
        for path, method in operations - {("/api/openapi.json", "get")}:
            assert tree["paths"][path][method]["security"]
            for word in ("{vin}", "{serial}"):
                names = [each["name"] for each in tree["paths"][path][method]["parameters"]]
                assert (word in path) == (word[1:-1] in names)

    def test_a_broken_inventory(self, office: Office) -> None:
        with office.fleet.director.inventory.change() as change:
            change._db.exec_driver_sql("ALTER TABLE vehicles RENAME TO gone")
        status, found = office.ask("GET", f"{BASE}/vehicles")
        assert status == 503
        assert "gone" not in str(found) and "sqlite" not in str(found).lower()

    def test_bodies_that_are_too_long(self, office: Office) -> None:
        status, _ = office.ask("PUT", f"{BASE}/vehicles/{VIN}/manifest", b" " * (4 * 1024 * 1024))
        assert status == 413


class TestWhoIsLetIn:
    def test_operators_alone(self, office: Office) -> None:
        from swagent.uptane_server.director_routes import OPERATOR

        stored = office.fleet.stored()
        _, tree = office.ask("GET", "/api/openapi.json", token="")
        guarded = 0
        for path, item in tree["paths"].items():
            for method, operation in item.items():
                if {"token": []} not in operation.get("security", []):
                    continue
                guarded += 1
                where = path.replace("{vin}", VIN).replace("{serial}", TCU)
                for token in ("", "wrong", "x" * 5000):
                    assert office.ask(method.upper(), where, {}, token=token)[0] == 401, (OPERATOR, where)
        assert guarded > 10
        assert office.fleet.stored() == stored

    def test_by_password(self, office: Office) -> None:
        def status(words: bytes) -> int:
            header = {"Authorization": "Basic " + b64encode(words).decode()}
            return int(office.ask("GET", f"{BASE}/vehicles", token="", headers=header)[0])

        assert status(b"anna:" + PASSWORD.encode()) == 200
        for words in (
            b"anna:wrong",
            b"anna:",
            b"nobody:" + PASSWORD.encode(),
            b"anna",
            b"\xff:\xff",
            b"a\0:b",
        ):
            assert status(words) == 401
        assert (
            office.ask("GET", f"{BASE}/vehicles", token="", headers={"Authorization": "Basic !!!"})[0] == 401
        )

    def test_over_xml_rpc(self, office: Office) -> None:
        from xmlrpc.client import Fault, ServerProxy

        words = office.rpc.replace("http://", f"http://anna:{PASSWORD.replace(' ', '%20')}@")
        with ServerProxy(words, allow_none=True) as proxy:
            proxy.add_new_vehicle("by-rpc")
        with ServerProxy(office.rpc, allow_none=True) as proxy, pytest.raises(Fault):
            proxy.add_new_vehicle("by-nobody")
        assert set(office.fleet.director.vins()) == {VIN, "by-rpc"}

    def test_no_more(self, office: Office) -> None:
        office.access.remove("anna")
        assert office.ask("GET", f"{BASE}/vehicles")[0] == 401
        with pytest.raises(SwagentError):
            office.access.remove("anna")

    def test_secrets_are_not_in_the_database(self, office: Office) -> None:
        session = office.access.log_in("anna", PASSWORD)
        assert session is not None
        stored = str(office.fleet.stored())
        for secret in (PASSWORD, office.token, session.key, session.form_key):
            assert secret not in stored

    def test_sessions_end(self, office: Office) -> None:
        session = office.access.log_in("anna", PASSWORD)
        assert session is not None and office.access.session(session.key) == session
        office.fleet.clock.passes(13 * 3600)
        assert office.access.session(session.key) is None

    @pytest.mark.parametrize(
        ("name", "password"),
        [("anna", "short"), ("a:b", PASSWORD), ("", PASSWORD), ("a\nb", PASSWORD)],
    )
    def test_names_and_passwords_that_cannot_be_used(self, office: Office, name: str, password: str) -> None:
        with pytest.raises(SwagentError):
            office.access.add(name, password)


class TestAktualizr:
    def test_a_vehicle_from_nothing(self, aktualizr: Office) -> None:
        """Through our own vehicle's client for such Directors."""
        fleet = aktualizr.fleet
        fleet.director.add_vehicle("new")
        car = Car("ak", fleet.clock, "new", "P", ("P",))
        client = HttpDirectorService(f"{aktualizr.url}/ak/new/director", SystemClock())
        (each,) = car.newcomers()
        for _ in range(2):
            client.register("new", "P", "gateway", each.key, primary=True)
        client.submit("new", "P", car.manifest())
        assert aktualizr.ask("GET", f"{BASE}/vehicles/new/manifest")[1]["signed"]["primary_ecu_serial"] == "P"
        for name, role in (("1.root.json", ROOT), ("root.json", ROOT), ("targets.json", TARGETS)):
            found = fleet.director.file("new", role)
            assert found is not None
            assert aktualizr.ask("GET", f"/ak/new/director/{name}")[0] == 200
        assert aktualizr.ask("GET", "/ak/new/director/2.root.json")[0] == 404

    def test_what_a_device_says(self, aktualizr: Office) -> None:
        base = f"/ak/{VIN}"
        event = {
            "id": "1",
            "deviceTime": "2026-01-01T00:00:00Z",
            "eventType": {"id": "EcuDownloadStarted", "version": 0},
        }
        event["event"] = {"ecu": TCU, "correlationId": "urn:1"}
        assert aktualizr.ask("POST", f"{base}/events", [event] * 3)[0] == 200
        assert aktualizr.ask("POST", f"{base}/events", [event] * 501)[0] == 413
        assert aktualizr.ask("PUT", f"{base}/system_info", {"id": "cpu"})[0] == 200
        assert aktualizr.ask("PUT", f"{base}/system_info/network", {"hostname": "car"})[0] == 200
        assert aktualizr.ask("POST", f"{base}/system_info/config", b"[uptane]\n")[0] == 200
        assert aktualizr.ask("PUT", f"{base}/core/installed", [])[0] == 200
        assert aktualizr.ask("PUT", f"{base}/system_info", b"rubbish")[0] == 400
        assert aktualizr.ask("GET", f"{base}/campaigner/campaigns") == (200, {"campaigns": []})
        campaign = {"id": "1", "name": "July", "size": 3, "autoAccept": False, "metadata": []}
        assert aktualizr.ask("PUT", f"{BASE}/vehicles/{VIN}/campaigns", {"campaigns": [campaign]})[0] == 204
        assert aktualizr.ask("GET", f"{base}/campaigner/campaigns") == (200, {"campaigns": [campaign]})
        with aktualizr.fleet.director.inventory.look() as look:
            assert [each.kind for each in look.events(VIN)] == ["EcuDownloadStarted"] * 3
            assert set(look.facts(VIN)) == {"system_info", "network", "config", "installed", "campaigns"}

    def test_events_do_not_grow(self, aktualizr: Office) -> None:
        event = {"eventType": {"id": "x"}}
        for _ in range(3):
            assert aktualizr.ask("POST", f"/ak/{VIN}/events", [event] * 90)[0] == 200
        with aktualizr.fleet.director.inventory.look() as look:
            assert len(look.events(VIN)) == 200

    def test_without_a_certificate(self, office: Office) -> None:
        for method, path in (("PUT", "/system_info"), ("GET", "/campaigner/campaigns"), ("POST", "/events")):
            assert office.ask(method, f"/ak/{VIN}{path}", {}, token="")[0] == 401
            assert office.ask(method, path, {}, token="")[0] == 401


class TestRubbish:
    """Bodies that make no sense: a fault or a 4xx, nothing stored, no traceback; the honest one behind it is taken."""

    def test_a_sample(self, office: Office) -> None:
        self.survive(office, 200)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_ten_thousand(self, office: Office) -> None:
        self.survive(office, 10_000)

    def survive(self, office: Office, number: int) -> None:
        from xmlrpc.client import dumps

        fleet, dice = office.fleet, random.Random(7)
        honest = fleet.car.manifest()
        manifest = fleet.car.manifest(by=fleet.car.signer("thief"))  # so that no mutation is a good one
        key = {"keytype": "ed25519", "keyval": {"public": "0" * 40}}
        bodies = [
            ("PUT", f"{BASE}/vehicles/{VIN}/manifest", manifest),
            (
                "POST",
                f"{BASE}/images",
                b'{"path":"x","length":1,"hashes":{"sha256":"0"},"requires":[{"least":1}]}',
            ),
            ("PUT", f"{BASE}/vehicles/{VIN}/assignments/{TCU}", b'{"image":123,"correlation_id":"x"}'),
            (
                "POST",
                f"{BASE}/vehicles/{VIN}/ecus",
                json.dumps({"ecus": [{"ecu_serial": TCU, "key": key}]}).encode(),
            ),
            ("PUT", f"{BASE}/vehicles/a..b", b'{"primary_ecu_serial":"x"}'),
            ("POST", "/vehicles", b"form_key=x&vin=y"),
            ("POST", "/login", b"form_key=x&name=y&password=z"),
        ]
        calls = [
            dumps((VIN, PRIMARY, json.loads(manifest)), "submit_vehicle_manifest").encode(),
            dumps((TCU, key, VIN, False), "register_ecu_serial").encode(),
            dumps((VIN,), "get_last_vehicle_manifest").encode(),
        ]
        stored = fleet.stored()
        pool = urllib3.PoolManager()
        for _ in range(number):
            method, path, seed = dice.choice(bodies)
            if dice.random() < 0.3:
                call = mutated(calls, dice)
                answer = pool.request("POST", f"{office.rpc}/RPC2", body=call, retries=False)
                assert answer.status == 200 and b"<fault>" in answer.data, call
                assert b"Traceback" not in answer.data
                continue
            body = mutated([seed], dice)
            headers = {"Authorization": f"Bearer {office.token}"}
            if not path.startswith(BASE):
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer = pool.request(
                method, office.url + path, body=body, headers=headers, retries=False, redirect=False
            )
            assert 400 <= answer.status < 500 or answer.status == 303, (path, body, answer.data)
            assert b"Traceback" not in answer.data
        assert fleet.stored() == stored
        assert office.ask("PUT", f"{BASE}/vehicles/{VIN}/manifest", honest)[1]["new"]
