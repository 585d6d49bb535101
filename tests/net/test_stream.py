"""Streams from a server: they end whole, or with an error of the right class, and never mix two versions."""

import random
import time
from collections.abc import Callable

import pytest

from swagent.clock import SystemClock
from swagent.errors import ArchiveError, Cancelled, DeadlineError, SwagentError, TransportError
from swagent.net import HttpOptions, HttpStream, open_stream

from .server import Answer, Exchange, Server, serving

SIZE = 300_000
OLD, NEW = (random.Random(seed).randbytes(SIZE) for seed in (1, 2))
QUICK = HttpOptions(retries=2, retry_wait_s=0.01, timeout_s=0.5)


def stream(server: Server, options: HttpOptions = QUICK) -> HttpStream:
    return open_stream(server.url, options, SystemClock())


def read(source: HttpStream, piece_bytes: int = 70_001) -> bytes:
    """Everything, however it ends; what was read before an error is checked too."""
    whole = bytearray()
    buffer = memoryview(bytearray(piece_bytes))
    try:
        while n := source.readinto(buffer):
            whole += buffer[:n]
            assert source.position == len(whole)
    finally:
        source.close()
        assert bytes(whole) in (OLD[: len(whole)], NEW[: len(whole)]), "two versions were mixed"
    return bytes(whole)


def serve(**how: object) -> Answer:
    return lambda exchange: exchange.serve(**how)  # type: ignore[arg-type]  # the arguments of serve


def refuse(status: int, **headers: str | int) -> Answer:
    return lambda exchange: exchange.refuse(status, **headers)


def new_file(**how: object) -> Answer:
    """From now on the file is another."""

    def answer(exchange: Exchange) -> None:
        exchange.server.content = NEW
        exchange.server.identity |= {"ETag": '"v2"'}
        exchange.serve(**how)  # type: ignore[arg-type]  # the arguments of serve

    return answer


def test_a_good_server_is_asked_once() -> None:
    with serving(OLD) as server:
        source = stream(server)
        assert (source.size_bytes, source.seekable) == (None, False)
        assert read(source) == OLD
        assert source.size_bytes == SIZE
        assert server.ranges == [""]
        assert server.requests[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
def test_a_cut_is_resumed_where_it_was(how: str) -> None:
    cut = SIZE * 9 // 10
    with serving(OLD, serve(cut_bytes=cut, how=how)) as server:
        told: list[str] = []
        source = stream(server)
        source.attend(waiting=lambda: None, tell=lambda level, line: told.append(f"{level} {line}"))
        assert read(source) == OLD
        assert server.requests[1][1]["if-range"] == '"v1"'
        if how != "reset":  # which may throw away what lies unread in the kernel's buffers
            assert server.ranges == ["", f"bytes={cut}-"]
            assert server.sent_bytes < SIZE + 2000, "bytes came twice"
        assert len(told) == 1
        assert told[0].startswith("warn ")
        assert "attempt 1 of 2" in told[0]


def test_cuts_without_end_are_survived_as_long_as_something_comes() -> None:
    with serving(OLD) as server:
        server.usual = serve(cut_bytes=66_000)
        assert read(stream(server)) == OLD
        assert len(server.requests) == 5


def test_a_server_that_brings_next_to_nothing_is_given_up() -> None:
    with serving(OLD) as server:
        server.usual = serve(cut_bytes=1000)
        with pytest.raises(TransportError, match="ended too early"):
            read(stream(server))


def test_last_modified_resumes_too() -> None:
    with serving(OLD, serve(cut_bytes=100_000)) as server:
        server.identity = {"Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT"}
        assert read(stream(server)) == OLD
        assert server.requests[1][1]["if-range"] == "Sun, 22 Nov 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    "identity",
    [
        {},
        {"ETag": 'W/"v1"'},
        {"ETag": "v1"},
        {"Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"},  # changed within the second of the answer
        {"Last-Modified": "yesterday"},
        {"ETag": 'W/"v1"', "Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT"},
    ],
    ids=str,
)
def test_without_a_version_nothing_is_resumed(identity: dict[str, str | int]) -> None:
    with serving(OLD, serve(cut_bytes=100_000)) as server:
        server.identity = identity
        with pytest.raises(TransportError, match="names no version"):
            read(stream(server))
        assert len(server.requests) == 1


