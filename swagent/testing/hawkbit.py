"""A small hawkBit: its Direct Device Integration API, and what of its Management API a test drives it by.

It keeps hawkBit's rules: which links a poll offers, what each feedback does to an action, that a closed action takes
none. ``python -m swagent.testing.hawkbit PORT`` runs it by itself; it forgets everything when it ends.
"""

import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TENANT = "default"
USER, PASSWORD = "admin", "admin"
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)\Z")
_RUNNING = {"proceeding": "running", "scheduled": "running", "resumed": "running", "rejected": "warning"}


@dataclass
class Told:
    """One feedback.

    Attributes:
        kind: ``deployment`` or ``cancel``.
    """

    kind: str
    action: int
    finished: str
    execution: str
    details: list[str]
    body: dict[str, Any]


@dataclass
class Action:
    """One assignment.

    Attributes:
        type: ``forced``, ``soft`` or ``downloadonly``.
        window: None without a maintenance window, else whether it is open.
        status: hawkBit's word, such as ``running``.
        messages: all that the unit has said.
        history: kinds of status with what was said, oldest first.
    """

    number: int
    target: str
    modules: list[dict[str, Any]]
    type: str = "forced"
    window: bool | None = None
    status: str = "running"
    canceling: bool = False
    messages: list[str] = field(default_factory=list)
    history: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the unit is to do something about it."""
        return self.status in ("running", "warning", "canceling")


Fault = Callable[["_Handler"], bool]
"""Answers instead of the server; False lets the server answer after all."""


@dataclass
class HawkbitState:
    """What the server knows.

    Attributes:
        tokens: target to its security token; targets without one come with the gateway token.
        faults: what goes wrong: step (``poll``, ``configData``, ``cancelAction``, ``deploymentBase``, ``artifact``,
            ``feedback``, ``cancelFeedback``) to what happens to its next requests.
        told: all feedback that was taken.
        requests: method, path and headers of all requests of units.
    """

    gateway_token: str = ""
    sleep: str = "00:00:01"
    tokens: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    wants_attributes: bool = True
    actions: dict[int, Action] = field(default_factory=dict)
    files: dict[tuple[int, str], bytes] = field(default_factory=dict)
    modules: dict[int, dict[str, Any]] = field(default_factory=dict)
    sets: dict[int, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    polls: int = 0
    numbers: int = 0

    def number(self) -> int:
        """A number that nobody has."""
        self.numbers += 1
        return self.numbers

    def assign(
        self, target: str, *modules: dict[str, bytes], type_: str = "forced", window: bool | None = None
    ) -> Action:
        """Have a unit install files: one mapping of name to content a software module."""
        found: list[dict[str, Any]] = []
        for files in modules:
            module = self.add_module(f"module{len(found)}", "1.0")
            for name, content in files.items():
                self.add_file(module["id"], name, content)
            found.append(module)
        action = Action(self.number(), target, found, type_, window)
        self.actions[action.number] = action
        return action

    def add_module(self, name: str, version: str, part: str = "os") -> dict[str, Any]:
        """A software module without files."""
        module: dict[str, Any] = {"id": self.number(), "name": name, "version": version, "type": part}
        self.modules[module["id"]] = module | {"files": []}
        return self.modules[module["id"]]

    def add_file(self, module: int, name: str, content: bytes) -> dict[str, Any]:
        """A file in it."""
        hashes = {
            word: hashlib.new(word, content, usedforsecurity=False).hexdigest()
            for word in ("sha1", "md5", "sha256")
        }
        found = {"id": self.number(), "filename": name, "size": len(content), "hashes": hashes}
        self.modules[module]["files"].append(found)
        self.files[module, name] = content
        return found

    def open_action(self, target: str) -> Action | None:
        """The oldest open action of a unit, one that is to be cancelled first."""
        mine = [action for action in self.actions.values() if action.target == target and action.is_open]
        return next((action for action in mine if action.canceling), mine[0] if mine else None)

    def cancel(self, action: Action) -> None:
        """A person wants it cancelled; the unit must agree."""
        action.canceling, action.status = True, "canceling"

    def feedback(self, action: Action, told: Told) -> None:
        """What a deployment's feedback does to it."""
        action.messages += told.details
        if told.execution == "closed":
            action.status = "error" if told.finished == "failure" else "finished"
        elif told.execution == "canceled":
            action.status = "canceled"
        elif told.execution == "downloaded":
            action.status = "finished" if action.type == "downloadonly" else "running"
        else:
            action.status = _RUNNING.get(told.execution, "running")
        kind = told.execution if told.execution == "downloaded" else action.status
        action.history.append((kind, told.details))

    def cancel_feedback(self, action: Action, told: Told) -> None:
        """What an answer to a wish to cancel does."""
        action.messages += told.details
        if told.execution == "rejected":
            action.canceling, action.status = False, "running"
        elif told.execution in ("closed", "canceled"):
            action.canceling, action.status = False, "canceled"
        action.history.append((action.status, told.details))


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    @property
    def state(self) -> HawkbitState:
        """Of the server."""
        return self.server.state

    @property
    def base(self) -> str:
        """The server's address, as the client calls it."""
        scheme = "https" if self.server.is_tls else "http"
        return f"{scheme}://{self.headers.get('Host', 'localhost')}"

    def do_GET(self) -> None:
        """Read."""
        self._route("GET")

    def do_HEAD(self) -> None:
        """Only the headers."""
        self._route("HEAD")

    def do_PUT(self) -> None:
        """Replace."""
        self._route("PUT")

    def do_POST(self) -> None:
        """Add."""
        self._route("POST")

    def do_DELETE(self) -> None:
        """Remove."""
        self._route("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def reply(self, status: int, tree: object = None, *, headers: dict[str, str] | None = None) -> bool:
        """Answer with JSON, or with nothing; True, as a fault that has answered."""
        return self.send(status, b"" if tree is None else json.dumps(tree).encode(), headers or {})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> bool:
        """Answer; True."""
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json;charset=utf-8"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def reset(self) -> bool:
        """Break the connection; True."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        return True

    def _route(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.startswith("/rest/v1/"):
            _manage(self, method, path.removeprefix("/rest/v1/").strip("/").split("/"))
            return
        with self.state_lock:
            self.state.requests.append((method, self.path, {k.lower(): v for k, v in self.headers.items()}))
        words = path.strip("/").split("/")
        if words[:3] != [TENANT, "controller", "v1"] or len(words) < 4:
            self.reply(404)
        elif not self._is_known(words[3]):
            self.reply(401)
        else:
            _serve_unit(self, method, words[3], words[4:])

    @property
    def state_lock(self) -> threading.Lock:
        """Held while the state changes."""
        return self.server.lock

    def _is_known(self, target: str) -> bool:
        given = self.headers.get("Authorization", "")
        state = self.state
        if state.gateway_token and given == f"GatewayToken {state.gateway_token}":
            return True
        token = state.tokens.get(target)
        if token is None:
            return not state.gateway_token and not state.tokens
        return given == f"TargetToken {token}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    is_tls = False

    def __init__(self, port: int, state: HawkbitState) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = state
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more connection."""
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """One less."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go away at any time."""


def _serve_unit(handler: _Handler, method: str, target: str, words: list[str]) -> None:
    """The Direct Device Integration API, for one unit."""
    state = handler.state
    step = "poll"
    if words:
        step = {"cancelAction": "cancelFeedback", "deploymentBase": "feedback"}.get(words[0], words[0])
        if words[0] in ("cancelAction", "deploymentBase") and words[-1] != "feedback":
            step = words[0]
        if words[0] == "softwaremodules":
            step = "artifact"
    faults = state.faults.get(step)
    if faults:
        fault = faults.pop(0)
        if fault(handler):
            return
    with handler.state_lock:
        if step == "poll":
            _poll(handler, target)
        elif step == "configData":
            _attributes(handler, target)
        elif step == "artifact":
            _artifact(handler, int(words[1]), words[3])
        else:
            action = state.actions.get(int(words[1]))
            if action is None or action.target != target:
                handler.reply(404)
            elif step == "deploymentBase":
                _deployment(handler, action)
            elif step == "cancelAction":
                handler.reply(200, {"id": str(action.number), "cancelAction": {"stopId": str(action.number)}})
            else:
                _feedback(handler, action, step)


def _poll(handler: _Handler, target: str) -> None:
    state = handler.state
    state.polls += 1
    base = f"{handler.base}/{TENANT}/controller/v1/{target}"
    links: dict[str, Any] = {}
    action = state.open_action(target)
    if state.wants_attributes and target not in state.attributes:
        links["configData"] = {"href": f"{base}/configData"}
    if action is not None and action.canceling:
        links["cancelAction"] = {"href": f"{base}/cancelAction/{action.number}"}
    elif action is not None:
        links["deploymentBase"] = {"href": f"{base}/deploymentBase/{action.number}?c=-{action.number}"}
    handler.reply(200, {"config": {"polling": {"sleep": state.sleep}}, "_links": links})


def _attributes(handler: _Handler, target: str) -> None:
    tree = json.loads(handler.body)
    known = handler.state.attributes.setdefault(target, {})
    if tree.get("mode", "merge") == "replace":
        known.clear()
    known.update(tree["data"])
    handler.reply(200)


def _deployment(handler: _Handler, action: Action) -> None:
    base = f"{handler.base}/{TENANT}/controller/v1/{action.target}"
    chunks = []
    for module in action.modules:
        files = []
        for file in module["files"]:
            url = f"{base}/softwaremodules/{module['id']}/artifacts/{file['filename']}"
            links = {"download-http": {"href": url}, "md5sum-http": {"href": f"{url}.MD5SUM"}}
            if handler.server.is_tls:
                links = {"download": {"href": url}, "md5sum": {"href": f"{url}.MD5SUM"}}
            files.append({key: file[key] for key in ("filename", "hashes", "size")} | {"_links": links})
        chunk = {"part": module["type"], "version": module["version"], "name": module["name"]}
        chunks.append(chunk | {"artifacts": files})
    download = "attempt" if action.type == "soft" else "forced"
    skips = action.type == "downloadonly" or action.window is False
    deployment: dict[str, Any] = {
        "download": download,
        "update": "skip" if skips else download,
        "chunks": chunks,
    }
    if action.window is not None:
        deployment["maintenanceWindow"] = "available" if action.window else "unavailable"
    handler.reply(200, {"id": str(action.number), "deployment": deployment})


def _feedback(handler: _Handler, action: Action, step: str) -> None:
    tree = json.loads(handler.body)
    status = tree["status"]
    kind = "cancel" if step == "cancelFeedback" else "deployment"
    told = Told(
        kind,
        action.number,
        status["result"]["finished"],
        status["execution"],
        status.get("details", []),
        tree,
    )
    if not action.is_open:
        handler.reply(410, {"errorCode": "hawkbit.server.error.gone"})
        return
    if kind == "cancel" and not action.canceling:
        handler.reply(404)
        return
    handler.state.told.append(told)
    (handler.state.cancel_feedback if kind == "cancel" else handler.state.feedback)(action, told)
    handler.reply(200)


def _artifact(handler: _Handler, module: int, name: str) -> None:
    content = handler.state.files.get((module, name))
    if content is None:
        handler.reply(404)
        return
    etag = f'"{hashlib.sha256(content).hexdigest()[:40]}"'
    headers = {"Content-Type": "application/octet-stream", "ETag": etag, "Accept-Ranges": "bytes"}
    wanted = _RANGE.match(handler.headers.get("Range", ""))
    if wanted is None or handler.headers.get("If-Range", etag) != etag:
        handler.send(200, content, headers)
        return
    first, last = int(wanted[1]), int(wanted[2]) if wanted[2] else len(content) - 1
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    handler.send(206, content[first : last + 1], headers)


# -- the Management API


def _manage(handler: _Handler, method: str, words: list[str]) -> None:
    import base64

    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    if handler.headers.get("Authorization") != expected:
        handler.reply(401)
        return
    with handler.state_lock:
        try:
            status, tree = _managed(handler, method, words)
        except (KeyError, ValueError, IndexError) as exc:
            status, tree = 400, {"message": f"{type(exc).__name__}: {exc}"}
    handler.reply(status, tree)


def _managed(handler: _Handler, method: str, words: list[str]) -> tuple[int, object]:
    state = handler.state
    is_form = handler.headers.get("Content-Type", "").startswith("multipart/")
    tree: Any = json.loads(handler.body) if handler.body and not is_form else None
    match (method, *words):
        case ("POST", "targets"):
            for one in tree:
                state.tokens[one["controllerId"]] = one.get("securityToken", "")
            return 201, tree
        case ("GET", "targets", target, "attributes"):
            return 200, state.attributes.get(target, {})
        case ("POST", "softwaremodules"):
            made = [state.add_module(one["name"], one["version"], one["type"]) for one in tree]
            return 201, [{key: one[key] for key in ("id", "name", "version", "type")} for one in made]
        case ("POST", "softwaremodules", module, "artifacts"):
            name, content = _uploaded(handler)
            return 201, state.add_file(int(module), name, content)
        case ("POST", "distributionsets"):
            sets = [one | {"id": state.number()} for one in tree]
            state.sets |= {one["id"]: one for one in sets}
            return 201, sets
        case ("POST", "targets", target, "assignedDS"):
            return 200, _assign(state, target, tree if isinstance(tree, list) else [tree])
        case ("GET", "targets", target, "actions"):
            mine = [action for action in state.actions.values() if action.target == target]
            return 200, {"content": [_shown(action) for action in reversed(mine)], "total": len(mine)}
        case ("GET", "targets", _, "actions", number):
            return 200, _shown(state.actions[int(number)])
        case ("GET", "targets", _, "actions", number, "status"):
            history = state.actions[int(number)].history
            told = [
                {"id": index, "type": kind, "messages": messages}
                for index, (kind, messages) in enumerate(history)
            ]
            return 200, {"content": told[::-1], "total": len(told)}
        case ("DELETE", "targets", _, "actions", number):
            state.cancel(state.actions[int(number)])
            return 204, None
    return 404, {"message": f"{method} {'/'.join(words)} is not served here"}


def _assign(state: HawkbitState, target: str, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    made = []
    for one in wanted:
        modules = [state.modules[module["id"]] for module in state.sets[int(one["id"])]["modules"]]
        window = False if one.get("maintenanceWindow") else None
        action = Action(state.number(), target, modules, one.get("type", "forced"), window)
        state.actions[action.number] = action
        made.append({"id": action.number})
    return {"assigned": len(made), "alreadyAssigned": 0, "total": len(made), "assignedActions": made}


def _shown(action: Action) -> dict[str, Any]:
    status = "pending" if action.is_open else "finished"
    return {"id": action.number, "status": status, "detailStatus": action.status, "forceType": action.type}


def _uploaded(handler: _Handler) -> tuple[str, bytes]:
    head = f"Content-Type: {handler.headers['Content-Type']}\r\n\r\n".encode()
    for part in BytesParser().parsebytes(head + handler.body).walk():
        name = part.get_filename()
        if name:
            content = part.get_payload(decode=True)
            return name, content if isinstance(content, bytes) else b""
    raise ValueError("no file in the form")


# -- running it


class Hawkbit:
    """A running server.

    Attributes:
        state: what it knows; changed at will.
        port: where it listens; the same after a restart.
    """

    def __init__(self, *, port: int = 0, tls: Any = None, state: HawkbitState | None = None) -> None:
        self.state = state or HawkbitState()
        self.port = port
        self._tls = tls
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def start(self) -> None:
        """Listen."""
        server = _Server(self.port, self.state)
        self.port = server.server_address[1]
        if self._tls is not None:
            server.is_tls = True
            server.socket = self._tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._server = server

    def stop(self) -> None:
        """Listen no more; what it knows stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._server.connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._server = None


@contextmanager
def serving(*, tls: Any = None) -> Iterator[Hawkbit]:
    """A server until the block ends."""
    server = Hawkbit(tls=tls)
    try:
        yield server
    finally:
        server.stop()


def main(words: list[str]) -> None:
    """Run it until it is killed."""
    Hawkbit(port=int(words[0]) if words else 8080)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
