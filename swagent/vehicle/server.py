"""A small HTTP server for the ECUs of one vehicle: bounded threads, bodies and times; no traceback for anybody.

The standard library's server, with what it lacks: one request for each connection, no more connections than threads,
a deadline for the whole request and one for the answer that allows for its length.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import DeviceError, SwagentError
from swagent.model import Reader

if TYPE_CHECKING:
    from ssl import SSLContext

THREADS_MAX = 16
BODY_MAX_BYTES = 2 * 1024 * 1024
REQUEST_S, SILENCE_S, LEAST_BYTES_PER_S = 20.0, 10.0, 8192
PIECE_BYTES = 256 * 1024


class Request(NamedTuple):
    """What was asked.

    Attributes:
        path: as it came, still quoted, with its query.
        peer: common name of the client's certificate, "" for none.
        range: the header of that name, "" for none.
        if_range: likewise.
    """

    method: str
    path: str
    body: bytes
    peer: str
    range: str = ""
    if_range: str = ""


class Answer(NamedTuple):
    """What is said to it.

    Attributes:
        body: all of it, or a stream of ``length_bytes``.
        done: called when the body was sent, or could not be.
    """

    status: int
    body: bytes | Reader = b""
    content_type: str = "application/octet-stream"
    length_bytes: int = 0
    headers: Mapping[str, str] = {}
    done: Callable[[], object] = lambda: None


Answers = Callable[[Request], Answer]


class VehicleServer:
    """Serves from its own threads, until it is closed.

    Args:
        answers: called for each request, from several threads; its SwagentErrors are a plain 500.
        host: address to listen at.
        ports: the first free one is taken; 0 is any.
        log: hears of what goes wrong: level and line.
        tls: None for plain HTTP.
        request_s: how long a request, and so much of the answer as does not depend on its length, may take.

    Attributes:
        port: the one that was taken.

    Raises:
        DeviceError: none is free.
    """

    def __init__(
        self,
        answers: Answers,
        host: str,
        ports: tuple[int, ...],
        log: Callable[[str, str], None],
        *,
        tls: "SSLContext | None" = None,
        request_s: float = REQUEST_S,
    ) -> None:
        self._server = _listen(host, ports)
        self._server.answers, self._server.log, self._server.tls = answers, log, tls
        self._server.request_s = request_s
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="vehicle-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Take no more requests; those under way are cut."""
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()


def _listen(host: str, ports: tuple[int, ...]) -> "_Server":
    failure: OSError | None = None
    for port in ports:
        try:
            return _Server((host, port), _Handler)
        except (OSError, OverflowError) as exc:
            failure = exc if isinstance(exc, OSError) else OSError(str(exc))
    place = f"{host}:{ports[0]}" + (f"..{ports[-1]}" if len(ports) > 1 else "")
    raise DeviceError(f"cannot listen at {place}: {failure}", path=place)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = THREADS_MAX
    answers: Answers
    log: Callable[[str, str], None]
    tls: "SSLContext | None"
    request_s: float

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._free = threading.BoundedSemaphore(THREADS_MAX)
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """As the base class's grandparent does; its parent would ask the DNS for our name."""
        import socketserver

        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            self.log("warn", "a connection was closed: too many at once")
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of connections that break; what our own code does wrong is told too, on our side alone."""
        import sys

        error = sys.exc_info()[1]
        broken = isinstance(error, OSError)  # of sockets and TLS
        self.log("debug" if broken else "error", f"a connection ended: {type(error).__name__}: {error}")

    def swap(self, old: socket.socket, new: socket.socket) -> None:
        """The one gave its descriptor to the other."""
        self._open.discard(old)
        self._open.add(new)

    def cut(self) -> None:
        """End all connections."""
        for each in list(self._open):
            _cut(each)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "swagent", ""
    timeout = SILENCE_S

    def setup(self) -> None:
        self._plain = self.request
        self._limit: threading.Timer | None = None
        self._until(self.server.request_s)
        self._peer = ""
        if self.server.tls is not None:
            self._greet(self.server.tls)
        super().setup()

    def _greet(self, tls: "SSLContext") -> None:
        """The TLS handshake, in this thread, where nobody else waits for it."""
        self._plain.settimeout(SILENCE_S)
        self.request = tls.wrap_socket(self._plain, server_side=True, do_handshake_on_connect=False)
        self.server.swap(self._plain, self.request)
        self._until(self.server.request_s)
        try:
            self.request.do_handshake()
        except OSError:
            self._let_go()
            raise
        self._peer = _common_name(self.request.getpeercert())

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if self.request is not self._plain:
            self.server.swap(self.request, self._plain)
            self.request.close()

    def _until(self, seconds: float) -> None:
        """From now on so long; then the connection is cut, whatever it does."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = threading.Timer(seconds, _cut, (self.request,))
        self._limit.daemon = True
        self._limit.start()

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_GET  # noqa: N815 - likewise

    def _answer(self) -> None:
        told = self.headers.get("content-length", "0")
        if self.headers.get("transfer-encoding") or not (told.isascii() and told.isdecimal()):
            self._send(Answer(411))
            return
        if len(told) > 9 or int(told) > BODY_MAX_BYTES:
            self._send(Answer(413))
            return
        body = self.rfile.read(int(told))
        if len(body) < int(told):
            return
        try:
            wanted, condition = self.headers.get("range", ""), self.headers.get("if-range", "")
            answer = self.server.answers(
                Request(self.command, self.path, body, self._peer, wanted, condition)
            )
        except SwagentError as exc:
            self.server.log("warn", exc.message)
            answer = Answer(500)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        length = len(answer.body) if isinstance(answer.body, bytes) else answer.length_bytes
        self._until(self.server.request_s + length / LEAST_BYTES_PER_S)
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if isinstance(answer.body, bytes):
                self.wfile.write(answer.body)
            else:
                self._stream(answer.body)
        except SwagentError as exc:  # of a stream: its length stays unmet, which the other side sees
            self.server.log("error", exc.message)
        finally:
            answer.done()

    def _stream(self, source: Reader) -> None:
        buffer = memoryview(bytearray(PIECE_BYTES))
        while n := source.readinto(buffer):
            self.wfile.write(buffer[:n])

    def log_message(self, format: str, *args: Any) -> None:
        """The base class's lines, which hold what the other side sent."""
        self.server.log("debug", ascii(format % args)[1:-1][:200])


def _common_name(certificate: Any) -> str:
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""


def _cut(connection: socket.socket) -> None:
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own would drop its state under a reader
    except OSError:
        return
