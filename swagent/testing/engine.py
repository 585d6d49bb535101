"""A container engine on a unix socket, for ``docker_*``: it keeps the books of docker's API, and fails when told to."""

import json
import os
import re
import tarfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import ThreadingMixIn, UnixStreamServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

FAULTS = {
    "refuses": "answers 500 with a message",
    "lies": "answers 200, and an error in the body",
    "babbles": "answers 200 with what is no JSON",
    "says-nothing": "answers 200 without a word",
    "endless": "answers 200 and never stops talking",
    "garbage": "answers with what is no HTTP",
    "stalls": "takes the request and never answers",
    "drips": "answers a byte now and then",
    "stalls-reading": "stops taking the body in the middle",
    "accepts-reading": "answers 200 in the middle of the body, and takes no more",
    "refuses-reading": "answers 500 in the middle of the body, and takes no more",
    "vanishes": "takes the request and closes the connection",
    "vanishes-reading": "closes the connection in the middle of the body",
    "vanishes-answering": "closes the connection in the middle of its answer",
}
_TICK_S = 0.05


class Request(NamedTuple):
    """What was asked, as far as it came.

    Attributes:
        target: path and query.
        headers: by name in small letters.
        complete: whether all of the body came.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    complete: bool


class FakeEngine:
    """Serves from ``with`` on until its block is left.

    Args:
        path: of the socket, made and removed here.
        fault: a key of ``FAULTS``.
        at: the beginning of the requests that it strikes, such as ``POST /images/load``.

    Attributes:
        requests: all but pings, in order.
        images: tags to their image's archive.
        containers: name to whether it runs.
        networks: their names.
        volumes: their names.
    """

    def __init__(self, path: str, *, fault: str = "", at: str = "") -> None:
        if fault and fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}")
        self.path = path
        self.fault = fault
        self.at = at
        self.requests: list[Request] = []
        self.images: dict[str, bytes] = {}
        self.containers: dict[str, bool] = {}
        self.networks: set[str] = set()
        self.volumes: set[str] = set()
        self.stopping = threading.Event()
        self._server = _Server(path, _Talk)
        self._server.engine = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_TICK_S,), daemon=True)

    def __enter__(self) -> "FakeEngine":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        os.unlink(self.path)

    def answer(self, request: Request) -> tuple[int, Any]:
        """Status and body (bytes as they are, anything else as JSON) for a sound request."""
        url = urlsplit(request.target)
        for method, pattern, what in _ROUTES:
            match = re.fullmatch(pattern, url.path)
            if method == request.method and match:
                name = unquote(match[1]) if match.groups() else parse_qs(url.query).get("name", [""])[0]
                return what(self, name, request)
        return 404, {"message": "page not found"}

    def _load(self, name: str, request: Request) -> tuple[int, Any]:
        if request.headers.get("content-type") != "application/x-tar":
            return 415, {"message": "no tar"}
        try:
            with tarfile.open(fileobj=BytesIO(request.body)) as archive:
                manifest = archive.extractfile("manifest.json")
                tags = [tag for image in json.load(manifest or BytesIO()) for tag in image["RepoTags"]]
        except (tarfile.TarError, KeyError, ValueError) as exc:
            return 200, {"errorDetail": {"message": str(exc)}, "error": str(exc)}
        self.images.update(dict.fromkeys(tags, request.body))
        return 200, b"".join(
            json.dumps({"stream": f"Loaded image: {tag}\n"}).encode() + b"\n" for tag in tags
        )

    def _create(self, kind: str, name: str, request: Request) -> tuple[int, Any]:
        if request.headers.get("content-type") != "application/json":
            return 400, {"message": "Content-Type must be application/json"}
        asked = json.loads(request.body)
        if kind == "containers":
            if asked.get("Image") not in self.images:
                return 404, {"message": f"No such image: {asked.get('Image')}"}
            if name in self.containers:
                return 409, {"message": f'Conflict. The container name "/{name}" is already in use'}
            self.containers[name or "quirky_curie"] = False
        else:
            getattr(self, kind).add(asked["Name"])
        return 201, {"Id": "5eed", "Warnings": []}

    def _remove(self, kind: str, name: str, request: Request) -> tuple[int, Any]:
        held = getattr(self, kind)
        if name not in held:
            return 404, {"message": f"No such {kind[:-1]}: {name}"}
        if kind == "containers" and self.containers[name]:
            return 409, {"message": f"You cannot remove a running container {name}"}
        held.pop(name) if isinstance(held, dict) else held.remove(name)
        return (200, [{"Untagged": name}]) if kind == "images" else (204, b"")

    def _run(self, name: str, *, run: bool) -> tuple[int, Any]:
        if name not in self.containers:
            return 404, {"message": f"No such container: {name}"}
        if self.containers[name] is run:
            return 304, b""
        self.containers[name] = run
        return 204, b""


_Route = tuple[str, str, Callable[[FakeEngine, str, Request], tuple[int, Any]]]
_ROUTES: tuple[_Route, ...] = (
    ("GET", "/_ping", lambda engine, name, request: (200, b"OK")),
    ("POST", "/images/load", FakeEngine._load),
    ("POST", "/images/prune", lambda engine, name, request: (200, {"ImagesDeleted": None, "SpaceReclaimed": 0})),
    ("POST", "/containers/(.+)/start", lambda engine, name, request: engine._run(name, run=True)),
    ("POST", "/containers/(.+)/stop", lambda engine, name, request: engine._run(name, run=False)),
    *(
        ("POST", f"/{kind}/create", lambda engine, name, request, kind=kind: engine._create(kind, name, request))
        for kind in ("containers", "networks", "volumes")
    ),
    *(
        ("DELETE", f"/{kind}/(.+)", lambda engine, name, request, kind=kind: engine._remove(kind, name, request))
        for kind in ("images", "containers", "networks", "volumes")
    ),
)  # fmt: skip


class _Server(ThreadingMixIn, UnixStreamServer):
    engine: FakeEngine


class _Talk(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds without a byte, after which nobody waits for whoever asked
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        engine = self.server.engine
        struck = bool(engine.fault) and f"{self.command} {self.path}".startswith(engine.at)
        fault = engine.fault if struck else ""
        body, complete = self._body(1000 if fault.endswith("-reading") else None)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, complete)
        if self.path != "/_ping":
            engine.requests.append(request)
        if fault:
            self.close_connection = True
            self._go_wrong(fault)
        elif complete:
            self._say(*engine.answer(request))
        else:
            self.close_connection = True

    def _body(self, most_bytes: int | None) -> tuple[bytes, bool]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            wanted = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(wanted if most_bytes is None else min(wanted, most_bytes))
            return body, len(body) == wanted
        body = b""
        while most_bytes is None or len(body) < most_bytes:
            line = self.rfile.readline()
            if not line:
                return body, False
            size = int(line, 16)
            piece = self.rfile.read(size + 2)
            if len(piece) < size + 2:
                return body + piece, False
            if not size:
                return body, True
            body += piece[:-2]
        return body, False

    def _say(self, status: int, content: Any) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(raw)

    def _go_wrong(self, fault: str) -> None:
        match fault.removesuffix("-reading"):
            case "refuses":
                self._say(500, {"message": "no space left on device"})
            case "accepts":
                self._say(200, {"stream": "Loaded image: acme/app:1.0"})
            case "lies":
                self._say(200, {"errorDetail": {"message": "bad layer"}, "error": "bad layer\x1b[2J"})
            case "babbles":
                self._say(200, b"it worked, more or less")
            case "says-nothing":
                self._say(200, b"")
            case "garbage":
                self.wfile.write(b"\x00\xff\r\n\r\n")
            case "stalls":
                self.server.engine.stopping.wait(60)
            case "drips":
                self._talk(b"x", _TICK_S)
            case "endless":
                self._talk(b'{"status": "still busy"}\n' * 1000, 0)
            case "vanishes-answering":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    def _talk(self, words: bytes, pause_s: float) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not self.server.engine.stopping.wait(pause_s):
            self.wfile.write(b"%X\r\n%b\r\n" % (len(words), words))
