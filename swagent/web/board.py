"""What is going on now, for those who come later: the news of the last update that are still worth something."""

from collections import OrderedDict
from itertools import islice

from .link import Facts

LOGS_MAX = 500
EVENTS_MAX = 2000


class Board:
    """Keeps the events of one update: the first ones, the last progress of each artifact, the last log lines."""

    def __init__(self) -> None:
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._events: OrderedDict[int, Facts] = OrderedDict()
        self._progress: dict[tuple[str, str], int] = {}
        self._logs = 0

    def pin(self, event: Facts) -> None:
        """Take the next event; the first of an update clears the board."""
        name = str(event.get("event", ""))
        if name == "update.started":
            self._clear()
        self._number += 1
        if name.endswith(".progress"):
            key = (name, str(event.get("artifact", "")))
            self._events.pop(self._progress.get(key, 0), None)
            self._progress[key] = self._number
        elif name == "log":
            self._logs += 1
        self._events[self._number] = event
        if self._logs > LOGS_MAX:
            self._drop("log")
            self._logs -= 1
        while len(self._events) > EVENTS_MAX:
            self._events.popitem(last=False)

    def events(self) -> list[Facts]:
        """What was said, oldest first."""
        return list(self._events.values())

    def _drop(self, name: str) -> None:
        oldest = next(islice((n for n, e in self._events.items() if e.get("event") == name), 1), None)
        if oldest is not None:
            del self._events[oldest]
