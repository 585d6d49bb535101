"""The end that has the artifact."""

from collections.abc import Callable

from swagent.clock import Clock, SystemClock
from swagent.errors import DeadlineError, TransportError

from .protocol import (
    MESSAGE_BYTES_MAX,
    START_REPLY_MS,
    address,
    data_frames,
    init_frames,
    read_reply,
    require_library,
)

TICK_MS = 100
"""How long is waited before somebody is asked whether to go on."""


class Sender:
    """Hands one artifact to a program; a context manager.

    Args:
        path: of the program's socket.
        reply_ms: how long its answers may take until one says otherwise.
        budget_s: how long it may take in all; only time spent waiting for it counts.
        waiting: called again and again while nothing comes; may raise to stop.
        clock: for both.

    Raises:
        RegistrationError: pyzmq is not installed.
        SettingsError: no socket can be at ``path``.
    """

    def __init__(
        self,
        path: str,
        *,
        reply_ms: int = START_REPLY_MS,
        budget_s: float = 3600.0,
        waiting: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._address = address(path)
        self._reply_ms = reply_ms
        self._budget_s = budget_s
        self._waiting = waiting
        self._clock = clock or SystemClock()
        self._waited_s = 0.0
        self._sent_bytes = 0
        require_library()
        import zmq

        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)  # what nobody fetched must not keep us
        self._socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing behind: socket, thread and descriptors."""
        self._socket.close()
        self._context.term()

    def begin(self, size_bytes: int) -> None:
        """Announce an artifact.

        Raises:
            HandlerError: the program refuses.
            DeadlineError: it does not answer, or nobody is there: connecting does not tell.
            TransportError: it answers with nonsense.
        """
        import zmq

        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as exc:
            raise TransportError(f"cannot connect to {self._address}: {exc.strerror}") from exc
        self._exchange(init_frames(size_bytes), f"{self._address}, INIT:{size_bytes}")

    def send(self, chunk: bytes | memoryview) -> None:
        """Hand over the next bytes, at most ``CHUNK_BYTES_MAX``.

        Raises:
            SwagentError: as ``begin``.
        """
        self._exchange(data_frames(bytes(chunk)), f"{self._address}, DATA from byte {self._sent_bytes}")
        self._sent_bytes += len(chunk)

    def _exchange(self, request: list[bytes], where: str) -> None:
        import zmq

        until_s = self._clock.monotonic_s() + self._reply_ms / 1000
        try:
            self._wait(zmq.POLLOUT, until_s, where)
            self._socket.send_multipart(request, zmq.NOBLOCK)
            self._wait(zmq.POLLIN, until_s, where)
            answer = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.ZMQError as exc:
            raise TransportError(f"{where}: {exc.strerror}") from exc
        self._reply_ms = read_reply(answer, where) or self._reply_ms

    def _wait(self, what: int, until_s: float, where: str) -> None:
        from_s = self._clock.monotonic_s()
        budget_until_s = from_s + self._budget_s - self._waited_s
        while True:
            now_s = self._clock.monotonic_s()
            left_ms = max(0, int((min(until_s, budget_until_s) - now_s) * 1000))
            if self._socket.poll(min(left_ms, TICK_MS), what):
                break
            self._waiting()
            if left_ms == 0:
                raise self._late(where, over_budget=budget_until_s < until_s)
        self._waited_s += self._clock.monotonic_s() - from_s

    def _late(self, where: str, *, over_budget: bool) -> DeadlineError:
        if over_budget:
            return DeadlineError(
                f"{where}: the program took more than {self._budget_s:g} s in all",
                hint="the property deadline allows more",
            )
        return DeadlineError(
            f"{where}: no answer within {self._reply_ms} ms",
            hint="is the program running? it can ask for more time with ACK:<milliseconds>",
        )
