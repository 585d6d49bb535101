"""The end that installs the artifact: for programs that SWUpdate's or our handler ``remote`` talks to."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from swagent.clock import Clock, SystemClock
from swagent.errors import DeadlineError, DeviceError, HandlerError, SwagentError, TransportError

from .client import TICK_MS
from .protocol import (
    MESSAGE_BYTES_MAX,
    NACK,
    Init,
    ack_frame,
    address,
    read_request,
    require_library,
)


class Receiver(Protocol):
    """What an integrator writes. Each call may raise SwagentError or OSError: the sender is told NACK."""

    def begin(self, size_bytes: int) -> None:
        """An artifact of so many bytes comes. When this fails, nothing else is called."""
        ...

    def write(self, piece: bytes) -> None:
        """The next bytes of it."""
        ...

    def finish(self) -> None:
        """All of it has come: make it durable. The update only succeeds if this returns."""
        ...

    def abort(self) -> None:
        """The rest will not come, or ``write`` or ``finish`` failed."""
        ...


class Server:
    """Takes artifacts in, one after the other; a context manager.

    A sender is known by its connection: bytes of two senders are never mixed, and a new ``INIT`` ends what was begun.

    Args:
        path: where the socket is made; what is there must be a socket, and is replaced.
        receiver: does the work.
        reply_ms: tells the sender how long replies may take; 0 leaves it at 2 s.
        idle_s: how long a sender may be silent before its artifact is given up.
        mode: permissions of the socket; whoever may write it may install.
        clock: for ``idle_s``.

    Raises:
        RegistrationError: pyzmq is not installed.
        SettingsError: no socket can be at ``path``.
        DeviceError: there is something else, or it cannot be made.
    """

    def __init__(
        self,
        path: str,
        receiver: Receiver,
        *,
        reply_ms: int = 0,
        idle_s: float = 60.0,
        mode: int = 0o600,
        clock: Clock | None = None,
    ) -> None:
        self._receiver = receiver
        self._reply_ms = reply_ms
        self._idle_s = idle_s
        self._clock = clock or SystemClock()
        self._path = path
        self._made: int | None = None
        self._sender: bytes | None = None
        self._size_bytes = 0
        self._got_bytes = 0
        where = address(path)
        require_library()
        import zmq

        _refuse_what_is_no_socket(path)
        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)  # the last ACK shall still go out
        self._socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        old_umask = os.umask(~mode & 0o777)
        try:
            self._socket.bind(where)
            self._made = os.lstat(path).st_ino
        except zmq.ZMQError as exc:
            self.close()
            raise DeviceError(f"cannot listen on {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        finally:
            os.umask(old_umask)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and remove it; gives up what was begun."""
        self._give_up()
        with suppress(OSError):
            if self._made == os.lstat(self._path).st_ino:  # not that of a program after us
                os.unlink(self._path)
        self._socket.close()
        self._context.term()

    def receive(self, *, deadline_s: float | None = None, waiting: Callable[[], None] = lambda: None) -> int:
        """Wait for one artifact and take it in.

        Args:
            deadline_s: how long to wait for one to begin, None for ever.
            waiting: called again and again while nothing comes; may raise to stop.

        Returns:
            how many bytes it had.

        Raises:
            HandlerError: the receiver refused; the sender knows.
            TransportError: the sender talks nonsense, or sent more than it announced; it knows.
            DeadlineError: nothing began in time, or the sender fell silent.
        """
        limit_s = deadline_s
        try:
            while True:
                sender, frames = self._next(limit_s, waiting)
                if self._took(sender, frames):
                    return self._got_bytes
                limit_s = self._idle_s if self._sender is not None else deadline_s
        except BaseException:
            self._give_up()
            raise

    def _next(self, limit_s: float | None, waiting: Callable[[], None]) -> tuple[bytes, list[bytes]]:
        from_s = self._clock.monotonic_s()
        while not self._socket.poll(TICK_MS):
            waiting()
            if limit_s is not None and self._clock.monotonic_s() - from_s >= limit_s:
                told = f" after {self._got_bytes} of {self._size_bytes} bytes" if self._sender else ""
                raise DeadlineError(f"nothing came for {limit_s:g} s{told}")
        sender, *frames = self._socket.recv_multipart()
        return sender, frames[1:]  # the empty frame in front is REQ's

    def _took(self, sender: bytes, frames: list[bytes]) -> bool:
        """Do what a request wants and answer it; True when its artifact is complete."""
        try:
            request = read_request(frames)
            if sender != self._sender and not isinstance(request, Init):
                raise TransportError("the INIT of this sender did not come here, or somebody began after it")
        except TransportError:
            self._reply(sender, NACK)
            if sender == self._sender:
                raise
            return False  # it does not disturb the one who is sending
        try:
            if isinstance(request, Init):
                self._begin(sender, request.size_bytes)
            else:
                self._write(request.data)
            complete = self._got_bytes == self._size_bytes
            if complete:
                self._receiver.finish()
                self._sender = None
        except OSError as exc:
            self._reply(sender, NACK)
            raise HandlerError(f"the artifact cannot be taken in: {exc.strerror}") from exc
        except BaseException:
            self._reply(sender, NACK)
            raise
        self._reply(sender, ack_frame(self._reply_ms if isinstance(request, Init) else 0))
        return complete

    def _begin(self, sender: bytes, size_bytes: int) -> None:
        self._give_up()
        self._size_bytes, self._got_bytes = size_bytes, 0
        self._receiver.begin(size_bytes)
        self._sender = sender

    def _write(self, piece: bytes) -> None:
        if self._got_bytes + len(piece) > self._size_bytes:
            raise TransportError(
                f"more than the {self._size_bytes} bytes that were announced",
                hint="INIT counts bytes as stored: an artifact that is compressed there needs plain-size",
            )
        self._receiver.write(piece)
        self._got_bytes += len(piece)

    def _reply(self, sender: bytes, frame: bytes) -> None:
        self._socket.send_multipart([sender, b"", frame])  # a ROUTER drops what nobody waits for

    def _give_up(self) -> None:
        if self._sender is not None:
            self._sender = None
            with suppress(SwagentError, OSError):  # what made us give up is what matters
                self._receiver.abort()


def _refuse_what_is_no_socket(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as exc:
        raise DeviceError(f"cannot look at {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if not stat.S_ISSOCK(mode):
        raise DeviceError(f"{path} is there and no socket", path=path)
