"""What the present update, or the last one, has told so far: for listeners that come later."""

from swagent.events import Event

EVENTS_MAX = 1000


class Recall:
    """Keeps the events of one update; of progress only the newest, and when there are too many, log lines go first."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def note(self, event: Event) -> None:
        """Keep an event."""
        if event.event == "update.started":
            self._events.clear()
        last = self._events[-1] if self._events else None
        if (
            last is not None
            and event.is_progress
            and (last.event, last.artifact) == (event.event, event.artifact)
        ):
            self._events[-1] = event
            return
        self._events.append(event)
        if len(self._events) > EVENTS_MAX:
            logs = (index for index, each in enumerate(self._events) if each.event == "log")
            del self._events[next(logs, 1)]

    def events(self) -> list[Event]:
        """All that is kept, in order."""
        return list(self._events)
