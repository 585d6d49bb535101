"""Short questions: any status is an answer, bodies are bounded, secrets stay with their server."""

import pytest

from swagent.clock import SystemClock
from swagent.errors import Cancelled, DeadlineError, SwagentError, TransportError
from swagent.net import Answer, HttpExchange, HttpOptions

from .server import Exchange, Server, basic, serving

QUICK = HttpOptions(timeout_s=60, headers=(("X-Key", "hidden"),), authorization="TargetToken secret")


def ask(
    server: Server, method: str = "GET", *, url: str = "", options: HttpOptions = QUICK, **more: object
) -> Answer:
    exchange = HttpExchange(server.url, options, SystemClock())
    try:
        return exchange.ask(method, url or server.url, max_bytes=1000, **more)  # type: ignore[arg-type]  # its own
    finally:
        exchange.close()


@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_every_status_is_an_answer(status: int) -> None:
    with serving(b"", lambda exchange: exchange.refuse(status, Retry_After=7)) as server:
        answer = ask(server)
    assert (answer.status, answer.body, answer.retry_after_s) == (status, b"sorry", 7)
    assert answer.is_good is (status == 200)


@pytest.mark.parametrize("text", ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 40])
def test_a_pause_that_is_no_number_is_none(text: str) -> None:
    assert Answer(503, {"retry-after": text}, b"").retry_after_s is None


def test_a_body_and_headers_are_sent() -> None:
    with serving(b"ok") as server:
        ask(server, "POST", body=b"{}", headers={"Content-Type": "application/json"})
    _, headers = server.requests[0]
    assert (headers["content-type"], headers["content-length"]) == ("application/json", "2")
    assert (headers["authorization"], headers["x-key"]) == ("TargetToken secret", "hidden")


def test_secrets_do_not_go_elsewhere() -> None:
    with serving(b"") as home, serving(b"there") as other:
        home.plan.append(lambda exchange: exchange.refuse(302, Location=other.url))
        assert ask(home).body == b"there"
        assert ask(home, url=other.url.replace("//", "//me:too@")).body == b"there"
    for _, headers in other.requests:
        assert not {"authorization", "x-key"} & set(headers)


def test_the_password_of_the_address_is_used_below_it() -> None:
    with serving(b"") as server:
        exchange = HttpExchange(server.url.replace("//", "//me:too@"), HttpOptions(), SystemClock())
        exchange.ask("GET", server.url + "/x", max_bytes=10)
        exchange.close()
    assert server.requests[0][1]["authorization"] == basic("me:too")


def test_a_redirection_can_be_the_answer() -> None:
    with serving(b"", lambda exchange: exchange.refuse(302, Location="/there")) as server:
        answer = ask(server, follows=False)
    assert (answer.status, answer.headers["location"]) == (302, "/there")


def test_a_loop_ends() -> None:
    with serving(b"") as server:
        server.usual = lambda exchange: exchange.refuse(302, Location="/again")
        with pytest.raises(TransportError, match="redirects more than"):
            ask(server)


def test_long_answers_are_refused() -> None:
    with serving(b"x" * 1001) as server, pytest.raises(TransportError, match="more than 1000 bytes"):
        ask(server)
    with serving(b"x" * 1001, Exchange.chunked) as server, pytest.raises(TransportError, match="more than"):
        ask(server)


@pytest.mark.parametrize(
    ("how", "error"),
    [("close", TransportError), ("reset", TransportError), ("stall", DeadlineError)],
)
def test_an_answer_that_breaks_off_is_none(how: str, error: type[SwagentError]) -> None:
    with (
        serving(b"x" * 100, lambda exchange: exchange.serve(cut_bytes=10, how=how)) as server,
        pytest.raises(error),
    ):
        ask(server, options=QUICK._replace(timeout_s=0.5))


def test_waiting_can_be_stopped() -> None:
    def stop() -> None:
        raise Cancelled("enough")

    with serving(b"") as server:
        exchange = HttpExchange(server.url, QUICK, SystemClock())
        exchange.attend(stop)
        with pytest.raises(Cancelled):
            exchange.ask("GET", server.url, max_bytes=10)


def test_connections_leave_by_the_interface() -> None:
    with serving(b"ok") as server:
        assert ask(server, options=HttpOptions(interface="lo")).body == b"ok"
        assert ask(server, options=HttpOptions(interface="127.0.0.1")).body == b"ok"
        with pytest.raises(TransportError):
            ask(server, options=HttpOptions(interface="nosuch0"))