def test_without_ranges_nothing_is_resumed() -> None:
    with serving(OLD, serve(cut_bytes=100_000)) as server:
        server.identity["Accept-Ranges"] = "none"
        with pytest.raises(TransportError, match="gives no parts of files"):
            read(stream(server))
    plan = (serve(cut_bytes=100_000), serve(ranges=False))
    with serving(OLD, *plan) as server, pytest.raises(TransportError, match="gives the whole file"):
        read(stream(server))


def lies(**how: object) -> list[Answer]:
    return [serve(cut_bytes=100_000), serve(**how)]


REST = f"bytes 100000-{SIZE - 1}"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([serve(cut_bytes=100_000), new_file()], "gives the whole file"),
        ([serve(cut_bytes=100_000), new_file(status=206, Content_Range=f"{REST}/{SIZE}")], "contradicts"),
        (lies(content=NEW, ETag='"v2"'), "changed"),
        (lies(content=NEW, drop=["ETag"]), "changed"),
        (lies(content=NEW, ETag='W/"v1"'), "changed"),
        (lies(content=NEW + b"x"), "changed"),
        (lies(content=NEW[:-1]), "contradicts|changed"),
        (lies(Content_Range=f"bytes 99999-{SIZE - 2}/{SIZE}"), "from byte 99999"),
        (lies(Content_Range=f"bytes 0-199999/{SIZE}"), "from byte 0"),
        (lies(Content_Range=f"{REST}/{SIZE + 1}"), "changed"),
        (lies(Content_Range=f"{REST}/{SIZE - 1}"), "contradicts"),
        (lies(Content_Range=f"bytes 100000-{SIZE - 2}/{SIZE}"), "contradicts"),
        (lies(Content_Range=f"bytes 100000-{SIZE - 2}/{SIZE}", Content_Length=SIZE - 100_001), "less than the rest"),
        (lies(Content_Range="bytes */*"), "without saying which"),
        (lies(Content_Range=f"{REST}/*"), "without saying which"),
        (lies(Content_Range="bytes 99999999999999999999-1/2"), "without saying which"),
        (lies(drop=["Content-Range"]), "without saying which"),
        (lies(Content_Type="multipart/byteranges; boundary=x", drop=["Content-Range"]), "without saying which"),
        ([serve(cut_bytes=100_000), refuse(416, Content_Range=f"bytes */{SIZE}")], "the answer 416"),
        ([serve(cut_bytes=100_000), refuse(404)], "404"),
        ([serve(cut_bytes=100_000), refuse(412)], "412"),
        (lies(Content_Encoding="gzip"), "gzip"),
    ],
)  # fmt: skip
def test_what_is_not_the_rest_of_the_same_file_is_refused(plan: list[Answer], says: str) -> None:
    with serving(OLD, *plan) as server:
        with pytest.raises(TransportError, match=says):
            read(stream(server))
        assert len(server.requests) == 2


def test_before_the_first_byte_a_new_version_is_as_good() -> None:
    with serving(OLD, serve(cut_bytes=0), new_file()) as server:
        assert read(stream(server)) == NEW
        assert server.ranges == ["", ""]


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.reset(),
        refuse(500),
        refuse(503, Retry_After="0"),
        refuse(429),
        refuse(408),
        lambda exchange: exchange.send(b"HTTP/1.1 2"),
        serve(cut_bytes=0, how="stall"),
    ],
    ids=["reset", "500", "503", "429", "408", "half a line", "silence"],
)
def test_a_bad_beginning_is_tried_again(answer: Answer) -> None:
    def ended(exchange: Exchange) -> None:
        answer(exchange)
        exchange.keep = False

    with serving(OLD, ended) as server:
        assert read(stream(server)) == OLD
    with serving(OLD, serve(cut_bytes=100_000), ended) as server:
        assert read(stream(server)) == OLD


def test_as_often_as_was_said_and_no_more() -> None:
    with serving(OLD) as server:
        server.usual = refuse(503)
        with pytest.raises(TransportError, match="answers 503") as caught:
            read(stream(server))
        assert len(server.requests) == 3
        assert "tried 3 times" in caught.value.hint
        assert caught.value.retryable
        with pytest.raises(TransportError):
            read(stream(server, QUICK._replace(retries=0)))
        assert len(server.requests) == 4


