"""How a session's findings read as facts of events (docs/reference/events.md)."""

from swagent.errors import SwagentError
from swagent.events import Event
from swagent.model import Fate, Hardware, Plan, Planned, Selection

from .context import SessionContext


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


def success_facts(result: str, plan: Plan, selection: Selection | None) -> dict[str, object]:
    """What the verdict says of an update that was installed, checked, or had nothing to do."""
    reboot = plan.description.reboot is not False and result == "installed"
    return {
        "result": result,
        "exit_code": 0,
        "error": None,
        "version": plan.description.version,
        "selection": str(selection) if selection else None,
        "next": "reboot to use it" if reboot else "",
    }


def tell_plan(
    ctx: SessionContext, plan: Plan, hardware: Hardware | None, selection: Selection | None
) -> None:
    """Publish what will be done, and what is skipped and why."""
    description = plan.description
    ctx.steps = plan.steps
    ctx.tell(
        "update.planned",
        facts={
            "version": description.version,
            "description": description.description,
            "hardware": str(hardware) if hardware else None,
            "selection": str(selection) if selection else None,
            "dry_run": ctx.dry_run,
            "reboot": description.reboot is not False,
            "entries": [row(planned) for planned in plan.entries],
            "scripts": [row(planned) for planned in plan.scripts],
        },
    )
    for planned in plan.entries:
        if planned.fate is Fate.SKIPPED:
            ctx.tell_skipped(planned.artifact, planned.reason)


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
