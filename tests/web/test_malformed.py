"""Thousands of requests, forms and frames that are not what they should be: an answer or a closed door, no more."""

import asyncio
import base64
import random
import resource
import struct

import pytest

from tests.fuzz.test_seeds import mutated
from tests.net.dribble import hung_up_on_after_s

from .double import OPEN, Double, serving

SAMPLE, ALL = 300, 10_000
AT_ONCE = 20
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


def part(head: bytes, body: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; name=file" + head + b"\r\n\r\n" + body + b"\r\n"


BODIES = [
    part(b"; filename=up.swu", b"x" * 300) + b"--b--\r\n",
    part(b"; filename=up.swu", b"x" * 300),
    part(b"; filename*=utf-8''%e2%82%ac.swu\r\nContent-Type: text/plain", b"x")
    + part(b"", b"y")
    + b"--b--\r\n",
    part(b'; filename="a\r\nContent-Transfer-Encoding: base64', b"!!!!") + b"--b--",
    part(b"; filename=a\r\nContent-Encoding: deflate", b"\x78\x9c") + b"--b--\r\n",
    part(b"; filename=a\r\nContent-Type: multipart/mixed; boundary=c", b"--c\r\n\r\nx\r\n--c--")
    + b"--b--\r\n",
    b"preamble\r\n" * 20 + part(b"; filename=a", b"--b") + b"--b--\r\nepilogue",
    b"--b\r\n" + b"X-Header: y\r\n" * 300 + b"\r\n",
    b"--b\r\nX: " + b"y" * 20_000,
    b"--b" * 100,
    b"",
]


def request(dice: random.Random) -> bytes:
    body = mutated(BODIES, dice) if dice.random() < 0.8 else dice.choice(BODIES)
    kind = dice.choice([b"b", b"b", b"b", b"", b'"b', b"x" * 200, b"\xff"])
    head = (
        b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary="
        + kind
        + b"\r\n"
    )
    match dice.randrange(5):
        case 0:
            pieces = (
                b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:50], body[50:]) if p) + b"0\r\n\r\n"
            )
            data = head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces
        case 1:
            data = head + b"Content-Length: %d\r\n\r\n" % dice.choice([0, 1, len(body) + 9, 10**30]) + body
        case _:
            data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return mutated([data], dice) if dice.random() < 0.3 else data


def frames(dice: random.Random) -> bytes:
    def frame(first: int, data: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
        n = len(data) if length is None else length
        mask = 0x80 if masked else 0
        size = bytes([mask | n]) if n < 126 else struct.pack("!BH", mask | 126, n) if n < 1 << 16 else b""
        size = size or struct.pack("!BQ", mask | 127, n)
        return bytes([first]) + size + (bytes(4) if masked else b"") + data

    known = [
        frame(0x81, b"hello"),
        frame(0x81, b"hello", masked=False),
        frame(0x81, b"\xff\xfe"),
        frame(0x01, b"a") + frame(0x81, b"b"),
        frame(0x80, b"b"),
        frame(0x82, bytes(5000)),
        frame(0x82, b"", length=1 << 40),
        frame(0x89, bytes(126)),
        frame(0x09, b""),
        frame(0x88, b"\x03"),
        frame(0x88, struct.pack("!H", 1005) + b"x"),
        frame(0xC1, b"\x00"),
        frame(0xFF, b""),
        frame(0x8A, b"pong"),
    ]
    data = b"".join(dice.choice(known) for _ in range(dice.randint(1, 4)))
    return HANDSHAKE + (mutated([data], dice) if dice.random() < 0.7 else data)


async def send(port: int, data: bytes, dice: random.Random) -> bytes:
    """The beginning of the answer; the connection is closed, or given up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        cut = dice.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read(65536)
    except OSError:  # it was closed before all was said; TimeoutError: it waits for more
        pass
    finally:
        writer.close()
    return answer


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("count", [SAMPLE, pytest.param(ALL, marks=pytest.mark.slow)])
def test_malformed_requests_and_frames_harm_nobody(count: int) -> None:
    async def main() -> None:
        double = Double()
        dice = random.Random(count)
        async with serving(double, OPEN._replace(silence_s=2)) as base:
            port = int(base.rpartition(":")[2])
            half = 0
            for done in range(0, count, AT_ONCE):
                if done >= count // 2 and not half:
                    half = resident_bytes()
                works = [request(dice) if dice.random() < 0.6 else frames(dice) for _ in range(AT_ONCE)]
                for data, answer in zip(
                    works, await asyncio.gather(*(send(port, data, dice) for data in works)), strict=True
                ):
                    assert b"Traceback" not in answer, data
                    assert not answer.startswith(b"HTTP/1.1 500"), (data, answer)
            assert resident_bytes() - half < 16 << 20, "memory grows"
            answer = await send(port, b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", dice)
            assert answer.startswith(b"HTTP/1.0 200"), answer

    asyncio.run(main())


@pytest.mark.parametrize(
    "before", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"], ids=["first", "second"]
)
def test_who_never_ends_a_request_is_hung_up_on(before: bytes) -> None:
    async def main() -> None:
        async with serving(Double(), idle_s=0.5) as base:
            port = int(base.rpartition(":")[2])
            assert await asyncio.to_thread(hung_up_on_after_s, port, before=before) >= 0.4

    asyncio.run(main())
