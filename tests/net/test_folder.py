"""Small files from servers: reasons of refusals, and files that come too slowly."""

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from swagent.clock import SystemClock
from swagent.errors import SlowRetrievalError, TransportError
from swagent.net import HttpOptions, open_folder
from swagent.net.wire import TooSlow
from swagent.uptane_client.sources import OPTIONS, RepositorySource

from .server import Exchange, serving

QUICK = HttpOptions(retries=0, timeout_s=10.0)


class Late:
    """A clock by which each look takes a while."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.looked = 0

    def now_s(self) -> float:
        return SystemClock().now_s()

    def monotonic_s(self) -> float:
        self.looked += 1
        return self.looked * self.step_s


def refusing(status: int, kind: str, said: bytes) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        exchange.head(status, {"Content-Length": len(said), "Content-Type": kind})
        exchange.send(said)

    return answer


class TestReasons:
    @pytest.mark.parametrize(
        ("kind", "said", "shown"),
        [
            (
                "text/plain; charset=utf-8",
                b"the ECU 'X' is not in this vehicle\nmore",
                ": the ECU 'X' is not in this vehicle",
            ),
            ("text/plain", b"x" * 100_000, ": " + "x" * 300),
            ("text/plain", b"\x1b[31mred\x07", ""),
            ("text/html", b"<h1>no</h1>", ""),
            ("text/plain", b"", ""),
        ],
    )
    @pytest.mark.parametrize("way", ["get", "send"])
    def test_of_a_refusal(self, way: str, kind: str, said: bytes, shown: str) -> None:
        from swagent.net.wire import Client

        with serving(b"") as server:
            server.plan = [refusing(409, kind, said)]
            with pytest.raises(TransportError) as caught:
                if way == "get":
                    with closing(open_folder(server.url, QUICK, SystemClock())) as folder:
                        folder.get("update", 100)
                else:
                    with closing(Client(server.url, QUICK, SystemClock())) as client:
                        client.send("PUT", b"", "text/plain", max_bytes=9)
            assert caught.value.message.endswith(f"the server answers 409{shown}")


class TestSpeed:
    def dripping(self, exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": 100_000})
        for _ in range(100_000 // 100):
            exchange.send(b"." * 100)
            threading.Event().wait(0.002)

    def test_a_file_that_drips(self) -> None:
        with serving(b"") as server:
            server.plan = [self.dripping]
            options = QUICK._replace(speed_least=8192)
            with closing(open_folder(server.url, options, Late(4.0))) as folder, pytest.raises(TooSlow):
                folder.get("a.json", 200_000)

    def test_metadata_that_drips_is_an_attack(self) -> None:
        with serving(b"") as server:
            server.usual = self.dripping
            source = RepositorySource(server.url, Late(4.0), OPTIONS._replace(retries=0))
            with closing(source), pytest.raises(SlowRetrievalError) as caught:
                source.metadata("timestamp.json", 200_000)
            assert (caught.value.attack, caught.value.exit_code) == ("slow retrieval", 67)

    @pytest.mark.parametrize("options", [QUICK, QUICK._replace(speed_least=8192)])
    def test_a_small_file_may_take_its_time(self, options: HttpOptions) -> None:
        with serving(b"{}" * 10) as server, closing(open_folder(server.url, options, Late(2.0))) as folder:
            assert folder.get("a.json", 200_000) == b"{}" * 10

    def test_a_limit_of_ones_own(self) -> None:
        with serving(b"x" * 30_000) as server:
            begun_s = SystemClock().monotonic_s()
            source = RepositorySource(server.url, SystemClock(), OPTIONS._replace(speed_max=30_000))
            with closing(source):
                assert source.metadata("a", 100_000) == b"x" * 30_000
            assert SystemClock().monotonic_s() - begun_s > 0.5
