"""The container engine of the unit (docker, podman): HTTP over its unix socket, bounded in time and size."""

import io
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from swagent.errors import DeadlineError, TransportError

SOCKET = "/run/docker.sock"
ANSWER_BYTES_MAX = 4 * 1024 * 1024
_TICK_S = 0.1


class Engine:
    """Asks the engine, one connection a question.

    Args:
        path: of its socket.
        waiting: called while nothing moves; may raise to stop.
        timeout_s: how long it may take nothing of a request, and how long to answer once it has all.
    """

    def __init__(self, path: str, *, waiting: Callable[[], None], timeout_s: float) -> None:
        self._path = path
        self._waiting = waiting
        self._timeout_s = timeout_s

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: Iterable[bytes | memoryview] | None = None,
        size_bytes: int | None = None,
        content_type: str = "",
    ) -> tuple[int, bytes]:
        """One request and its answer.

        Args:
            method: of HTTP.
            target: path and query.
            body: pieces, each valid until the next is asked for. What it raises ends the connection in the middle of
                the request, which the engine then does not take for complete.
            size_bytes: of all pieces; None sends them chunked.
            content_type: of the body.

        Returns:
            Its status, and all of its body.

        Raises:
            TransportError: it is not there, breaks off, or answers what makes no sense.
            DeadlineError: it takes too long.
            SwagentError: whatever ``waiting`` or ``body`` raised.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        if size_bytes is not None:
            headers["Content-Length"] = str(size_bytes)
        connection = HTTPConnection("localhost")
        patient = _PatientSocket(self._waiting, self._timeout_s)
        connection.sock = patient  # all that it uses of a socket
        try:
            patient.connect(self._path)
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have said why it takes no more
                connection.request(method, target, body=body, headers=headers)
            patient.begin_answer()
            reply = connection.getresponse()
            found = reply.read(ANSWER_BYTES_MAX + 1)
        except TimeoutError as exc:
            raise DeadlineError(
                f"{self._path}: {method} {target} was not done within {self._timeout_s:g} s"
            ) from exc
        except OSError as exc:
            raise TransportError(
                f"{self._path}: {method} {target}: {exc.strerror or exc}",
                hint="is the container engine running, and this its socket (setting docker-socket)?",
            ) from exc
        except HTTPException as exc:
            reason = str(exc) or type(exc).__name__
            raise TransportError(
                f"{self._path}: the answer to {method} {target} makes no sense: {reason[:80]!r}"
            ) from exc
        finally:
            connection.close()
            patient.shut()
        if len(found) > ANSWER_BYTES_MAX:
            raise TransportError(
                f"{self._path}: the answer to {method} {target} has more than {ANSWER_BYTES_MAX} bytes"
            )
        if reply.length:  # what the header promised beyond that
            raise TransportError(f"{self._path}: the answer to {method} {target} broke off")
        return reply.status, found


class _PatientSocket:
    """A socket for ``http.client`` that waits in short steps, so that somebody can be asked between them."""

    def __init__(self, waiting: Callable[[], None], timeout_s: float) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._waiting = waiting
        self._timeout_s = timeout_s
        self._until_s = 0.0

    def connect(self, path: str) -> None:
        self._sock.settimeout(self._timeout_s)
        self._sock.connect(path)
        self._sock.settimeout(_TICK_S)

    def sendall(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            self._until_s = time.monotonic() + self._timeout_s
            rest = rest[self._patiently(self._sock.send, rest) :]

    def begin_answer(self) -> None:
        """From now on everything must come in time, not just something."""
        self._until_s = time.monotonic() + self._timeout_s

    def receive(self, buffer: memoryview) -> int:
        return self._patiently(self._sock.recv_into, buffer)

    def _patiently(self, move: Callable[[Any], int], data: memoryview) -> int:
        while time.monotonic() < self._until_s:
            try:
                return move(data)
            except TimeoutError:
                self._waiting()
        raise TimeoutError

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def close(self) -> None:
        """Not yet: the answer is read after ``http.client`` is done with the connection."""

    def shut(self) -> None:
        self._sock.close()


class _Reading(io.RawIOBase):
    """What comes from a socket, as a file."""

    def __init__(self, patient: _PatientSocket) -> None:
        self._patient = patient

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._patient.receive(buffer)
