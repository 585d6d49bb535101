"""Parts of a file: every byte lands where it belongs, however the server arranges, breaks or bends its answers."""

import random
from collections.abc import Callable

import pytest

from swagent.clock import SystemClock
from swagent.errors import Cancelled, DeadlineError, TransportError
from swagent.net import HttpOptions, HttpParts, open_parts

from .server import Answer, Exchange, Server, serving

SIZE = 400_000
OLD, NEW = (random.Random(seed).randbytes(SIZE) for seed in (1, 2))
QUICK = HttpOptions(retries=2, retry_wait_s=0.01, timeout_s=0.5)
SPANS = [(10, 10), (100, 70_099), (70_200, 70_300), (200_000, 299_999), (SIZE - 1, SIZE - 1)]


def parts(
    server: Server, options: HttpOptions = QUICK, *, size_bytes: int = SIZE, parts_max: int = 10
) -> HttpParts:
    return open_parts(server.url, options, SystemClock(), size_bytes=size_bytes, parts_max=parts_max)


def expected(spans: list[tuple[int, int]] = SPANS, content: bytes = OLD) -> list[bytes]:
    return [content[first : last + 1] for first, last in spans]


def answer(**how: object) -> Answer:
    return lambda exchange: exchange.serve_parts(**how)  # type: ignore[arg-type]  # the arguments of serve_parts


def refuse(status: int) -> Answer:
    return lambda exchange: exchange.refuse(status)


def test_several_parts_in_one_request() -> None:
    with serving(OLD) as server:
        server.usual = Exchange.serve_parts
        assert parts(server).fetch(SPANS) == expected()
        assert server.ranges == ["bytes=" + ",".join(f"{first}-{last}" for first, last in SPANS)]
        assert server.requests[0][1]["accept-encoding"] == "identity"


def test_one_connection_serves_all_requests() -> None:
    with serving(OLD) as server:
        server.usual = Exchange.serve_parts
        source = parts(server, parts_max=2)
        for _ in range(3):
            assert source.fetch(SPANS) == expected()
        assert source.fetch([(5, 9)]) == [OLD[5:10]]
        assert len(server.requests) == 10
        assert server.connections == 1
        assert server.requests[1][1]["if-range"] == '"v1"'
        source.close()


def test_as_many_parts_as_wished() -> None:
    with serving(OLD) as server:
        server.usual = Exchange.serve_parts
        assert parts(server, parts_max=1).fetch(SPANS) == expected()
        assert server.ranges == [f"bytes={first}-{last}" for first, last in SPANS]


@pytest.mark.parametrize(
    "arrange",
    [
        lambda spans: spans[::-1],
        lambda spans: [spans[0], (spans[1][0], spans[2][1]), *spans[3:]],  # joined over a gap of 100 bytes
        lambda spans: spans[:2],  # the others must be asked for again
        lambda spans: [(first, min(last, first + 999)) for first, last in spans],
    ],
)
def test_servers_may_arrange_parts(arrange: Callable[[list[tuple[int, int]]], list[tuple[int, int]]]) -> None:
    with serving(OLD, answer(arrange=arrange)) as server:
        server.usual = Exchange.serve_parts
        assert parts(server).fetch(SPANS) == expected()


def test_a_server_that_gives_one_part_at_a_time() -> None:
    with serving(OLD) as server:
        server.usual = lambda exchange: exchange.serve(ranges="," not in exchange.headers.get("range", ""))
        told: list[str] = []
        source = parts(server)
        source.attend(waiting=lambda: None, tell=lambda level, line: told.append(line))
        assert source.fetch(SPANS) == expected()
        assert source.fetch(SPANS) == expected()
        assert len(server.requests) == 1 + 2 * len(SPANS)
        assert len(told) == 1 and "one part at a time" in told[0]


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
def test_a_cut_goes_on_where_it_was(how: str) -> None:
    with serving(OLD, answer(cut_bytes=50_000, how=how), answer(cut_bytes=100_000, how=how)) as server:
        server.usual = Exchange.serve_parts
        assert parts(server).fetch(SPANS) == expected()
        if how != "reset":  # which may throw away what was sent
            assert server.sent_bytes < sum(last - first for first, last in SPANS) + 10_000, "bytes came twice"


def test_a_server_that_always_breaks() -> None:
    with serving(OLD) as server:
        server.usual = answer(cut_bytes=300, how="close")
        with pytest.raises(TransportError):
            parts(server).fetch(SPANS)
        assert len(server.requests) == 3


def test_a_server_that_stalls() -> None:
    with serving(OLD) as server:
        server.usual = answer(cut_bytes=0, how="stall")
        with pytest.raises(DeadlineError):
            parts(server).fetch(SPANS)