def test_attempts_wait_longer_and_longer_and_as_the_server_asks() -> None:
    with serving(OLD, refuse(500), refuse(500)) as server:
        begun_s = time.monotonic()
        read(stream(server, QUICK._replace(retry_wait_s=0.2)))
        assert 0.4 < time.monotonic() - begun_s < 3
    with serving(OLD, refuse(503, Retry_After="1")) as server:
        begun_s = time.monotonic()
        read(stream(server))
        assert time.monotonic() - begun_s >= 1


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 403, 404, 407, 410, 416])
def test_what_another_attempt_does_not_cure_is_told_at_once(status: int) -> None:
    with serving(OLD) as server:
        server.usual = refuse(status)
        with pytest.raises(TransportError):
            read(stream(server))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "br, gzip"},
        {"Transfer_Encoding": "gzip, chunked"},
        {"Content_Length": "-5"},
        {"Content_Length": "many"},
        {"Content_Length": "9" * 30},
        {"Content_Length": f"{SIZE}, 7"},
    ],
    ids=str,
)
def test_headers_that_change_or_hide_the_file_are_refused(headers: dict[str, str]) -> None:
    with serving(OLD, serve(**headers)) as server, pytest.raises(TransportError):
        read(stream(server))


def test_a_length_that_is_too_long_is_a_cut() -> None:
    with (
        serving(OLD, serve(Content_Length=SIZE + 10, cut_bytes=SIZE)) as server,
        pytest.raises(TransportError),
    ):
        read(stream(server))


def test_a_length_that_is_too_short_ends_there() -> None:
    with serving(OLD, serve(Content_Length=1000)) as server:
        source = stream(server)
        assert read(source) == OLD[:1000]
        with pytest.raises(ArchiveError, match="ends at byte 1000"):
            source.seek(1001)


def test_chunks_without_a_length() -> None:
    with serving(OLD, Exchange.chunked) as server:
        source = stream(server)
        assert read(source) == OLD
        assert source.size_bytes is None
    with serving(OLD, lambda exchange: exchange.chunked(cut_bytes=123_456)) as server:
        assert read(stream(server)) == OLD
        assert server.ranges == ["", "bytes=123456-"]


@pytest.mark.parametrize("line", [b"-1\r\n", b"-5\r\n", b"zz\r\n", b"f" * 40 + b"\r\n", b"1" * 70_000])
def test_chunks_that_lie_about_their_size(line: bytes) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        exchange.send(line + OLD[:70_000])
        exchange.keep = False

    with serving(OLD, answer) as server, pytest.raises(TransportError):
        read(stream(server, QUICK._replace(retries=0)))


def test_a_body_that_ends_with_the_connection() -> None:
    with serving(OLD, serve(drop=["Content-Length"])) as server:
        assert read(stream(server)) == OLD


def test_silence_is_a_missed_deadline() -> None:
    with serving(OLD) as server:
        server.usual = serve(cut_bytes=0, how="stall")
        begun_s = time.monotonic()
        with pytest.raises(DeadlineError, match="nothing came for"):
            read(stream(server, QUICK._replace(retries=0, timeout_s=0.3)))
        assert time.monotonic() - begun_s < 2


