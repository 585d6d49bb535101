"""A connection that never blocks: TCP, with TLS on top if wanted. A loop asks it what it waits for."""

import select
import socket
from typing import TYPE_CHECKING

from swagent.errors import TransportError

if TYPE_CHECKING:
    import ssl

READ_BYTES = 64 * 1024


class Channel:
    """One connection to a server.

    Args:
        host: name or address.
        port: of the server.
        tls: None for plain TCP.

    Attributes:
        ended: whether the other end has closed it.

    Raises:
        TransportError: the name cannot be resolved (asking for it may take as long as the resolver does).
    """

    def __init__(self, host: str, port: int, tls: "ssl.SSLContext | None") -> None:
        self.ended = False
        self._host = host
        self._tls = tls
        self._sock: socket.socket | None = None
        self._connected = False
        self._secured = tls is None
        self._wants = select.POLLOUT
        self._outgoing: list[memoryview] = []
        try:
            self._places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise TransportError(f"{host} cannot be found: {_reason(exc)}") from exc
        self._next_place("no address")

    def close(self) -> None:
        """Close it; what was not sent yet is dropped."""
        self._outgoing.clear()
        self._close_socket()

    def fileno(self) -> int:
        """For ``select``."""
        return self._sock.fileno() if self._sock is not None else -1

    @property
    def wants(self) -> int:
        """What to wait for, in the words of ``select.poll``."""
        if not self.is_open:
            return self._wants
        return select.POLLIN | (select.POLLOUT if self._outgoing else 0)

    @property
    def is_open(self) -> bool:
        """Whether bytes can go through."""
        return self._connected and self._secured

    @property
    def is_done(self) -> bool:
        """Whether everything was handed to the system, or nobody is there any more to take it."""
        return not self._outgoing or self.ended

    def send(self, data: bytes | memoryview) -> None:
        """Send it when that is possible; it must stay as it is until the channel is done."""
        if data:
            self._outgoing.append(memoryview(data))

    def advance(self) -> bytes:
        """Do what can be done now; returns what has come.

        Raises:
            TransportError: the connection broke, or never came about.
        """
        if not self._connected:
            self._finish_connecting()
        if self._connected and not self._secured:
            self._shake_hands()
        if not self.is_open:
            return b""
        self._write()
        return self._read()

    def _close_socket(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _next_place(self, why: str) -> None:
        """Try the host's next address."""
        self._close_socket()
        if not self._places:
            raise TransportError(f"cannot connect: {why}")
        family, kind, protocol, _, place = self._places.pop(0)
        try:
            self._sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
            self._sock.connect(place)
        except BlockingIOError:  # it is under way
            return
        except OSError as exc:
            self._next_place(_reason(exc))

    def _finish_connecting(self) -> None:
        assert self._sock is not None  # noqa: S101 - for the type checker: nobody advances a closed channel
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        if not poll.poll(0):
            return
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            import os

            self._next_place(os.strerror(error))
            return
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connected = True

    def _shake_hands(self) -> None:
        import ssl

        assert self._sock is not None and self._tls is not None  # noqa: S101 - for the type checker
        try:
            if not isinstance(self._sock, ssl.SSLSocket):
                self._sock = self._tls.wrap_socket(
                    self._sock, server_hostname=self._host, do_handshake_on_connect=False
                )
            self._sock.do_handshake()
            self._secured = True
        except ssl.SSLWantReadError:
            self._wants = select.POLLIN
        except ssl.SSLWantWriteError:
            self._wants = select.POLLOUT
        except ssl.SSLCertVerificationError as exc:
            raise TransportError(
                f"its certificate is not accepted: {exc.verify_message}",
                hint="name its authority with the property cafile; is the clock right?",
            ) from exc
        except (OSError, ValueError) as exc:  # ValueError: a name that no certificate can have
            raise TransportError(f"no TLS with it: {_reason(exc)}") from exc

    def _write(self) -> None:
        assert self._sock is not None  # noqa: S101 - for the type checker
        try:
            while self._outgoing:
                n = self._sock.send(self._outgoing[0])
                if n == len(self._outgoing[0]):
                    self._outgoing.pop(0)
                else:
                    self._outgoing[0] = self._outgoing[0][n:]
        except OSError as exc:
            if not _is_early(exc):
                self._outgoing.clear()  # what came before it broke is still to be read

    def _read(self) -> bytes:
        assert self._sock is not None  # noqa: S101 - for the type checker
        if self.ended:
            return b""
        try:
            data = self._sock.recv(READ_BYTES)
            if self._tls is not None:  # what TLS has unpacked already wakes nobody up
                while data and self._sock.pending():  # type: ignore[attr-defined]  # an SSLSocket
                    data += self._sock.recv(READ_BYTES)
        except OSError as exc:
            if _is_early(exc):
                return b""
            raise TransportError(f"the connection broke: {_reason(exc)}") from exc
        self.ended = not data
        return data


def _is_early(exc: OSError) -> bool:
    """Whether it only cannot be done yet."""
    if isinstance(exc, BlockingIOError):
        return True
    import ssl

    return isinstance(exc, ssl.SSLWantReadError | ssl.SSLWantWriteError)


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "strerror", None) or exc)
