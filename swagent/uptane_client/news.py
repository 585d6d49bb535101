"""What a Primary tells whoever listens, cycle by cycle."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from swagent.clock import Clock
from swagent.errors import SwagentError
from swagent.events import Event, EventBus


class News:
    """Publishes events; those of one cycle carry one session.

    Args:
        bus: hears of them.
        clock: for times.
        random: for the names of sessions.
    """

    def __init__(self, bus: EventBus, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._bus = bus
        self._clock = clock
        self._random = random
        self.begin()

    def begin(self) -> None:
        """A new session."""
        self._session = self._random(6).hex()
        self._started_s = self._clock.monotonic_s()

    def tell(
        self,
        event: str,
        artifact: str = "",
        total_bytes: int | None = None,
        done_bytes: int = 0,
        *,
        message: str = "",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Publish an event."""
        self._bus.publish(
            Event(
                event,
                time_s=self._clock.now_s(),
                session=self._session,
                artifact=artifact,
                done_bytes=done_bytes,
                total_bytes=total_bytes,
                message=message,
                facts=facts or {},
            )
        )

    def log(self, level: str, message: str) -> None:
        """Publish a line."""
        self.tell("log", message=message, facts={"level": level})

    def happened(
        self,
        name: str,
        *,
        ecu: str = "",
        artifact: str = "",
        success: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Publish a step that is done, by aktualizr's name of it (uptane §6)."""
        facts = {"name": name, "ecu": ecu, "success": success, **(more or {})}
        self.tell("uptane", artifact, facts=facts)

    @contextmanager
    def completing(self, name: str) -> Iterator[dict[str, object]]:
        """Publish such a step when the block ends, well or not; with what the block says of it."""
        more: dict[str, object] = {}
        try:
            yield more
        except SwagentError:
            self.happened(name, success=False)
            raise
        self.happened(name, more=more)

    def verdict(self, message: str, facts: Mapping[str, object]) -> None:
        """Publish what the session came to."""
        seconds = round(self._clock.monotonic_s() - self._started_s, 3)
        self.tell("update.verdict", message=message, facts={**facts, "seconds": seconds})
