"""Any bytes as an answer with several parts: what was asked for, whole, or an error; never bytes that were not sent."""

from swagent.errors import SwagentError
from swagent.net.multipart import Multipart
from swagent.net.wire import Broken


def one_input(data: bytes) -> None:
    """Read every part; the first byte says in what pieces the connection brings them."""
    view = memoryview(data)[1:]
    most = data[0] % 50 + 1 if data else 1
    at = 0

    def read(buffer: memoryview) -> int:
        nonlocal at
        n = min(len(buffer), most, len(view) - at)
        buffer[:n] = view[at : at + n]
        at += n
        return n

    parts = Multipart(read, "b", "fuzz")
    buffer = memoryview(bytearray(33))
    total = 0
    try:
        while (part := parts.next_part()) is not None:
            found = bytearray()
            while n := parts.readinto(buffer):
                found += buffer[:n]
            assert len(found) == part.last - part.first + 1
            assert bytes(found) in data
            total += len(found)
    except (SwagentError, Broken):
        pass
    assert total <= len(data)


def seeds() -> list[bytes]:
    """Answers as servers give them, and some as they must not."""

    def part(told: bytes, body: bytes) -> bytes:
        return b"\r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes " + told + b"\r\n\r\n" + body

    good = part(b"0-4/100", b"hello") + part(b"10-11/100", b"ab")
    return [
        b"\x20" + good + b"\r\n--b--\r\n",
        b"\x01" + good[2:] + b"\r\n--b--",
        b"\x20" + part(b"0-9/100", b"\r\n--b--\r\n_") + b"\r\n--b--\r\n",
        b"\x20" + part(b"9-0/100", b"") + b"\r\n--b--\r\n",
        b"\x20" + part(b"0-99/100", b"short"),
        b"\x20" + part(b"0-4/100", b"hello more") + b"\r\n--b--\r\n",
        b"\x20\r\n--b\r\n" + b"x: y\r\n" * 20,
    ]
