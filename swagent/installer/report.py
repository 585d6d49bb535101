"""How a session's findings read as facts of events (docs/reference/events.md)."""

from swagent.errors import SwagentError
from swagent.events import Event
from swagent.model import Planned


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
    return {
        "result": result,
        "exit_code": exc.exit_code,
        "error": {
            "class": type(exc).__name__,
            "message": exc.message,
            "hint": exc.hint,
            "artifact": exc.artifact,
            "handler": exc.handler,
        },
        "next": exc.hint,
    }


def row(planned: Planned) -> dict[str, object]:
    """One entry of the plan."""
    return {
        "artifact": planned.artifact.label,
        "handler": planned.artifact.type,
        "fate": planned.fate.value,
        "reason": planned.reason,
        "target": planned.needs.target if planned.needs else "",
        "bytes": planned.needs.write_bytes if planned.needs else None,
    }
