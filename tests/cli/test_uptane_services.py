"""`swagent uptane daemon` and `secondary` as processes: a vehicle of three ECUs, and what ends a service."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from swagent.clock import SystemClock
from swagent.testing.repositories import RepoSimulator, image_target
from swagent.uptane.metadata import TARGETS
from tests.net.authority import Authority
from tests.net.server import serving
from tests.uptane_client.backoffice import back_office

DEADLINE_S = 40.0
IMAGES = {
    "gw.img": ("GW1", b"for the gateway"),
    "tcu.img": ("TCU1", b"for the TCU"),
    "v.img": ("V1", b"virtual"),
}


class Office:
    """Two repositories in folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now_s = int(SystemClock().now_s())
        self.director = RepoSimulator("tuf1", seed=1, now_s=now_s, vin="VIN1")
        self.images = RepoSimulator("tuf1", seed=2, now_s=now_s)
        self.write()

    def order(self) -> None:
        (self.folder / "images" / "targets").mkdir()
        for name, (serial, data) in IMAGES.items():
            self.images.targets[name] = image_target(name, data)
            self.director.targets[name] = image_target(name, data, serial)
            (self.folder / "images" / "targets" / name).write_bytes(data)
        self.director.publish()
        self.images.publish()
        self.write()

    def write(self) -> None:
        self.director.write(str(self.folder / "director"))
        self.images.write(str(self.folder / "images"))


