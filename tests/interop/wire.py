"""Servers between a client and the reference: one passes requests on and records, one replays what was recorded.

An exchange is a request and its answer, each with its head as lines and its body, every byte of it but for the lines
``Host`` (a port) and ``User-Agent`` (a version).
"""

import base64
import json
import socket
import threading
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self, cast
from xmlrpc.client import dumps

from .reference import HOST

TIMEOUT_S = 60.0
_LEFT_OUT = ("host:", "user-agent:")


class Message(NamedTuple):
    """A request or an answer."""

    head: tuple[str, ...]
    body: bytes

    def length(self) -> int | None:
        """What ``Content-Length`` says."""
        found = [line for line in self.head if line.lower().startswith("content-length:")]
        return int(found[0].split(":")[1]) if found else None

    def raw(self) -> bytes:
        """As it is sent."""
        return "".join(f"{line}\r\n" for line in (*self.head, "")).encode("latin-1") + self.body

    def tree(self) -> dict[str, Any]:
        """As a transcript holds it."""
        try:
            return {"head": list(self.head), "body": self.body.decode()}
        except UnicodeDecodeError:
            return {"head": list(self.head), "base64": base64.b64encode(self.body).decode()}


class Exchange(NamedTuple):
    """What was asked of whom, and what was answered."""

    to: str
    request: Message
    answer: Message


def message(tree: Mapping[str, Any]) -> Message:
    """What ``Message.tree`` made."""
    body = base64.b64decode(tree["base64"]) if "base64" in tree else tree["body"].encode()
    return Message(tuple(tree["head"]), body)


class Transcript(NamedTuple):
    """What was recorded.

    Attributes:
        facts: what a replay must begin with.
        exchanges: in their order.
    """

    facts: dict[str, Any]
    exchanges: list[Exchange]

    def write(self, path: Path) -> None:
        """Make it a file."""
        exchanges = [
            {"to": each.to, "request": each.request.tree(), "answer": each.answer.tree()}
            for each in self.exchanges
        ]
        tree = {**self.facts, "exchanges": exchanges}
        path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Transcript:
    """What ``Transcript.write`` made."""
    facts = json.loads(path.read_text())
    exchanges = [
        Exchange(each["to"], message(each["request"]), message(each["answer"]))
        for each in facts.pop("exchanges")
    ]
    return Transcript(facts, exchanges)


class Wire:
    """Listens as several servers, at a port for each; what is asked of each goes to ``answer``.

    Attributes:
        ports: name of a server to its port.
    """

    def __init__(self, *names: str) -> None:
        self.ports: dict[str, int] = {}
        self._servers = []
        for name in names:
            server = ThreadingTCPServer((HOST, 0), self._handler(name))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._servers.append(server)
            self.ports[name] = server.server_address[1]

    def answer(self, to: str, request: Message) -> bytes:
        """What to send back."""
        raise NotImplementedError

    def url(self, name: str, path: str = "") -> str:
        """The address of one of the servers."""
        return f"http://{HOST}:{self.ports[name]}{path}"

    def _handler(self, name: str) -> type[StreamRequestHandler]:
        wire = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                request = receive(cast(BinaryIO, self.rfile))
                if request.head:
                    self.wfile.write(wire.answer(name, request))

        return Handler

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def ask(port: int, request: Message) -> bytes:
    """Ask a server, over a connection of its own; returns the answer as it came."""
    head = [line for line in request.head if not line.lower().startswith("connection:")]
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        connection.sendall(Message((*head, f"Host: {HOST}:{port}", "Connection: close"), request.body).raw())
        return connection.makefile("rb").read()


def as_message(raw: bytes) -> Message:
    """An answer as it came."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return Message(tuple(head.decode("latin-1").split("\r\n")), body)


class Recorder(Wire):
    """Passes everything on to servers and keeps it.

    Args:
        upstream: name of a server to its real port.

    Attributes:
        exchanges: what went through, in the order of the requests.
    """

    def __init__(self, upstream: Mapping[str, int]) -> None:
        self.exchanges: list[Exchange] = []
        self._upstream = upstream
        self._lock = threading.Lock()
        super().__init__(*upstream)

    def answer(self, to: str, request: Message) -> bytes:
        """What the real one sends back."""
        raw = ask(self._upstream[to], request)
        with self._lock:
            self.exchanges.append(Exchange(to, request, as_message(raw)))
        return raw


class Replayer(Wire):
    """Answers as it was answered, as long as it is asked what was asked.

    Attributes:
        differences: what was asked otherwise.
    """

    def __init__(self, exchanges: list[Exchange]) -> None:
        self.differences: list[str] = []
        self._left = list(exchanges)
        self._lock = threading.Lock()
        super().__init__(*dict.fromkeys(each.to for each in exchanges))

    def answer(self, to: str, request: Message) -> bytes:
        """What was answered; 500 from the first difference on."""
        with self._lock:
            expected = self._left[0] if self._left else None
            if (
                not self.differences
                and expected is not None
                and (expected.to, expected.request) == (to, request)
            ):
                return self._left.pop(0).answer.raw()
            self.differences.append(difference(expected, to, request))
        return Message(("HTTP/1.0 500 not as recorded", "Content-Length: 0"), b"").raw()

    def left(self) -> list[str]:
        """What was never asked."""
        return [f"{each.to}: {each.request.head[0]}" for each in self._left]


class Nil(Wire):
    """An XML-RPC server to which everything is fine."""

    def answer(self, to: str, request: Message) -> bytes:
        """Nil."""
        body = dumps((None,), methodresponse=True, allow_none=True).encode()
        return Message(
            ("HTTP/1.0 200 OK", "Content-Type: text/xml", f"Content-Length: {len(body)}"), body
        ).raw()


def difference(expected: Exchange | None, to: str, request: Message) -> str:
    """Where a request is not the one that was recorded."""
    if expected is None:
        return f"{to}: {request.head[0]}: nothing more was asked"
    was, now = [expected.to, *expected.request.head], [to, *request.head]
    for before, after in zip_longest(was, now):
        if before != after:
            return f"{after!r} instead of {before!r}"
    was_body, now_body = expected.request.body, request.body
    at = next(
        (n for n, pair in enumerate(zip(was_body, now_body, strict=False)) if pair[0] != pair[1]),
        min(len(was_body), len(now_body)),
    )
    return f"{to}: {now[1]}: at byte {at} {now_body[at : at + 300]!r} instead of {was_body[at : at + 300]!r}"


def receive(stream: BinaryIO) -> Message:
    """A request, without the lines that are left out; an empty one when there is none."""
    head: list[str] = []
    while line := stream.readline().rstrip(b"\r\n"):
        head.append(line.decode("latin-1"))
    kept = tuple(line for line in head if not line.lower().startswith(_LEFT_OUT))
    found = Message(kept, b"")
    return found._replace(body=stream.read(found.length() or 0))