def test_a_drip_is_a_missed_deadline() -> None:
    def drip(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": SIZE})
        while not exchange.server.stop.wait(0.4):
            exchange.send(b"x")

    with serving(OLD, drip) as server, pytest.raises(DeadlineError, match="less than 8 bytes/s"):
        source = stream(server, QUICK._replace(retries=0, timeout_s=0.9))
        source.readinto(memoryview(bytearray(100)))


def test_slow_is_not_dead() -> None:
    with serving(OLD, serve(pause_s=0.05)) as server:
        assert read(stream(server, QUICK._replace(retries=0, timeout_s=0.3))) == OLD


def test_somebody_who_reads_slowly_blames_no_server() -> None:
    with serving(OLD) as server:
        source = stream(server, QUICK._replace(retries=0, timeout_s=0.3))
        buffer = memoryview(bytearray(100_000))
        whole = b""
        while n := source.readinto(buffer):
            whole += bytes(buffer[:n])
            time.sleep(0.35)
        assert whole == OLD


def test_headers_without_end_are_not_read_for_ever() -> None:
    def endless(exchange: Exchange) -> None:
        while not exchange.server.stop.is_set():
            exchange.send(b"HTTP/1.1 100 Continue\r\nX: " + b"y" * 1000 + b"\r\n\r\n")

    with serving(OLD) as server:
        server.usual = endless
        with pytest.raises(TransportError, match="headers"):
            read(stream(server, QUICK._replace(retries=0)))
        assert server.sent_bytes < 20_000_000


@pytest.mark.parametrize("when", ["silence", "wait", "headers"])
def test_it_can_be_stopped_while_it_waits(when: str) -> None:
    class Stop:
        calls = 0

        def __call__(self) -> None:
            self.calls += 1
            if self.calls > 3:
                raise Cancelled("stopped")

    def silent(exchange: Exchange) -> None:
        exchange.server.stop.wait(20)

    answer = {"silence": serve(cut_bytes=1000, how="stall"), "wait": refuse(503), "headers": silent}[when]
    with serving(OLD) as server:
        server.usual = answer
        source = stream(server, HttpOptions(retry_wait_s=30, timeout_s=30))
        source.attend(waiting=Stop(), tell=lambda level, line: None)
        begun_s = time.monotonic()
        with pytest.raises(Cancelled):
            read(source)
        assert time.monotonic() - begun_s < 5


def test_speed_is_kept() -> None:
    with serving(OLD) as server:
        begun_s = time.monotonic()
        assert read(stream(server, QUICK._replace(speed_max=400_000))) == OLD
        assert 0.55 < time.monotonic() - begun_s < 3


def test_nobody_is_there() -> None:
    with serving(OLD) as server:
        url = server.url
    for bad, error in ((url, TransportError), ("http://nowhere.invalid/x", TransportError)):
        with pytest.raises(error) as caught:
            read(open_stream(bad, QUICK._replace(retries=1), SystemClock()))
        assert caught.value.exit_code == 50


def moved(status: int, to: Callable[[Exchange], str]) -> Answer:
    return lambda exchange: exchange.refuse(status, Location=to(exchange))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirections_are_followed_also_for_the_rest(status: int) -> None:
    here = moved(status, lambda exchange: "/elsewhere.swu?token=1")
    with serving(OLD, here, serve(cut_bytes=100_000), here) as server:
        source = stream(server)
        assert read(source) == OLD
        assert [target for target, _ in server.requests] == ["/update.swu", "/elsewhere.swu?token=1"] * 2
        assert source.name == server.url


@pytest.mark.parametrize("target", ["/update.swu", "", "ftp://localhost/x", "http://", "http://[::1", "\x00"])
def test_redirections_without_end_or_sense(target: str) -> None:
    with serving(OLD) as server:
        server.usual = moved(302, lambda exchange: target)
        with pytest.raises(TransportError, match="redirects"):
            read(stream(server))
        assert len(server.requests) <= 6


def test_a_password_goes_to_its_server_only() -> None:
    with serving(OLD) as other, serving(OLD, moved(302, lambda exchange: other.url)) as server:
        url = server.url.replace("localhost", "me:se%20cret@localhost")
        source = open_stream(url, QUICK, SystemClock())
        assert "se" not in source.name.removesuffix(".swu").replace("localhost", "")
        assert read(source) == OLD
        assert server.requests[0][1]["authorization"] == "Basic bWU6c2UgY3JldA=="
        assert "authorization" not in other.requests[0][1]
    with serving(OLD) as server:
        read(open_stream(server.url, QUICK._replace(authentication="a:b"), SystemClock()))
        assert server.requests[0][1]["authorization"] == "Basic YTpi"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_server_does_nothing_is_mixed(seed: int) -> None:
    """Random faults, one after the other; the check is in ``read``."""
    dice = random.Random(seed)
    faults: list[Callable[[], Answer]] = [
        lambda: serve(cut_bytes=dice.randrange(SIZE), how=dice.choice(["close", "reset"])),
        lambda: serve(cut_bytes=dice.randrange(SIZE)),
        lambda: refuse(dice.choice([500, 502, 503])),
        lambda: new_file(cut_bytes=dice.randrange(SIZE)),
        lambda: serve(ranges=False),
        lambda: serve(content=NEW, ETag='"v2"'),
        lambda: serve(Content_Range=f"bytes {dice.randrange(SIZE)}-{SIZE - 1}/{SIZE}"),
        lambda: lambda exchange: exchange.reset(),
    ]
    with serving(OLD, *(dice.choice(faults)() for _ in range(12))) as server:
        try:
            assert read(stream(server, QUICK._replace(retries=6)), dice.randrange(1, 200_000)) in (OLD, NEW)
        except SwagentError as exc:
            assert exc.exit_code in (50, 51)
