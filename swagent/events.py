"""News: what happens during an update, for whoever listens (docs/reference/events.md is the schema).

Events rise from the installer to doors. Names come in triples ``*.started``, ``*.progress`` and ``*.done`` or
``*.failed`` (or ``*.skipped``); the last event of a session is ``update.verdict``.
"""

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .errors import LocallyAborted, SwagentError, UptaneError


class Event(NamedTuple):
    """One piece of news.

    Attributes:
        event: its name, such as ``artifact.progress``.
        time_s: seconds since the epoch.
        session: identifier of the session it belongs to.
        artifact: archive member concerned, "" if none.
        handler: handler at work, "" if none.
        done_bytes: bytes handled so far (bytes that reach the target, so decompressed ones).
        total_bytes: bytes expected, None when nobody knows.
        step: number of the present step, from 1; 0 outside of steps.
        steps: number of steps of the whole update; 0 before it is planned.
        message: a sentence for people.
        facts: further keys of this event's kind; values are JSON scalars, lists or objects.
    """

    event: str
    time_s: float = 0.0
    session: str = ""
    artifact: str = ""
    handler: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    step: int = 0
    steps: int = 0
    message: str = ""
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def is_progress(self) -> bool:
        """Whether a later event of the same kind makes this one worthless."""
        return self.event.endswith(".progress")


class Subscription:
    """One listener's queue: in order; progress is merged, log lines are dropped when it is full, ends never are."""

    def __init__(
        self, wake: Callable[[], None] | None, wanted: Callable[[Event], bool] | None, max_events: int
    ) -> None:
        self._lock = allocate_lock()
        self._events: deque[Event] = deque()
        self._wake = wake
        self._wanted = wanted
        self._max_events = max_events
        self.dropped = 0
        """How many log lines were dropped."""

    def offer(self, event: Event) -> None:
        """Queue an event; never blocks on the listener and never raises."""
        if self._wanted is not None and not self._wanted(event):
            return
        with self._lock:
            last = self._events[-1] if self._events else None
            if (
                last is not None
                and event.is_progress
                and (last.event, last.artifact) == (event.event, event.artifact)
            ):
                self._events[-1] = event
            elif event.event == "log" and len(self._events) >= self._max_events:
                self.dropped += 1
                return
            else:
                self._events.append(event)
        if self._wake is not None:
            try:
                self._wake()
            except Exception:  # noqa: BLE001 - a listener must not be able to stop an update
                self._wake = None

    def take(self) -> list[Event]:
        """All queued events, oldest first; empty when there are none."""
        with self._lock:
            taken = list(self._events)
            self._events.clear()
        return taken


class EventBus:
    """Hands each event to every subscription, in the order of publishing; thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._subscriptions: list[Subscription] = []

    def subscribe(
        self,
        wake: Callable[[], None] | None = None,
        *,
        wanted: Callable[[Event], bool] | None = None,
        max_events: int = 1000,
    ) -> Subscription:
        """Start listening.

        Args:
            wake: called from the publisher's thread after each event; must only signal.
            wanted: picks the events to queue, from the publisher's thread; None for all.
            max_events: how many unread events are kept before log lines are dropped.
        """
        subscription = Subscription(wake, wanted, max_events)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening; unknown subscriptions are ignored."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.offer(event)


def refused_early(exc: SwagentError, *, now_s: float) -> Event:
    """The verdict on an update that was refused before there was a session."""
    return Event(
        "update.verdict",
        time_s=now_s,
        message=exc.message,
        facts={**verdict_facts(exc, "refused"), "seconds": 0.0},
    )


def verdict_facts(exc: SwagentError, result: str) -> dict[str, object]:
    """What the verdict says of an error."""
    error: dict[str, object] = {
        "class": type(exc).__name__,
        "message": exc.message,
        "hint": exc.hint,
        "artifact": exc.artifact,
        "handler": exc.handler,
    }
    if isinstance(exc, UptaneError):
        error |= {
            "name": exc.aktualizr,
            "repository": exc.repository,
            "role": exc.role,
            "attack": exc.attack,
            "expected": exc.expected,
            "found": exc.found,
        }
    elif isinstance(exc, LocallyAborted):
        error["name"] = exc.aktualizr
    return {"result": result, "exit_code": exc.exit_code, "error": error, "next": exc.hint}
