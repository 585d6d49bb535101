"""Those who listen: each gets every message, none is waited for."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

QUEUE_MAX = 512
"""So many messages may lie in wait for a listener, beside what the kernel keeps; then it is dropped."""
_TICK_S = 0.02


class Listener:
    """One connected listener.

    Each message is given to the kernel with one call, as SWUpdate's clients read them with one. A message that makes
    the last one in the queue worthless takes its place.

    Args:
        sock: connected; closed with the listener.
        watch: drop what it says, and notice when it hangs up; not for a socket that somebody else reads.
    """

    def __init__(self, sock: socket.socket, *, watch: bool) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[bytes, str]] = deque()
        self._cut = False  # the first in the queue is the rest of a message
        self.closed: asyncio.Future[str] = self._loop.create_future()
        """Done when it is over; the value says why."""
        if watch:
            self._loop.add_reader(sock, self._heard)

    def offer(self, data: bytes, *, replaces: str = "") -> None:
        """Send a message, now or later.

        Args:
            data: the message.
            replaces: messages of the same word make each other worthless; "" for none.
        """
        if self.closed.done():
            return
        if not self._queue:
            self._queue.append((data, replaces))
            self._flush()
            if self._queue:
                self._loop.add_writer(self._sock, self._flush)
        elif replaces and self._queue[-1][1] == replaces and not (self._cut and len(self._queue) == 1):
            self._queue[-1] = (data, replaces)
        elif len(self._queue) < QUEUE_MAX:
            self._queue.append((data, replaces))
        else:
            self.close("it was too slow")

    async def drained(self) -> None:
        """Wait until the kernel has everything, or the listener is closed."""
        while self._queue:
            await asyncio.sleep(_TICK_S)

    def close(self, why: str) -> None:
        """Hang up."""
        if self.closed.done():
            return
        self.closed.set_result(why)
        self._queue.clear()
        self._loop.remove_writer(self._sock)
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _flush(self) -> None:
        while self._queue:
            data, replaces = self._queue[0]
            try:
                sent = self._sock.send(data, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self.close(exc.strerror or "it broke")
                return
            self._cut = sent < len(data)
            if self._cut:
                self._queue[0] = (data[sent:], replaces)
                return
            self._queue.popleft()
        self._loop.remove_writer(self._sock)

    def _heard(self) -> None:
        try:
            if self._sock.recv(4096):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.close("it hung up")


class Fanout:
    """All listeners of one kind.

    Args:
        greeting: gives the messages that each gets first.
        listeners_max: more are not let in.
    """

    def __init__(self, greeting: Callable[[], Iterable[bytes]] = tuple, listeners_max: int = 1000) -> None:
        self._greeting = greeting
        self._listeners_max = listeners_max
        self._listeners: set[Listener] = set()

    def __len__(self) -> int:
        return len(self._listeners)

    async def serve(self, server: socket.socket) -> None:
        """Let listeners in, until cancelled."""
        try:
            while True:
                sock = await accept(server)
                if len(self._listeners) < self._listeners_max:
                    self.add(Listener(sock, watch=True))
                else:
                    sock.close()
        finally:
            for listener in list(self._listeners):
                listener.close("the daemon ends")

    def add(self, listener: Listener) -> None:
        """From now on it gets every message."""
        self._listeners.add(listener)
        listener.closed.add_done_callback(lambda _: self._listeners.discard(listener))
        for data in self._greeting():
            listener.offer(data)

    def tell(self, data: bytes, *, replaces: str = "") -> None:
        """Send a message to all."""
        for listener in list(self._listeners):
            listener.offer(data, replaces=replaces)

    async def drained(self, deadline_s: float) -> None:
        """Wait until all have what was sent, for some time at most."""
        try:
            async with asyncio.timeout(deadline_s):
                for listener in list(self._listeners):
                    await listener.drained()
        except TimeoutError:
            return


async def accept(server: socket.socket) -> socket.socket:
    """The next connection."""
    while True:
        await _readable(
            server
        )  # not sock_accept: one that comes while we are cancelled ends in a traceback there
        try:
            sock, _ = server.accept()
        except (BlockingIOError, InterruptedError):
            continue
        except OSError:  # too many files are open, here or in the system; or the peer has gone already
            await asyncio.sleep(0.2)
            continue
        sock.setblocking(False)
        return sock


async def _readable(server: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(server.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(server.fileno())


def drop_what_comes(connection: socket.socket) -> None:
    """Take no more; what lies there unread would make the other side's end a broken connection."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
        while connection.recv(64 * 1024):
            pass
