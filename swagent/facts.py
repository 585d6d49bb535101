"""How this device stands, and what an image would do on it: for the terminal, for ``--json`` and for the web page."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.app import Wishes, make_session, read_unit, settle_selection
from swagent.cli.units import utc
from swagent.errors import Refused, SwagentError
from swagent.events import EventBus
from swagent.installer.env import STATE_MARKER, TRANSACTION_MARKER
from swagent.installer.journal import CUT, PENDING, Record
from swagent.installer.rig import Inspection
from swagent.model import Hardware, Selection
from swagent.settings import InstallSettings
from swagent.state import make_bootloader, make_journal, read_floor
from swagent.stream.source import Source


class Look(NamedTuple):
    """What an image would do.

    Attributes:
        found: its plan and its signer.
        hardware: as which it was judged.
        selection: the same.
        verdicts: each gate's name, and ``yes`` or ``no: why``.
        refusal: of the first gate that said no.
    """

    found: Inspection
    hardware: Hardware | None
    selection: Selection | None
    verdicts: tuple[tuple[str, str], ...]
    refusal: Refused | None


def look_into(
    settings: InstallSettings, wishes: Wishes, source: Source, *, environ: Mapping[str, str]
) -> Look:
    """Read the head of an image and ask every gate; nothing is written.

    Raises:
        SwagentError: as an install would refuse it; what a gate says is in the result.
    """
    settings = settle_selection(settings)
    session, rig = make_session(
        settings, wishes._replace(dry_run=True), source, bus=EventBus(), environ=environ
    )
    found = session.inspect()
    verdicts: list[tuple[str, str]] = []
    refusal: Refused | None = None
    for gate in rig.gates:
        try:
            gate.check(found.plan, rig.unit)
            verdicts.append((gate.name, "yes"))
        except Refused as exc:
            verdicts.append((gate.name, f"no: {exc.message}"))
            refusal = refusal or exc
    return Look(found, rig.unit.hardware, settings.select, tuple(verdicts), refusal)


def image_facts(look: Look) -> dict[str, Any]:
    """The same for programs (docs/reference/web.md)."""
    plan, signer = look.found.plan, look.found.signer
    return {
        "version": plan.description.version,
        "description": plan.description.description,
        "hardware": str(look.hardware) if look.hardware else None,
        "selection": str(look.selection) if look.selection else None,
        "signer": signer.label if signer else None,
        "scheme": signer.scheme if signer else None,
        "artifacts": [
            {
                "artifact": each.artifact.label,
                "handler": each.artifact.type,
                "fate": each.fate.value,
                "bytes": each.stored_bytes if each.stored_bytes is not None else each.artifact.size_bytes,
                "target": each.artifact.device or each.artifact.path,
                "reason": each.reason,
            }
            for each in (*plan.entries, *plan.scripts)
        ],
        "gates": dict(look.verdicts),
        "warnings": list(look.found.warnings),
        "refusal": {"message": look.refusal.message, "hint": look.refusal.hint} if look.refusal else None,
    }


def device_facts(
    settings: InstallSettings, hardware: Hardware | None, *, environ: Mapping[str, str], busy: bool
) -> dict[str, Any]:
    """Versions, state, the last updates, floor and markers; nothing is changed."""
    problems = []
    unit, warnings = read_unit(settings, hardware)
    problems += warnings
    journal = make_journal(settings, environ)
    book = journal.read() if journal is not None else None
    if journal is None:
        problems.append("no journal is kept here")
    elif journal.problem:
        problems.append(journal.problem)
    floor, markers = book.floor if book else "", {}
    try:
        loader = make_bootloader(settings)
        env = loader.all() if loader is not None else {}
        floor = read_floor(journal, loader)
        markers = {name: env[name] for name in (TRANSACTION_MARKER, STATE_MARKER) if name in env}
    except SwagentError as exc:
        problems.append(f"the boot environment cannot be read: {exc.message}")
    last = book.last if book else None
    refused = journal.refusals() if journal is not None else ()
    return {
        "hardware": str(unit.hardware) if unit.hardware else None,
        "state": _state(last, busy=busy),
        "pending": bool(last and last.state in PENDING),
        "floor": floor,
        "markers": markers,
        "versions": dict(unit.installed),
        "updates": [_row(record) for record in (book.updates if book else ())],
        "refused": [refusal.digest for refusal in refused],
        "problems": problems,
    }


def _state(last: Record | None, *, busy: bool) -> str:
    if last is None:
        return "an update is running" if busy else "IDLE, no update is known"
    if last.state in CUT:
        return f"{last.state.value} {last.label}" + (
            " now" if busy else ": it was cut, the next update will say so"
        )
    return f"{last.state.value} {last.label}" + (
        ": waits for `swagent confirm` after the reboot" if last.state in PENDING else ""
    )


def _row(record: Record) -> dict[str, str]:
    overruled = [f"below the floor: {record.below_floor}"] if record.below_floor else []
    overruled += [f"over an unconfirmed one: {record.over_unconfirmed}"] if record.over_unconfirmed else []
    return {
        "started": f"{utc(record.started_s)[:19]}Z",
        "version": record.version,
        "selection": record.selection,
        "verdict": record.state.value,
        "correlation_id": record.correlation_id,
        "why": record.message or "; ".join(overruled),
    }
