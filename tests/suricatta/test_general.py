"""A general server: status codes say what there is, and what came of it is told."""

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from swagent.clock import SystemClock
from swagent.errors import DeviceError, SettingsError, SwagentError, TransportError
from swagent.settings import InstallSettings
from swagent.suricatta.api import Order, Tools
from swagent.suricatta.general import General
from swagent.suricatta.ledger import Ledger

from .bench import DeskInstaller

SWU = random.Random(7).randbytes(400_000)


@dataclass
class Server:
    """What it answers, and what it was asked."""

    url: str = ""
    status: int = 302
    headers: dict[str, str] = field(default_factory=lambda: {"Location": "/files/update.swu"})
    log_status: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    logs: list[tuple[str, str]] = field(default_factory=list)
    fetched: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/files/"):
                state.fetched += 1
                self._say(200, {"ETag": '"1"'}, SWU)
            else:
                state.asked.append(self.path)
                self._say(state.status, state.headers, b"")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = state.log_status.pop(0) if state.log_status else 200
            if status == 200:
                state.logs.append((body, self.headers["Content-Type"]))
            self._say(status, {}, b"")

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://localhost:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield state
    http.shutdown()
    http.server_close()


@dataclass
class Unit:
    folder: Path
    server: Server
    installer: DeskInstaller = field(default_factory=DeskInstaller)
    more: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def start(self) -> General:
        settings = InstallSettings(
            gservice={
                "url": f"{self.server.url}/ask",
                "logurl": f"{self.server.url}/log",
                "polldelay": 10,
                "retry": 0,
                **self.more,
            },
            identify=(("board", "gate way&"), ("serial", "7")),
            logevent=(
                ("started", "date,serial,begun"),
                ("success", "date, serial,good"),
                ("fail", "serial,bad"),
            ),
        )
        return General(
            Tools(
                settings=settings,
                words={},
                installer=self.installer,
                ledger=Ledger(str(self.folder / "ledger.json")),
                clock=SystemClock(),
                log=lambda level, line: self.log.append(line),
                waiting=lambda: None,
                random=bytes,
            )
        )


@pytest.fixture
def unit(tmp_path: Path, server: Server) -> Unit:
    return Unit(tmp_path, server)


def events(server: Server) -> list[str]:
    return [body.rpartition(",")[2] for body, _ in server.logs]


def test_an_update_is_installed_and_told_when_it_is_confirmed(server: Server, unit: Unit) -> None:
    backend = unit.start()
    backend.step()
    assert server.asked == ["/ask?serial=7&board=gate%20way%26"]
    assert unit.installer.whole == [SWU]
    assert events(server) == ["begun"]
    backend.step()
    unit.start().step()
    assert len(server.asked) == 1, "while an update waits nothing is asked"
    unit.installer.confirm()
    server.status, server.headers = 404, {}
    unit.start().step()
    assert events(server) == ["begun", "good"]
    body, kind = server.logs[1]
    date, serial, _ = body.split(",")
    assert kind == "application/text; charset=utf-8"
    assert (len(date), date[10], date[19], serial) == (26, "T", ".", "7")


def test_nothing_to_do(server: Server, unit: Unit) -> None:
    server.status, server.headers = 404, {"Retry-After": "77"}
    backend = unit.start()
    assert 73 < backend.step() < 81
    server.headers = {}
    assert 73 < backend.step() < 81, "it stays"
    assert not unit.installer.requests and not server.logs


@pytest.mark.parametrize("status", [200, 301, 302, 403, 500])
def test_other_answers_are_errors(server: Server, unit: Unit, status: int) -> None:
    server.status, server.headers = status, {}
    with pytest.raises(TransportError):
        unit.start().step()
    assert not unit.installer.requests


def test_without_a_reboot_success_is_told_at_once(server: Server, unit: Unit) -> None:
    unit.installer.reboots = False
    unit.start().step()
    assert events(server) == ["begun", "good"]


def test_what_is_given_again_and_again_is_taken_ever_more_seldom(server: Server, unit: Unit) -> None:
    unit.installer.failure = DeviceError("no", path="/x")
    backend = unit.start()
    waits = [backend.step() for _ in range(12)]
    assert events(server) == ["begun", "bad"] * 12
    assert waits[0] < 11 < waits[1] < 21 < waits[2] and 3400 < waits[-1] < 3800


def test_a_verdict_is_told_until_it_is_heard(server: Server, unit: Unit) -> None:
    unit.start().step()
    unit.installer.roll_back()
    server.log_status = [500, 503]
    for _ in range(2):
        with pytest.raises(TransportError):
            unit.start().step()
    server.status = 404
    unit.start().step()
    unit.start().step()
    assert events(server) == ["begun", "bad"]


def test_a_log_that_nobody_wants_stops_nothing(server: Server, unit: Unit) -> None:
    server.log_status = [404, 404]
    unit.installer.reboots = False
    unit.start().step()
    assert unit.installer.whole == [SWU] and Ledger(str(unit.folder / "ledger.json")).entry is None


def test_a_file_that_cannot_be_had_is_tried_again(server: Server, unit: Unit) -> None:
    server.headers = {"Location": "http://localhost:1/x.swu"}
    backend = unit.start()
    with pytest.raises(SwagentError):
        backend.step()
    server.headers = {"Location": "/files/update.swu"}
    backend.step()
    assert unit.installer.whole == [SWU]


def test_orders_go_back_as_they_came(unit: Unit) -> None:
    backend = unit.start()
    assert backend.order(Order(3, b"")).is_ack is None
    assert backend.order_between(Order(0, b"")).is_ack is None


def test_settings_that_cannot_be_are_refused(unit: Unit, server: Server) -> None:
    unit.more = {"url": ""}
    with pytest.raises(SettingsError):
        unit.start()
