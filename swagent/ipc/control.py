"""A client of the control socket: of swagent's daemon, and of SWUpdate's.

Plain and blocking; every call has a connection of its own, as the protocol wants it.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from swagent.errors import Busy, DeadlineError, NotAcknowledged, TransportError
from swagent.model import Reader

from .messages import (
    MESSAGE_BYTES,
    AesKeyText,
    Command,
    DeltaUrl,
    Message,
    Notification,
    Request,
    Revisions,
    Status,
    StatusReply,
    Type,
    Variable,
    VersionsRange,
    pack_ours,
    pack_state,
    unpack,
    unpack_ours,
    unpack_state,
)
from .places import CONTROL, socket_path

BUSY_TEXT = "Installation in progress"
PIECE_BYTES = 256 * 1024
LINE_BYTES_MAX = 4 * 1024 * 1024
REPLY_S = 60.0
CHILD_S = 60
BEGIN_S = 2.0


class ForeignDaemon(NotAcknowledged):
    """A daemon that does not know our own messages: SWUpdate's."""


class Connection:
    """One connection to a daemon's socket; a context manager.

    Args:
        path: of the socket.
        timeout_s: for connecting, and for each wait.

    Attributes:
        socket: the connected socket.

    Raises:
        TransportError: nobody listens there, or we may not.
    """

    def __init__(self, path: str, timeout_s: float | None) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(path)
        except OSError as exc:
            self.socket.close()
            raise TransportError(
                f"cannot connect to {path}: {exc.strerror or exc}",
                hint="does the daemon run, and may you use it?",
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def wait_for(self, timeout_s: float | None) -> None:
        """How long each wait may take from now on, None for ever."""
        self.socket.settimeout(timeout_s)

    def fileno(self) -> int:
        """The descriptor."""
        return self.socket.fileno()

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            TransportError: the daemon has gone.
            DeadlineError: it does not take it.
        """
        try:
            self.socket.sendall(data)
        except TimeoutError as exc:
            raise DeadlineError(f"{self.path} takes nothing any more") from exc
        except OSError as exc:
            raise TransportError(f"{self.path}: {exc.strerror}") from exc

    def end(self) -> None:
        """Nothing more is sent; what comes can still be read."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise TransportError(f"{self.path}: {exc.strerror}") from exc

    def receive(self, n_bytes: int) -> bytes:
        """Exactly so many bytes; fewer only when the daemon hangs up before.

        Raises:
            TransportError, DeadlineError: as ``send``.
        """
        data = bytearray()
        while len(data) < n_bytes:
            piece = self.receive_some(n_bytes - len(data))
            if not piece:
                break
            data += piece
        return bytes(data)

    def receive_some(self, n_bytes: int) -> bytes:
        """What there is, at most so many bytes; nothing at the end."""
        try:
            return self.socket.recv(n_bytes)
        except TimeoutError as exc:
            raise DeadlineError(f"{self.path} says nothing") from exc
        except OSError as exc:
            raise TransportError(f"{self.path}: {exc.strerror}") from exc

    def lines(self) -> Iterator[bytes]:
        """Lines until the daemon hangs up, without their ends.

        Raises:
            TransportError: a line is longer than ``LINE_BYTES_MAX``, or the last one was cut.
        """
        rest = b""
        while piece := self.receive_some(64 * 1024):
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise TransportError(f"{self.path}: a line has no end")
            yield from whole
        if rest:
            raise TransportError(f"{self.path}: the daemon hung up in the middle of a line")


class Upload(Connection):
    """An update that was accepted and is being sent: ``send`` its bytes, then ``close``."""

    def send_all(self, source: Reader) -> int:
        """Send all that a reader has; returns the number of bytes."""
        buffer = memoryview(bytearray(PIECE_BYTES))
        total = 0
        while n := source.readinto(buffer):
            self.send(buffer[:n])
            total += n
        return total


class Ours(Upload):
    """A connection that speaks our extension: bytes of an update down, lines of JSON up."""

    def events(self) -> Iterator[dict[str, Any]]:
        """What the daemon tells, until it hangs up.

        Raises:
            TransportError: it is not what it must be.
        """
        for line in self.lines():
            yield _object(line, self.path)


def events(path: str, *, patience_s: float | None = None) -> Iterator[dict[str, Any]]:
    """What the socket for events tells: the present or last update so far, then what comes, until the daemon ends.

    Args:
        path: of the socket.
        patience_s: how long nothing may come, None for ever.

    Raises:
        TransportError: nobody listens, or what comes is not what it must be.
        DeadlineError: nothing came.
    """
    with Ours(path, patience_s) as connection:
        yield from connection.events()


class ControlClient:
    """Says things to the daemon.

    Args:
        path: of its control socket; the usual place if not given.
        timeout_s: how long an answer may take.

    Every method raises:
        TransportError: nobody listens, or hangs up without an answer.
        DeadlineError: the answer takes too long.
        NotAcknowledged: the daemon says no.
    """

    def __init__(self, path: str | None = None, *, timeout_s: float = REPLY_S) -> None:
        self.path = path or socket_path(CONTROL, os.environ)
        self._timeout_s = timeout_s

    # -- messages

    def ask(self, message: Message, *, timeout_s: float | None = None) -> Message:
        """Send a message, return the answer, whatever it is."""
        with Connection(self.path, timeout_s or self._timeout_s) as connection:
            return _exchange(connection, message)

    def status(self) -> StatusReply:
        """How things stand; takes the oldest line of the log away."""
        return StatusReply.unpack(self._acknowledged(Message(Type.GET_STATUS)).body)

    def post_update(self, text: str = "", *, timeout_s: float | None = None) -> str:
        """Have the post-update command of the last update run; returns what the daemon says."""
        message = Message(Type.POST_UPDATE, Command(0, 0, text.encode()).pack())
        return self._acknowledged(message, timeout_s).text

    def command(self, origin: int, number: int, data: bytes = b"", *, timeout_s: int = 0) -> Command:
        """Have a child process do something.

        Args:
            origin: which one, an ``Origin``.
            number: of ``ChildCommand``.
            data: its argument, JSON.
            timeout_s: how long it may take, 0 for 60.
        """
        message = Message(Type.SWUPDATE_SUBPROCESS, Command(origin, number, data, timeout_s).pack())
        patience_s = (timeout_s or CHILD_S) + self._timeout_s
        return Command.unpack(self._acknowledged(message, patience_s).body)

    def set_aes_key(self, key: str, iv: str) -> None:
        """Key and initialization vector of encrypted images, in hex, until the daemon ends."""
        self._acknowledged(Message(Type.SET_AES_KEY, AesKeyText(key, iv).pack()))

    def update_state(self) -> str | None:
        """The digit of ``ustate``; ``4`` when the environment does not tell."""
        return unpack_state(self._acknowledged(Message(Type.GET_UPDATE_STATE)).body)

    def set_update_state(self, state: str) -> None:
        """Store a digit in ``ustate``."""
        self._acknowledged(Message(Type.SET_UPDATE_STATE, pack_state(state)))

    def set_versions_range(
        self, *, minimum: str = "", maximum: str = "", current: str = "", update_type: str = ""
    ) -> None:
        """Which versions are refused until the daemon ends: lower ones, higher ones, this very one."""
        body = VersionsRange(minimum, maximum, current, update_type).pack()
        self._acknowledged(Message(Type.SET_VERSIONS_RANGE, body))

    def hardware(self) -> Revisions:
        """Board and revision."""
        return Revisions.unpack(self._acknowledged(Message(Type.GET_HW_REVISION)).body)

    def variable(self, name: str, *, namespace: str = "") -> str:
        """A variable of a namespace."""
        message = Message(Type.GET_SWUPDATE_VARS, Variable(namespace, name).pack())
        return Variable.unpack(self._acknowledged(message).body).value

    def set_variable(self, name: str, value: str, *, namespace: str = "") -> None:
        """Store a variable; "" removes it."""
        self._acknowledged(Message(Type.SET_SWUPDATE_VARS, Variable(namespace, name, value).pack()))

    def set_delta_url(self, filename: str, url: str) -> None:
        """Where the next update finds a file."""
        self._acknowledged(Message(Type.SET_DELTA_URL, DeltaUrl(filename, url).pack()))

    def notifications(self, *, patience_s: float | None = None) -> Iterator[Notification]:
        """Lines of the log: those that are kept, then what comes, until the daemon ends.

        Args:
            patience_s: how long nothing may come, None for ever.
        """
        with Connection(self.path, self._timeout_s) as connection:
            _demand_ack(_exchange(connection, Message(Type.NOTIFY_STREAM)))
            connection.wait_for(patience_s)
            while len(data := connection.receive(MESSAGE_BYTES)) == MESSAGE_BYTES:
                message = unpack(data)
                if message.type == Type.NOTIFY_STREAM:
                    yield Notification.unpack(message.body)

    # -- updates

    def install(self, request: Request) -> Upload:
        """Begin an update; the caller sends its bytes and closes.

        Raises:
            Busy: another update runs.
        """
        connection = Upload(self.path, self._timeout_s)
        try:
            _demand_ack(_exchange(connection, Message(Type.REQ_INSTALL, request.pack())))
        except BaseException:
            connection.close()
            raise
        return connection

    def ours(self, order: Mapping[str, object], *, patience_s: float | None = None) -> Ours:
        """Begin one of our own exchanges (docs/reference/sockets.md).

        Args:
            order: the JSON object; ``do`` says what.
            patience_s: how long nothing may come afterwards, None for ever.

        Raises:
            Busy: another update runs.
        """
        connection = Ours(self.path, self._timeout_s)
        try:
            text = json.dumps(order).encode()
            try:
                body = pack_ours(text)
            except ValueError as exc:
                raise NotAcknowledged(f"the order is too long: {exc}") from exc
            reply = _exchange(connection, Message(Type.SWAGENT, body))
            if reply.type != Type.ACK:
                raise _refusal(reply)
            connection.wait_for(patience_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def ask_ours(self, order: Mapping[str, object]) -> dict[str, Any]:
        """Such an exchange that is one question and one answer."""
        with self.ours(order, patience_s=self._timeout_s) as connection:
            for answer in connection.events():
                return answer
        raise TransportError(f"{self.path}: the daemon hung up without an answer")

    def lines(self, *, interval_s: float = 0.5, deadline_s: float | None = None) -> Iterator[StatusReply]:
        """Lines of the log until the installer is idle, as SWUpdate's own clients wait; the last has the result."""
        from time import monotonic, sleep

        began_s = monotonic()
        seen = False
        while True:
            reply = self.status()
            idle = reply.current == Status.IDLE
            if idle and not (reply.text or seen) and monotonic() - began_s < BEGIN_S:
                idle = False  # SWUpdate's has acknowledged the update and not begun it
            elif reply.text or idle:
                yield reply
            if idle:
                return
            seen = seen or reply.current != Status.IDLE
            if not reply.text:
                if deadline_s is not None and monotonic() - began_s > deadline_s:
                    raise DeadlineError("the update takes too long")
                sleep(interval_s)

    def _acknowledged(self, message: Message, timeout_s: float | None = None) -> Message:
        return _demand_ack(self.ask(message, timeout_s=timeout_s))


def _exchange(connection: Connection, message: Message) -> Message:
    connection.send(message.pack())
    data = connection.receive(MESSAGE_BYTES)
    if len(data) < MESSAGE_BYTES:
        raise TransportError(f"{connection.path}: the daemon hung up without an answer")
    return unpack(data)


def _demand_ack(reply: Message) -> Message:
    if reply.type == Type.ACK:
        return reply
    text = "".join(c if c.isprintable() else " " for c in reply.text).strip()
    if text == BUSY_TEXT:
        raise Busy("another update is running")
    raise NotAcknowledged(f"the daemon says no: {text}" if text else "the daemon says no")


def _refusal(reply: Message) -> Exception:
    """The error that a NACK of ours tells; SWUpdate's own NACKs echo the order."""
    told = _object(unpack_ours(reply.body) or b"{}", "the daemon").get("error")
    if not isinstance(told, dict):
        return ForeignDaemon("the daemon does not know swagent's messages", hint="is it SWUpdate's?")
    kind = Busy if told.get("class") == "Busy" else NotAcknowledged
    return kind(str(told.get("message", "")), hint=str(told.get("hint", "")))


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise TransportError(f"{where}: not JSON: {line[:80]!r}") from exc
    if not isinstance(found, dict):
        raise TransportError(f"{where}: no JSON object: {line[:80]!r}")
    return dict(found)
