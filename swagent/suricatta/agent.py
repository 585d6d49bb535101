"""The loop around a backend: ask, do what is said, wait; and listen to local clients all the time."""

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from swagent.clock import Clock
from swagent.errors import Cancelled, SwagentError

from .api import Backend, Log, Order, Orders, Reply

ENABLE = 2
RETRY_S, RETRY_DOUBLINGS = 10.0, 5
TICK_S = 0.2


class Agent:
    """Keeps a backend going until somebody wants the end.

    Args:
        orders: of local clients.
        clock: for waiting.
        log: hears what goes wrong.
        stopped: asked all the time whether to end.
        enabled: whether the server is asked; a local client may change that.
        retry_s: how long to wait after the first error of several.
    """

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        log: Log,
        stopped: Callable[[], bool],
        *,
        enabled: bool = True,
        retry_s: float = RETRY_S,
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._log = log
        self._stopped = stopped
        self._enabled = enabled
        self._retry_s = retry_s
        self._triggered = False
        self._backend: Backend | None = None
        self._kept: deque[Order] = deque()

    def run(self, backend: Backend) -> None:
        """Ask again and again. Errors are told, and lead to another attempt; ever later, but never later than usual."""
        self._backend = backend
        failures = 0
        wait_s = 0.0
        while not self._wait(wait_s):
            if not (self._enabled or self._triggered):
                wait_s = float("inf")
                continue
            self._triggered = False
            try:
                wait_s = backend.step()
                failures = 0
            except Cancelled:
                if self._stopped():
                    return
                raise
            except SwagentError as exc:
                failures += 1
                wait_s = self._retry_s * 2 ** min(failures - 1, RETRY_DOUBLINGS)
                hint = f" ({exc.hint})" if exc.hint else ""
                self._log("error", f"{exc.message}{hint}; the next attempt follows in {wait_s:.0f} s")

    def waiting(self) -> None:
        """Something lasts: answer what can be answered meanwhile.

        Raises:
            Cancelled: somebody wants the end.
        """
        if self._stopped():
            raise Cancelled("stopped; what was begun is done again by the next start")
        while (order := self._orders.take(0)) is not None:
            self._handle(order, between=False)

    def _wait(self, seconds: float) -> bool:
        """Wait, unless somebody wants something sooner; whether somebody wants the end."""
        until_s = self._clock.monotonic_s() + seconds
        while self._kept:
            self._handle(self._kept.popleft(), between=True)
        while not self._stopped():
            left_s = until_s - self._clock.monotonic_s()
            if self._triggered or left_s <= 0:
                return False
            was_enabled = self._enabled
            order = self._orders.take(min(left_s, TICK_S))
            if order is not None:
                self._handle(order, between=True)
            if self._enabled and not was_enabled:
                return False
        return True

    def _handle(self, order: Order, *, between: bool) -> None:
        reply = self._switch(order) if order.number == ENABLE else None
        if reply is None and self._backend is not None:
            reply = self._backend.order(order)
            if reply is None and not between:
                self._kept.append(order)  # it needs the server, which is being talked to
                return
            if reply is None:
                reply = self._backend.order_between(order)
        reply = reply or Reply(is_ack=False)
        self._orders.answer(reply)
        self._triggered = self._triggered or reply.wakes

    def _switch(self, order: Order) -> Reply:
        tree = read_json(order.data)
        if tree is None:
            return Reply(is_ack=False)
        if isinstance(tree, dict):
            if isinstance(tree.get("enable"), bool):
                self._enabled = tree["enable"]
            if tree.get("trigger") is True:
                self._triggered = True
        return Reply(is_ack=True)


def read_json(data: bytes) -> Any:
    """What a JSON text says, None when it is none (or ``null``)."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
