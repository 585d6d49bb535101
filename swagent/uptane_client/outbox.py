"""Events for a back end, kept until it has them: what aktualizr calls its report queue (uptane §6)."""

import json
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from swagent.clock import Clock
from swagent.errors import DeadlineError, TransportError
from swagent.uptane.codecs.base import write_time

from .vehicle import Vehicle

BATCH = 100
VERSION = 0
"""Of every type of event, as aktualizr numbers them."""


class EventServer(Protocol):
    """Takes events."""

    def post_events(self, bodies: Sequence[str]) -> int:
        """Hand in a batch; returns the status of the answer.

        Raises:
            TransportError, DeadlineError: there is no answer.
        """
        ...


class Outbox:
    """Keeps events in the vehicle's memory, and hands them in.

    Args:
        vehicle: the memory.
        server: where they go.
        clock: for their times.
        random: for their identifiers.
        log: hears of what was dropped, and of a server that takes nothing: level and line.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        server: EventServer,
        clock: Clock,
        random: Callable[[int], bytes],
        log: Callable[[str, str], None],
    ) -> None:
        self._vehicle = vehicle
        self._server = server
        self._clock = clock
        self._random = random
        self._log = log
        self._fails = False

    def begin(self) -> None:
        """A server that took nothing gets another chance."""
        self._fails = False

    def put(
        self,
        kind: str,
        *,
        ecu: str = "",
        correlation: str = "",
        success: bool | None = None,
        campaign: str = "",
    ) -> None:
        """Keep an event; what is empty is left out of it."""
        facts = {"ecu": ecu, "correlationId": correlation, "campaignId": campaign}
        event: dict[str, object] = {name: value for name, value in facts.items() if value}
        if success is not None:
            event["success"] = success
        body = {
            "id": str(UUID(bytes=self._random(16), version=4)),
            "deviceTime": write_time(int(self._clock.now_s())),
            "eventType": {"id": kind, "version": VERSION},
            "event": event,
        }
        self._vehicle.keep_event(json.dumps(body))

    def deliver(self) -> None:
        """Hand in what is kept; what is not taken stays for the next time."""
        most = BATCH
        while not self._fails and (waiting := self._vehicle.events(most)):
            try:
                status = self._server.post_events([each.body for each in waiting])
            except (TransportError, DeadlineError) as exc:
                self._failed(exc.message)
                return
            if status == 413 and len(waiting) > 1:
                most = len(waiting) // 2
                continue
            if status == 413:
                self._log("warn", "the server takes no event of this size; it is dropped")
            elif status == 404:
                self._log("info", "the server takes no events; they are dropped")
            elif not 200 <= status < 300:
                self._failed(f"the server answers {status}")
                return
            self._vehicle.forget_events(waiting[-1].number)
            most = BATCH

    def _failed(self, why: str) -> None:
        self._fails = True
        self._log("warn", f"events were not delivered, they follow later: {why}")
