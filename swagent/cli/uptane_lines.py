"""A cycle as lines for people."""

from typing import TextIO

from swagent.events import Event

from .units import clean, size

_LEVELS = ("error", "warn")


class Lines:
    """Writes what matters of a cycle, a line each.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        """Write one event, if it is for people."""
        if event.event == "log" and event.facts.get("level") in _LEVELS:
            self._write(f"{event.facts['level']}: {event.message}")
        elif event.event == "artifact.done" and event.total_bytes is not None:
            self._write(f"{event.artifact}   {size(event.total_bytes)}   verified")
        elif event.event == "update.verdict" and event.facts.get("exit_code") == 0:
            follows = event.facts.get("next")
            self._write(f"{event.facts.get('result')}{f' - {follows}' if follows else ''}")

    def close(self) -> None:
        """Nothing is kept back."""

    def _write(self, line: str) -> None:
        self._out.write(clean(line) + "\n")
        self._out.flush()
