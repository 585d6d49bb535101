"""A network between a client and a server that can be cut: without a word, as by a pulled plug, or with one."""

import contextlib
import selectors
import socket
import threading

_PIECE_BYTES = 1 << 16


class Cable:
    """Listens on a port of its own, and carries every connection to ``port``.

    Args:
        port: of the server behind it.

    Attributes:
        port: what clients connect to.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._is_silent = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def pull(self) -> None:
        """From now on nothing passes, and nobody is told: what is sent is never acknowledged by the other side."""
        self._is_silent = True

    def plug_in(self) -> None:
        """New connections pass again; the old ones are reset, as routers do that have forgotten them."""
        with self._lock:
            self._drop_all()
            self._is_silent = False

    def close(self) -> None:
        """The end."""
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._drop_all()
        self._door.close()

    def __enter__(self) -> "Cable":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _drop_all(self) -> None:
        for end in self._pairs:
            end.close()
        self._pairs.clear()

    def _work(self) -> None:
        while not self._ended.is_set():
            if self._is_silent:
                self._ended.wait(0.02)
                continue
            with self._lock, selectors.DefaultSelector() as waiting:
                waiting.register(self._door, selectors.EVENT_READ)
                for end in self._pairs:
                    waiting.register(end, selectors.EVENT_READ)
                for key, _ in waiting.select(0.01):
                    self._carry(key.fileobj)

    def _carry(self, end: object) -> None:
        if end is self._door:
            near = self._door.accept()[0]
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except ConnectionRefusedError:
                near.close()
                return
            self._pairs[near], self._pairs[far] = far, near
            return
        assert isinstance(end, socket.socket)
        other = self._pairs.get(end)
        if other is None:
            return
        try:
            data = end.recv(_PIECE_BYTES)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (end, other):
                self._pairs.pop(one, None)
                with contextlib.suppress(OSError):
                    one.close()
