"""A server that gives one file, and breaks in every way: a test chooses what happens to each request."""

import base64
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE_BYTES = 16 * 1024


class Exchange:
    """One request; answers are written here."""

    def __init__(self, server: "Server", sock: socket.socket, target: str, headers: dict[str, str]) -> None:
        self.server = server
        self.sock = sock
        self.target = target
        self.headers = headers
        self.keep = True

    def send(self, data: bytes) -> None:
        """Raw bytes to the client."""
        self.sock.sendall(data)
        self.server.sent_bytes += len(data)

    def head(self, status: int, headers: dict[str, str | int]) -> None:
        """Status line and headers."""
        lines = [f"HTTP/1.1 {status} whatever", *(f"{name}: {value}" for name, value in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def refuse(self, status: int, **headers: str | int) -> None:
        """An answer with a short body."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.head(status, {"Content-Length": 5, **told})
        self.send(b"sorry")

    def reset(self) -> None:
        """Break the connection so that the client's reads fail."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep = False

    def wanted(self) -> tuple[int, int] | None:
        """First and last byte of the range asked for; None for the whole file."""
        text = self.headers.get("range", "")
        if not text:
            return None
        first, _, last = text.removeprefix("bytes=").partition("-")
        end = len(self.server.content) - 1
        return int(first), min(int(last), end) if last else end

    def serve(
        self,
        *,
        cut_bytes: int | None = None,
        how: str = "close",
        content: bytes | None = None,
        ranges: bool = True,
        drop: Sequence[str] = (),
        pause_s: float = 0.0,
        **changes: str | int,
    ) -> None:
        """Give the file, or a part of it, as a good server would, but for what is asked.

        Args:
            cut_bytes: how much of the body comes before the connection breaks.
            how: ``close``, ``reset`` or ``stall``.
            content: instead of the server's.
            ranges: whether ``Range`` is understood.
            drop: headers to leave out.
            pause_s: between pieces of the body.
            changes: headers to set, with ``_`` for ``-``; ``status`` for the status.
        """
        server = self.server
        body = server.content if content is None else content
        headers: dict[str, str | int] = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", **server.identity}
        status, span = 200, self.wanted() if ranges else None
        condition = self.headers.get("if-range")
        if condition is not None and condition not in server.identity.values():
            span = None
        if span is not None:
            headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{len(body)}"
            status, body = 206, body[span[0] : span[1] + 1]
        headers["Content-Length"] = len(body)
        status = int(changes.pop("status", status))
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        self.head(status, {name: value for name, value in headers.items() if name not in drop})
        self.body(body, cut_bytes=cut_bytes, how=how, pause_s=pause_s)
        self.keep = self.keep and "Content-Length" not in drop

    def serve_parts(
        self,
        *,
        boundary: str = "a boundary",
        arrange: Callable[[list[tuple[int, int]]], list[tuple[int, int]]] = list,
        mangle: Callable[[bytes], bytes] = bytes,
        cut_bytes: int | None = None,
        how: str = "close",
        **changes: str | int,
    ) -> None:
        """Give several parts, when several are asked for; else as ``serve``.

        Args:
            boundary: between the parts.
            arrange: which spans are given instead of those that were asked for.
            mangle: changes the body.
            cut_bytes: as in ``serve``.
            how: as in ``serve``.
            changes: headers to set.
        """
        asked = self.headers.get("range", "").removeprefix("bytes=").split(",")
        condition = self.headers.get("if-range")
        current = condition is None or condition in self.server.identity.values()
        if len(asked) < 2 or not current:
            self.serve(cut_bytes=cut_bytes, how=how, ranges=current)
            return
        content = self.server.content
        pieces = []
        for first, last in arrange(
            [(int(first), int(last)) for first, _, last in (one.partition("-") for one in asked)]
        ):
            told = f"Content-Type: text/plain\r\nContent-Range: bytes {first}-{last}/{len(content)}"
            pieces.append(f"\r\n--{boundary}\r\n{told}\r\n\r\n".encode() + content[first : last + 1])
        body = mangle(b"".join(pieces) + f"\r\n--{boundary}--\r\n".encode())
        headers: dict[str, str | int] = {
            "Content-Type": f'multipart/byteranges; boundary="{boundary}"',
            **self.server.identity,
            "Content-Length": len(body),
        }
        self.head(206, headers | {name.replace("_", "-"): value for name, value in changes.items()})
        self.body(body, cut_bytes=cut_bytes, how=how)

    def body(
        self, body: bytes, *, cut_bytes: int | None = None, how: str = "close", pause_s: float = 0.0
    ) -> None:
        """A body, or the front of it."""
        end = len(body) if cut_bytes is None else min(cut_bytes, len(body))
        for start in range(0, end, PIECE_BYTES):
            self.send(body[start : min(start + PIECE_BYTES, end)])
            if pause_s:
                time.sleep(pause_s)
        if cut_bytes is None:
            return
        self.keep = False
        if how == "reset":
            time.sleep(0.05)  # what was sent is read before the reset throws it away
            self.reset()
        elif how == "stall":
            self.server.stop.wait(30)

    def chunked(self, *, cut_bytes: int | None = None) -> None:
        """The whole file in chunks, without saying how long it is."""
        self.head(200, {"Transfer-Encoding": "chunked", **self.server.identity})
        body = self.server.content if cut_bytes is None else self.server.content[:cut_bytes]
        for start in range(0, len(body), 10_000):
            piece = body[start : start + 10_000]
            self.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if cut_bytes is None:
            self.send(b"0\r\n\r\n")
        else:
            self.keep = False


Answer = Callable[[Exchange], None]


@dataclass
class Server:
    """What the server does, and what it saw.

    Attributes:
        content: the file.
        plan: what to do with the first requests; later ones are answered by ``usual``.
        identity: headers that say which version it is.
        requests: target and headers of every request.
        proxied: what a proxy was asked for: request lines.
    """

    content: bytes = b""
    plan: list[Answer] = field(default_factory=list)
    usual: Answer = Exchange.serve
    identity: dict[str, str | int] = field(default_factory=lambda: {"ETag": '"v1"', "Accept-Ranges": "bytes"})
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    proxied: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    connections: int = 0
    port: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/update.swu"

    @property
    def ranges(self) -> list[str]:
        """The ``Range`` of every request."""
        return [headers.get("range", "") for _, headers in self.requests]

    def handle(self, sock: socket.socket) -> None:
        """All requests of one connection."""
        self.connections += 1
        with sock, sock.makefile("rb") as lines:
            keep = True
            while keep and not self.stop.is_set():
                first = lines.readline().decode("latin-1").split()
                if len(first) < 2:
                    return
                headers = {}
                while line := lines.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                if first[0] == "CONNECT":
                    self.tunnel(sock, first[1], headers)
                    return
                if first[1].startswith("http"):
                    self.proxied.append(f"{first[1]} {headers.get('proxy-authorization', '')}".strip())
                self.requests.append((first[1], headers))
                exchange = Exchange(self, sock, first[1], headers)
                answer = self.plan.pop(0) if self.plan else self.usual
                answer(exchange)
                keep = exchange.keep

    def tunnel(self, sock: socket.socket, place: str, headers: dict[str, str]) -> None:
        """Pass bytes on, as a proxy does for CONNECT."""
        self.proxied.append(f"CONNECT {place} {headers.get('proxy-authorization', '')}".strip())
        host, _, port = place.rpartition(":")
        with socket.create_connection((host, int(port))) as other:
            sock.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
            while not self.stop.is_set():
                for ready in select.select([sock, other], [], [], 0.1)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (other if ready is sock else sock).sendall(data)


@contextmanager
def serving(content: bytes, *plan: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a port of its own, until the block ends."""
    server = Server(content, list(plan), scheme="https" if tls else "http")
    listener = socket.create_server(("127.0.0.1", 0))
    # what counts as sent has left, but for this much
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    server.port = listener.getsockname()[1]
    workers: list[threading.Thread] = []
    waiting = select.poll()  # unlike select.select, it takes descriptors of any number
    waiting.register(listener, select.POLLIN)

    open_socks: list[socket.socket] = []

    def work(sock: socket.socket) -> None:
        with suppress(OSError):  # the client may go away at any time, which is what many tests are about
            server.handle(tls.wrap_socket(sock, server_side=True) if tls else sock)

    def listen() -> None:
        while not server.stop.is_set():
            if waiting.poll(50):
                open_socks.append(listener.accept()[0])
                worker = threading.Thread(target=work, args=(open_socks[-1],), daemon=True)
                worker.start()
                workers.append(worker)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        thread.join()
        listener.close()
        for sock in open_socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # a client may keep its connection
        for worker in workers:
            worker.join(2)


def basic(text: str) -> str:
    """A header for Basic authentication."""
    return "Basic " + base64.b64encode(text.encode()).decode()
