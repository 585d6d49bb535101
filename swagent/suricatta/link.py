"""The installer as a door reaches it: over the control socket, with our own messages (docs/reference/sockets.md)."""

import select
import socket
from collections.abc import Callable
from typing import Any

from swagent import errors
from swagent.errors import DeadlineError, Refused, SwagentError, TransportError
from swagent.ipc import ControlClient
from swagent.ipc.control import Ours
from swagent.model import InstallRequest, Outcome

from .api import Known

PIECE_BYTES = 256 * 1024
TICK_S = 0.2
LINE_BYTES_MAX = 4 * 1024 * 1024
VERDICT_S = 10.0
"""How long the verdict may take to come when the connection is cut by the other end."""
INFO_MAX = 500
NOT_AVAILABLE = "4"


class InstallerLink:
    """The daemon's installer; an ``api.Installer``.

    Args:
        client: of its control socket.
    """

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def install(
        self, request: InstallRequest, *, hear: Callable[[str, str], None], waiting: Callable[[], None]
    ) -> Outcome:
        """Hand in an update, and have the post-update command run when it is installed."""
        order: dict[str, object] = {
            "do": "install",
            "name": request.name,
            "origin": request.origin,
            "correlation_id": request.correlation_id,
        }
        if request.length_bytes is not None:
            order["length"] = request.length_bytes
        if len(request.info) <= INFO_MAX:  # it only helps people; what is too long is left away
            order["info"] = request.info
        sha256 = request.hashes.get("sha256")
        if sha256:
            order["hashes"] = {"sha256": sha256}
        with self._client.ours(order) as connection, _Talk(connection, hear, waiting) as talk:
            talk.send(request)
            facts = talk.verdict()
        result = facts.get("result")
        if result == "checked":
            raise Refused("the daemon installs nothing: it runs with --dry-run")
        if result not in ("installed", "nothing-to-do"):
            raise _error(facts)
        self._post_update(hear)
        state = self.known(request.correlation_id).state
        if not state and result == "installed":
            hear("warn", "no journal is kept here, so nobody can say later whether the update proved good")
        return Outcome(21) if state == "COMMITTED" else Outcome(0)

    def known(self, correlation_id: str) -> Known:
        """What became of an update."""
        updates = self._client.ask_ours({"do": "state"}).get("updates")
        for update in updates if isinstance(updates, list) else ():
            if isinstance(update, dict) and correlation_id in ("", update.get("correlation_id")):
                return Known(str(update.get("verdict", "")), str(update.get("why", "")))
        return Known()

    def ustate(self) -> str:
        """The update state in the boot environment."""
        return self._client.update_state() or NOT_AVAILABLE

    def set_ustate(self, digit: str) -> None:
        """Store the update state."""
        self._client.set_update_state(digit)

    def announce(self, name: str, url: str) -> None:
        """Tell where the next update finds the chunks of a delta."""
        self._client.set_delta_url(name, url)

    def _post_update(self, hear: Callable[[str, str], None]) -> None:
        try:
            self._client.post_update()
        except SwagentError as exc:  # the update is installed all the same
            hear("error", f"the post-update command failed: {exc.message}")


class _Talk:
    """One update on its connection: bytes go down as the installer takes them, its news come up meanwhile."""

    def __init__(
        self, connection: Ours, hear: Callable[[str, str], None], waiting: Callable[[], None]
    ) -> None:
        self._socket = socket.socket(fileno=socket.dup(connection.fileno()))
        self._socket.setblocking(False)
        self._hear = hear
        self._waiting = waiting
        self._rest = b""
        self._verdict: dict[str, Any] | None = None
        self._gone = False

    def __enter__(self) -> "_Talk":
        return self

    def __exit__(self, *problem: object) -> None:
        self._socket.close()

    def send(self, request: InstallRequest) -> None:
        """All bytes of an update; ends early when the installer does not want more."""
        buffer = memoryview(bytearray(PIECE_BYTES))
        while not self._is_over and (n := request.source.readinto(buffer)):
            piece = buffer[:n]
            while piece and not self._is_over:
                piece = piece[self._exchange(piece) :]
        if not self._is_over:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._gone = True

    def verdict(self) -> dict[str, Any]:
        """What became of it.

        Raises:
            TransportError: the installer is gone.
        """
        while self._verdict is None:
            if self._gone:
                raise TransportError("the installer ended before the update did", hint="see the daemon's log")
            self._exchange(None)
        return self._verdict

    @property
    def _is_over(self) -> bool:
        return self._verdict is not None or self._gone

    def _exchange(self, piece: memoryview | None) -> int:
        """Wait for something to happen; how many bytes were taken."""
        self._waiting()
        wanted = [self._socket] if piece is not None else []
        readable, writable, _ = select.select([self._socket], wanted, [], TICK_S)
        if readable:
            self._read()
        if writable and piece is not None and not self._is_over:
            try:
                return self._socket.send(piece)
            except BlockingIOError:
                return 0
            except OSError:  # it wants no more; why, is still to be read
                self._drain()
        return 0

    def _drain(self) -> None:
        until = VERDICT_S
        while not self._is_over and until > 0:
            if select.select([self._socket], [], [], TICK_S)[0]:
                self._read()
            until -= TICK_S
        self._gone = True

    def _read(self) -> None:
        try:
            data = self._socket.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise TransportError("the installer's news have no end")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        from .agent import read_json

        event = read_json(line)
        if not isinstance(event, dict):
            raise TransportError(f"the installer's news are no JSON: {line[:80]!r}")
        name, message = event.get("event"), event.get("message", "")
        if name == "update.verdict":
            self._verdict = event
        elif name == "log":
            self._hear(str(event.get("level", "info")), str(message))
        elif name in ("artifact.done", "artifact.failed", "artifact.skipped", "script.done", "script.failed"):
            what = f"{event.get('artifact', '')}: {str(name).partition('.')[2]}"
            self._hear("info", f"{what} ({event['reason']})" if event.get("reason") else what)


def _error(verdict: dict[str, Any]) -> SwagentError:
    """The error that a verdict tells, as one of ours."""
    told = verdict.get("error")
    told = told if isinstance(told, dict) else {}
    message = str(told.get("message") or verdict.get("message") or "the update failed")
    kind = getattr(errors, str(told.get("class", "")), SwagentError)
    artifact = told.get("artifact")
    hint = str(told.get("hint", ""))
    if not (isinstance(kind, type) and issubclass(kind, SwagentError)):
        kind = SwagentError
    if issubclass(kind, TransportError | DeadlineError):
        kind = SwagentError  # of a server that the installer asked: begun again, it would fail again
    try:
        return kind(message, hint=hint, artifact=artifact if isinstance(artifact, str) else None)
    except TypeError:  # it wants to know more
        return SwagentError(message, hint=hint)
