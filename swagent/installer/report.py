"""How a session's findings read as facts of events (docs/reference/events.md)."""

from swagent.model import Fate, Hardware, Plan, Planned, Selection

from .context import SessionContext


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
            "update_type": description.update_type,
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
