"""A cycle as lines for people."""

from typing import TextIO

from swagent.events import Event

from .units import clean, size


class Lines:
    """Writes what matters of a cycle, a line each.

    Args:
        out: where to.
        chatty: whether notes are written too, as services do.
    """

    def __init__(self, out: TextIO, *, chatty: bool = False) -> None:
        self._out = out
        self._levels = ("error", "warn", "info") if chatty else ("error", "warn")

    def show(self, event: Event) -> None:
        """Write one event, if it is for people."""
        if event.event == "log" and event.facts.get("level") in self._levels:
            level = event.facts["level"]
            self._write(event.message if level == "info" else f"{level}: {event.message}")
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