class Service:
    """A process whose lines are read as they come."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "swagent", "uptane", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.seen: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no {pattern!r} in\n{''.join(self.seen)}")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def office(quick_path: Path) -> Office:
    return Office(quick_path)


@pytest.fixture
def begun() -> Iterator[list[Service]]:
    services: list[Service] = []
    yield services
    for service in services:
        service.process.kill()
        service.process.wait()


def swagent(folder: Path, *words: str, code: int = 0) -> str:
    run = subprocess.run(
        [sys.executable, "-P", "-m", "swagent", "uptane", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout + run.stderr


def provision(folder: Path, state: str) -> None:
    swagent(
        folder, "provision", "--state", state, "--director-root", "director/metadata/1.root.json",
        "--image-root", "images/metadata/1.root.json",
    )  # fmt: skip


GATEWAY = (
    "--state", "gw", "--image-repo", "file:images", "--director", "file:director", "--ecu-serial", "GW1",
    "--hardware-id", "gateway", "--vin", "VIN1", "--director-service", "file:reports",
)  # fmt: skip


def gateway(folder: Path) -> list[str]:
    return [word.replace("file:", f"file://{folder}/") for word in GATEWAY]


def test_a_vehicle_of_three(office: Office, begun: list[Service]) -> None:
    folder = office.folder
    provision(folder, "gw")
    provision(folder, "tcu")
    ca = Authority(folder / "ca", "TCU1")
    listed = {
        "virtual": [
            {"ecu_serial": "V1", "ecu_hardware_id": "virtual", "full_client_dir": "v", "target_name_path": "name"}
        ],
        "network": [{"ecu_serial": "TCU1", "ecu_hardware_id": "tcu"}],
    }  # fmt: skip
    (folder / "secondary.json").write_text(json.dumps(listed))
    office.order()
    daemon = Service(
        folder, "daemon", *gateway(folder), "--secondaries", "secondary.json", "--interval", "1",
        "--serve", "localhost:0", "--tls-cert", ca.path("server.pem"), "--tls-key", ca.path("server.key"),
        "--tls-client-ca", ca.path("ca.pem"),
    )  # fmt: skip
    begun.append(daemon)
    port = daemon.until(r"serving https://localhost:(\d+)")[1]
    daemon.until("V1: updated")
    assert (folder / "v" / "firmware.bin").read_bytes() == b"virtual"
    assert (folder / "v" / "name").read_text() == "v.img"
    tcu = (
        "secondary", "--once", "--state", "tcu", "--vin", "VIN1", "--ecu-serial", "TCU1", "--hardware-id", "tcu",
        "--primary", f"https://localhost:{port}", "--ca", ca.path("ca.pem"), "--cert", ca.path("TCU1.pem"),
        "--key", ca.path("TCU1.key"), "--firmware", "tcu.bin",
    )  # fmt: skip
    assert "updated" in swagent(folder, *tcu)
    assert (folder / "tcu.bin").read_bytes() == b"for the TCU"
    assert "no-update-needed" in swagent(folder, *tcu)
    swagent(folder, "update", "--once", *gateway(folder), code=75)
    assert daemon.end() == 0, "".join(daemon.seen)


def test_a_partial_secondary_over_rpc(office: Office, begun: list[Service]) -> None:
    folder = office.folder
    provision(folder, "gw")
    office.order()
    office.director.targets = {k: v for k, v in office.director.targets.items() if "TCU1" in v.ecus}
    office.director.publish()
    office.write()
    (folder / "secondary.json").write_text('{"network": [{"ecu_serial": "TCU1", "ecu_hardware_id": "tcu"}]}')
    daemon = Service(
        folder, "daemon", *gateway(folder), "--secondaries", "secondary.json", "--serve-rpc", "127.0.0.1"
    )
    begun.append(daemon)
    port = daemon.until(r"serving XML-RPC at 127.0.0.1:(307\d\d)")[1]
    daemon.until("^downloaded")
    key = office.director.signers[TARGETS][0].key
    (folder / "key.json").write_text(json.dumps({"keytype": key.kind, "keyval": {"public": key.public}}))
    words = (
        "secondary", "--once", "--rpc", "--state", "tcu", "--vin", "VIN1", "--ecu-serial", "TCU1", "--hardware-id",
        "tcu", "--primary", f"http://127.0.0.1:{port}", "--firmware", "tcu.bin", "--director-targets-key",
    )  # fmt: skip
    assert "updated" in swagent(folder, *words, "key.json")
    assert (folder / "tcu.bin").read_bytes() == b"for the TCU"
    assert daemon.end() == 0


def test_a_service_goes_on_after_errors(office: Office, begun: list[Service]) -> None:
    folder = office.folder
    provision(folder, "gw")
    (folder / "director" / "metadata" / "timestamp.json").rename(folder / "kept.json")
    daemon = Service(folder, "daemon", *gateway(folder), "--interval", "1")
    begun.append(daemon)
    daemon.until("error: .*timestamp.*; the next cycle follows in")
    (folder / "kept.json").rename(folder / "director" / "metadata" / "timestamp.json")
    daemon.until("nothing-to-do")
    assert daemon.end() == 0


def test_pause_resume_abort(office: Office, begun: list[Service]) -> None:
    folder = office.folder
    swagent(folder, "pause", "--state", "gw", code=70)
    provision(folder, "gw")
    assert "nothing is under way" in swagent(folder, "abort", "--state", "gw")
    swagent(folder, "pause", "--state", "gw")
    stalls = serving(b"for the gateway", lambda exchange: exchange.serve(cut_bytes=5, how="stall"))
    with stalls as server, back_office() as back:
        office.order()
        for name in ("tcu.img", "v.img"):
            del office.director.targets[name]
        office.director.targets["gw.img"] = office.director.targets["gw.img"]._replace(
            uri=f"http://localhost:{server.port}/gw.img"
        )
        office.director.publish()
        office.write()
        for end in (True, False):  # the pause outlives the process
            daemon = Service(folder, "daemon", *gateway(folder), "--interval", "1", "--server", back.url)
            begun.append(daemon)
            daemon.until("paused")
            assert not end or daemon.end() == 0
        assert "paused" in swagent(folder, "status", "--state", "gw")
        assert server.requests == []
        swagent(folder, "resume", "--state", "gw")
        daemon.until("resumed")
        deadline_s = monotonic() + DEADLINE_S
        while not server.requests and monotonic() < deadline_s:
            sleep(0.05)
        assert "nothing is under way any more" in swagent(folder, "abort", "--state", "gw")
        daemon.until("aborted on request")  # while nothing came
        daemon.until("^downloaded")
        assert (folder / "gw" / "targets" / "gw.img").read_bytes() == b"for the gateway"
        assert daemon.end() == 0, "".join(daemon.seen)
    assert back.kinds[:3] == ["DevicePaused", "DeviceResumed", "EcuDownloadStarted"]
    assert back.kinds[-1] == "EcuDownloadCompleted"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--serve", "0.0.0.0"), 2),
        (("--serve", "localhost:x"), 2),
        (("--interval", "0"), 2),
        (("--secondaries", "missing.json"), 70),
    ],
)
def test_refused_before_it_begins(office: Office, words: tuple[str, ...], code: int) -> None:
    provision(office.folder, "gw")
    swagent(office.folder, "daemon", *gateway(office.folder), *words, code=code)


def test_parts_of_a_cycle(office: Office) -> None:
    folder = office.folder
    swagent(folder, "status", "--state", "gw", code=70)
    provision(folder, "gw")
    assert "nothing-to-do" in swagent(folder, "check", *gateway(folder))
    office.director.targets.clear()
    office.order()
    for name in ("tcu.img", "v.img"):
        del office.director.targets[name]
    office.director.publish()
    office.write()
    found = swagent(folder, "check", *gateway(folder))
    assert "GW1: gw.img, 15 bytes" in found
    assert "available" in found
    assert not (folder / "gw" / "targets" / "gw.img").exists()
    assert "downloaded" in swagent(folder, "download", *gateway(folder))
    assert (folder / "gw" / "targets" / "gw.img").read_bytes() == b"for the gateway"
    assert "GW1 (gateway): unknown" in swagent(folder, "status", "--state", "gw")
    assert "downloaded" in swagent(folder, "install", *gateway(folder)), "there is no installer"


def test_the_manifest(office: Office) -> None:
    folder = office.folder
    provision(folder, "gw")
    shown = json.loads(swagent(folder, "manifest", *gateway(folder), "-o", "manifest"))
    assert shown["primary"] == "GW1"
    assert shown["ecus"]["GW1"][0]["installed"] == "unknown"
    assert json.loads((folder / "manifest").read_bytes())["signed"]["vin"] == "VIN1"
    assert not (folder / "reports").exists()
    sent = json.loads(swagent(folder, "manifest", *gateway(folder), "--send"))
    assert sent["ecus"]["GW1"][0]["counter"] > shown["ecus"]["GW1"][0]["counter"]
    assert (folder / "reports" / "manifest-GW1.json").exists()
    swagent(folder, "manifest", *gateway(folder)[:-2], "--send", code=2)
