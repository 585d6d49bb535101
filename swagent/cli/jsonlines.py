"""News as JSON, one object a line, for ``--json``; the schema is docs/reference/events.md."""

from collections.abc import Mapping
from typing import Any, TextIO

from swagent.authdb.codes import code_of
from swagent.events import Event

from .units import seconds_since, utc


def as_object(event: Event) -> dict[str, Any]:
    """The event as a JSON object: who and when, then what it concerns, then the facts of its kind."""
    out: dict[str, Any] = {"event": event.event, "time": utc(event.time_s), "session": event.session}
    if event.artifact:
        out["artifact"] = event.artifact
    if event.handler:
        out["handler"] = event.handler
    if event.event.startswith("artifact."):
        out["bytes"] = event.done_bytes
        out["total"] = event.total_bytes
    if event.steps:
        out["step"] = event.step
        out["steps"] = event.steps
    code = code_of(event)
    if code is not None:
        out["code"] = code
    if event.message:
        out["message"] = event.message
    for key, value in event.facts.items():
        out.setdefault(key, value)
    return out


def line(event: Event) -> str:
    """One line without its end; ASCII only, so that no encoding and no odd byte of a name can break it."""
    from json import dumps

    return dumps(as_object(event), allow_nan=False, default=str)


def event_of(told: Mapping[str, Any]) -> Event:
    """The event that such an object tells; what does not have the type that it must have is left out."""
    known = {
        "event",
        "time",
        "session",
        "artifact",
        "handler",
        "bytes",
        "total",
        "step",
        "steps",
        "code",
        "message",
    }

    def number(key: str) -> int:
        value = told.get(key)
        return value if isinstance(value, int) else 0

    total = told.get("total")
    return Event(
        str(told.get("event", "")),
        time_s=seconds_since(str(told.get("time", ""))),
        session=str(told.get("session", "")),
        artifact=str(told.get("artifact", "")),
        handler=str(told.get("handler", "")),
        done_bytes=number("bytes"),
        total_bytes=total if isinstance(total, int) else None,
        step=number("step"),
        steps=number("steps"),
        message=str(told.get("message", "")),
        facts={key: value for key, value in told.items() if key not in known},
    )


class JsonLines:
    """Writes each event as one line, at once.

    Args:
        out: where to; when it goes away the update goes on without it.
    """

    def __init__(self, out: TextIO) -> None:
        self._out: TextIO | None = out

    def show(self, event: Event) -> None:
        """Write one event."""
        if self._out is None:
            return
        try:
            self._out.write(line(event) + "\n")
            self._out.flush()
        except (OSError, ValueError):  # ValueError: the file was closed
            self._out = None

    def close(self) -> None:
        """Nothing is kept back, so there is nothing to do."""
