"""``swagent director`` as it is typed: a real process behind TLS, vehicles with certificates, orders by hand."""

import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.programs import must, need

SWAGENT = Path(sys.executable).parent / "swagent"
PASSWORD = "correct horse battery"
DEADLINE_S = 60


def run(*words: "str | Path", status: int = 0, text: str = "") -> str:
    done = subprocess.run(
        [SWAGENT, "director", *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


class Office:
    """A Director in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "d"
        run("init", "--home", self.home, "--offline-keys", folder / "offline")
        made = run("operator", "anna", "--home", self.home, "--json", text=PASSWORD + "\n")
        self.token = json.loads(made)["token"]
        self.certificate("ca", ["-x509", "-subj", "/CN=CA"])
        for name in ("V1", "V2"):
            self.certificate(
                name, ["-x509", "-subj", f"/CN={name}", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"]
            )
        host = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        self.certificate("host", ["-x509", *host, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"])

    def certificate(self, name: str, words: "list[str | Path]") -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        must(
            [
                "openssl",
                "req",
                *key,
                "-keyout",
                self.folder / f"{name}.key",
                "-out",
                self.folder / f"{name}.pem",
                *words,
            ]
        )

    def start(self, *words: "str | Path") -> None:
        self.process = subprocess.Popen(
            [SWAGENT, "director", "serve", "--home", self.home, "--listen", "127.0.0.1:0", *words],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"(https?://\S+)", line)
        assert found, line
        self.url = found[1]

    def ask(
        self, method: str, path: str, body: Any = None, *, vehicle: str = "", token: str = ""
    ) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if vehicle:
            context.load_cert_chain(self.folder / f"{vehicle}.pem", self.folder / f"{vehicle}.key")
        pool = urllib3.PoolManager(ssl_context=context)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        raw = json.dumps(body).encode() if body is not None else None
        answer = pool.request(
            method, self.url + path, body=raw, headers=headers, retries=False, redirect=False
        )
        return answer.status, answer.data

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    need("openssl")
    folder = tmp_path_factory.mktemp("office")
    found = Office(folder)
    tls: list[str | Path] = ["--tls-cert", folder / "host.pem", "--tls-key", folder / "host.key"]
    found.start(*tls, "--tls-client-ca", folder / "ca.pem")
    yield found
    assert found.stop() == 0


def test_a_vehicle_is_who_its_certificate_says(office: Office) -> None:
    run("vehicle", "V1", "--home", office.home, "--add")
    run("vehicle", "V2", "--home", office.home, "--add")
    assert office.ask("PUT", "/system_info", {"id": "cpu"}, vehicle="V1")[0] == 200
    assert office.ask("PUT", "/system_info", {"id": "cpu"})[0] == 401
    assert office.ask("PUT", "/ak/V1/system_info", {"id": "cpu"}, vehicle="V2")[0] == 401
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    key = {"keytype": "ed25519", "keyval": {"public": public}}
    ecus = {"ecus": [{"ecu_serial": "P1", "primary": True, "key": key}]}
    for vehicle, status in (("", 401), ("V2", 401), ("V1", 204)):
        assert office.ask("POST", "/api/v1/vehicles/V1/ecus", ecus, vehicle=vehicle)[0] == status
    assert office.ask("PUT", "/api/v1/vehicles/V1/manifest", {}, vehicle="V2")[0] == 401
    assert office.ask("PUT", "/api/v1/vehicles/V1/manifest", {}, vehicle="V1")[0] == 400
    assert "P1" in run("vehicle", "V1", "--home", office.home)


def test_an_operator_by_token(office: Office) -> None:
    assert office.ask("GET", "/api/v1/vehicles", token=office.token)[0] == 200
    for token in ("", "wrong"):
        assert office.ask("GET", "/api/v1/vehicles", token=token, vehicle="V1")[0] == 401


def test_cookies_are_for_tls_alone(office: Office) -> None:
    context = ssl.create_default_context(cafile=str(office.folder / "ca.pem"))
    answer = urllib3.PoolManager(ssl_context=context).request("GET", f"{office.url}/login")
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.slow
def test_orders_on_the_command_line(office: Office, tmp_path: Path) -> None:
    home = ("--home", office.home)
    run("vehicle", "V3", *home, "--add", "--primary", "P3")
    must(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "p.key"])
    must(["openssl", "pkey", "-in", tmp_path / "p.key", "-pubout", "-out", tmp_path / "p.pem"])
    assert "exit 65" in run("ecu", "V3", "X", *home, "--key", tmp_path / "p.pem", "--primary", status=65)
    run("ecu", "V3", "P3", *home, "--key", tmp_path / "p.pem", "--hardware-id", "gateway", "--primary")
    (tmp_path / "p.img").write_bytes(b"image")
    assert "p.img, signed" in run("assign", "V3", "P3", tmp_path / "p.img", *home, "--hardware-id", "gateway")
    wish = ("--name", "q.img", "--requires", "hardware=bcu,least=3")
    held_back = run("assign", "V3", "P3", tmp_path / "p.img", *home, *wish)
    assert "held back: q.img requires an ECU with hardware bcu, release counter 3 or more" in held_back
    run("assign", "V3", "P3", tmp_path / "p.img", *home, "--hardware-id", "other", status=65)
    run("assign", "V3", "P3", tmp_path / "p.img", *home, "--requires", "nonsense", status=2)
    run("withdraw", "V3", *home)
    tree = json.loads(run("vehicle", "V3", *home, "--json"))
    assert tree["ecus"][0]["assigned"] is None
    run("write", *home)
    assert "V3" in run("vehicle", *home)
    run("vehicle", "nobody", *home, status=65)
    run("ecu", "V3", "P3", *home, "--forgive")


@pytest.mark.slow
def test_roots(office: Office, tmp_path: Path) -> None:
    home = ("--home", office.home)
    assert run("root", *home, "--out", tmp_path / "root.json") == "root 1\n"
    assert run("root", *home, "--offline-keys", office.folder / "offline") == "root 2\n"
    run("root", tmp_path / "root.json", *home, status=64)
    new = run("root", *home, "--offline-keys", tmp_path / "new", "--old-keys", office.folder / "offline")
    assert new == "root 3\n"
    before = (office.home / "keys" / "targets").read_bytes()
    words = ("--offline-keys", tmp_path / "new", "--new-online-keys")
    assert run("root", *home, *words).endswith("root 4\n")
    assert (office.home / "keys.until-root-4" / "targets").read_bytes() == before
    assert (office.home / "keys" / "targets").read_bytes() != before
    run("write", *home)
    run("root", *home, status=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["serve", "--listen", "0.0.0.0"], 2),
        (["serve", "--testbed", "--listen", "0.0.0.0"], 2),
        (["serve", "--silent-hours", "x"], 2),
        (["operator", "nobody", "--remove"], 70),
        (["time"], 2),
    ],
)
def test_what_is_refused(office: Office, words: list[str], status: int) -> None:
    run(*words, *(["--home", str(office.home)] if words[0] != "time" else []), status=status)


@pytest.mark.slow
def test_no_director(tmp_path: Path) -> None:
    run("vehicle", "--home", tmp_path, status=70)
    (tmp_path / "director.json").write_text("{}")
    run("vehicle", "--home", tmp_path, status=70)
