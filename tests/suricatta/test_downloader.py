"""One address, given once."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.errors import DeviceError, TransportError, UsageError
from swagent.settings import InstallSettings
from swagent.suricatta.api import Order, Tools
from swagent.suricatta.downloader import Downloader
from swagent.suricatta.ledger import Ledger
from tests.net.server import Exchange, Server, basic, serving

from .bench import DeskInstaller, Killed

SWU = random.Random(9).randbytes(500_000)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(SWU) as found:
        yield found


class Unit:
    def __init__(self, folder: Path, **download: object) -> None:
        self.folder = folder
        self.download = {"retries": 2, "retrywait": 0, **download}
        self.installer = DeskInstaller()
        self.log: list[str] = []

    def start(self) -> Downloader:
        return Downloader(
            Tools(
                settings=InstallSettings(download=self.download),
                words={},
                installer=self.installer,
                ledger=Ledger(str(self.folder / "ledger.json")),
                clock=SystemClock(),
                log=lambda level, line: self.log.append(line),
                waiting=lambda: None,
                random=bytes,
            )
        )


def test_an_address_of_the_command_line(tmp_path: Path, server: Server) -> None:
    unit = Unit(tmp_path, url=server.url, authentication="me:secret")
    server.plan = [lambda exchange: exchange.serve(cut_bytes=300_000), Exchange.serve]
    downloader = unit.start()
    assert downloader.step() == float("inf")
    assert unit.installer.whole == [SWU] and downloader.is_done
    assert server.requests[0][1]["authorization"] == basic("me:secret")
    assert server.ranges[1] == "bytes=300000-"
    request = unit.installer.requests[0]
    assert (request.name, request.length_bytes, request.origin) == ("update.swu", None, "downloader")
    assert Ledger(str(tmp_path / "ledger.json")).entry is None


@pytest.mark.parametrize("status", [404, 401, 500])
def test_what_cannot_be_had_is_an_error(tmp_path: Path, server: Server, status: int) -> None:
    server.usual = lambda exchange: exchange.refuse(status)
    with pytest.raises(TransportError, match=str(status)):
        Unit(tmp_path, url=server.url).start().step()
    assert len(server.requests) == (3 if status == 500 else 1)


def test_no_retries_means_none(tmp_path: Path, server: Server) -> None:
    server.usual = lambda exchange: exchange.refuse(500)
    with pytest.raises(TransportError):
        Unit(tmp_path, url=server.url, retries=0).start().step()
    assert len(server.requests) == 1


def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Unit(tmp_path, url="ftp://host/x").start()


def test_an_address_of_a_local_client(tmp_path: Path, server: Server) -> None:
    unit = Unit(tmp_path)
    downloader = unit.start()
    assert downloader.step() == float("inf") and not unit.installer.requests
    data = f'{{ "url": "{server.url}", "userpassword" : "me:too" }}'.encode()
    reply = downloader.order(Order(4, data))
    assert reply is not None and reply.is_ack and reply.wakes
    second = downloader.order(Order(4, data))
    assert second is not None and second.is_ack is False, "one at a time"
    downloader.step()
    assert unit.installer.whole == [SWU] and not downloader.is_done
    assert server.requests[0][1]["authorization"] == basic("me:too")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"url": 1}', b'{"url": "file:///x"}', b'{"url": "http://h", "userpassword": 1}'],
)
def test_orders_that_make_no_sense(tmp_path: Path, data: bytes) -> None:
    downloader = Unit(tmp_path).start()
    for number in (4, 3):
        reply = downloader.order(Order(number, data))
        assert reply is not None and reply.is_ack is False


def test_a_failure_of_what_a_client_wanted_is_told_and_over(tmp_path: Path, server: Server) -> None:
    unit = Unit(tmp_path)
    unit.installer.failure = DeviceError("the disk is gone", path="/x")
    downloader = unit.start()
    downloader.order(Order(4, f'{{"url": "{server.url}"}}'.encode()))
    assert downloader.step() == float("inf")
    assert "the disk is gone" in unit.log
    assert downloader.order(Order(4, f'{{"url": "{server.url}"}}'.encode())).is_ack  # type: ignore[union-attr]


@pytest.mark.parametrize("reboots", [True, False])
@pytest.mark.parametrize("when", ["begun", "installed"])
def test_killed_and_started_again(tmp_path: Path, server: Server, when: str, reboots: bool) -> None:
    unit = Unit(tmp_path, url=server.url)
    unit.installer.reboots = reboots

    def die(done: int = 0) -> None:
        unit.installer.during, unit.installer.after = lambda done: None, lambda: None
        raise Killed

    if when == "begun":
        unit.installer.during = die
    else:
        unit.installer.after = die
    with pytest.raises(Killed):
        unit.start().step()
    unit.start().step()
    assert unit.installer.whole == [SWU]


def test_a_busy_installer_is_asked_again(tmp_path: Path, server: Server) -> None:
    unit = Unit(tmp_path, url=server.url)
    tries = [0]
    install = unit.installer.install

    def busy_first(*args, **options):  # type: ignore[no-untyped-def]  # as the real one
        tries[0] += 1
        unit.installer.busy = tries[0] < 2
        return install(*args, **options)

    unit.installer.install = busy_first  # type: ignore[method-assign]
    unit.start().step()
    assert unit.installer.whole == [SWU] and tries == [2]