def test_trouble_that_passes() -> None:
    with serving(OLD, refuse(503), refuse(500)) as server:
        server.usual = Exchange.serve_parts
        assert parts(server).fetch(SPANS) == expected()


def test_a_stop_while_waiting() -> None:
    with serving(OLD) as server:
        server.usual = answer(cut_bytes=0, how="stall")
        source = parts(server, QUICK._replace(timeout_s=20))
        calls: list[None] = []

        def waiting() -> None:
            calls.append(None)
            if len(calls) > 3:
                raise Cancelled("stop")

        source.attend(waiting=waiting, tell=lambda level, line: None)
        with pytest.raises(Cancelled):
            source.fetch(SPANS)
        source.close()


def other_part(exchange: Exchange) -> None:
    exchange.head(206, {"Content-Range": f"bytes 11-11/{SIZE}", "Content-Length": 1})
    exchange.send(OLD[11:12])


def wrong(before: bytes, after: bytes) -> Answer:
    return answer(mangle=lambda body: body.replace(before, after, 1))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda exchange: exchange.serve(ranges=False), "the whole file"),
        (refuse(404), "404"),
        (refuse(416), "fewer bytes"),
        (answer(arrange=lambda spans: [(0, 5)]), "not asked for"),
        (answer(arrange=lambda spans: [(spans[1][0] + 1, spans[1][1])]), "not asked for"),
        (
            answer(arrange=lambda spans: [(spans[0][0], spans[-1][1])]),
            "not asked for",
        ),  # gaps as large as the file
        (answer(arrange=lambda spans: [spans[0], (spans[1][0], spans[1][1] + 1)]), "not asked for"),
        (answer(arrange=lambda spans: [*spans, spans[0]]), "not asked for"),
        (answer(arrange=lambda spans: []), "nothing of what was asked for"),
        (answer(Content_Type="multipart/byteranges; boundary=other"), "no boundary"),
        (answer(Content_Type="multipart/byteranges"), "without saying which"),
        (answer(Content_Type="text/plain"), "without saying which"),
        (wrong(b"Content-Range", b"Content-Rangy"), "does not say which bytes"),
        (wrong(b"Content-Type: text/plain", b"Content-Range: bytes 0-1/2"), "says twice"),
        (wrong(b"bytes 10-10", b"bytes 10-9"), "makes no sense"),
        (wrong(b"bytes 10-10/", b"bytes 10-10/1"), "another file"),
        (wrong(b"bytes 10-10/400000", b"bytes 10-10/*"), "does not say which bytes"),
        (wrong(b"Content-Type", b"A: b\r\n" * 20 + b"Content-Type"), "more than 16 lines"),
        (wrong(b"Content-Type", b"A" * 2000), "more than 1024 bytes"),
        (wrong(b"--a boundary", b"--a baundary"), "no boundary"),
        (other_part, "not asked for"),
    ],
)
def test_answers_that_are_none(bad: Answer, says: str) -> None:
    with serving(OLD) as server:
        server.usual = bad
        with pytest.raises(TransportError, match=says):
            parts(server).fetch(SPANS)
        assert len(server.requests) <= 2


def test_the_boundary_inside_the_data_is_data() -> None:
    content = (b"\r\n--a boundary--\r\n" * 30_000)[:SIZE]
    with serving(content) as server:
        server.usual = Exchange.serve_parts
        assert parts(server).fetch(SPANS) == expected(content=content)


def test_a_file_that_changes() -> None:
    def changed(exchange: Exchange) -> None:
        exchange.server.content = NEW
        exchange.server.identity |= {"ETag": '"v2"'}
        exchange.serve_parts()

    with serving(OLD) as server:
        server.usual = Exchange.serve_parts
        source = parts(server)
        assert source.fetch(SPANS) == expected()
        server.usual = changed
        with pytest.raises(TransportError, match="the file changed"):
            source.fetch(SPANS)


def test_another_file() -> None:
    with serving(OLD) as server:
        server.usual = Exchange.serve_parts
        with pytest.raises(TransportError, match=f"has {SIZE} bytes, not {SIZE + 1}"):
            parts(server, size_bytes=SIZE + 1).fetch(SPANS)


def test_a_token_stays_with_its_server() -> None:
    with serving(OLD) as other, serving(OLD) as server:
        other.usual = Exchange.serve_parts
        server.usual = lambda exchange: exchange.refuse(302, Location=other.url)
        assert parts(server, QUICK._replace(authorization="TargetToken secret")).fetch(SPANS) == expected()
        assert server.requests[0][1]["authorization"] == "TargetToken secret"
        assert "authorization" not in other.requests[0][1]
