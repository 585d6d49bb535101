"""``swagent info`` without a file: how this device stands."""

import os
import sys
from typing import Any

from swagent.app import is_busy, make_bootloader, make_journal, read_floor, read_hardware, read_unit
from swagent.errors import SwagentError
from swagent.installer.env import STATE_MARKER, TRANSACTION_MARKER
from swagent.installer.journal import CUT, PENDING, Record
from swagent.settings import InstallSettings

from .options import Args
from .table import print_table
from .units import clean, utc


def show_device(args: Args, settings: InstallSettings) -> int:
    """Print versions, state, the last updates, floor and markers; nothing is changed."""
    facts = _facts(settings, busy=is_busy(os.environ))
    if args.on("json"):
        import json

        sys.stdout.write(json.dumps(facts) + "\n")
        return 0
    lines = [
        ("hardware", facts["hardware"] or "unknown"),
        ("state", facts["state"]),
        ("floor", facts["floor"] or "none"),
        ("markers", "  ".join(f"{name}={value}" for name, value in facts["markers"].items()) or "none"),
    ]
    for name, value in lines:
        sys.stdout.write(f"{name:<9} {clean(value)}\n")
    for problem in facts["problems"]:
        sys.stdout.write(f"warning   {clean(problem)}\n")
    if facts["versions"]:
        sys.stdout.write("\n")
        rows = [(name, " ".join(versions)) for name, versions in facts["versions"].items()]
        print_table(sys.stdout, ("component", "version"), rows)
    if facts["updates"]:
        sys.stdout.write("\n")
        head = ("started", "version", "selection", "verdict", "why")
        print_table(sys.stdout, head, [tuple(one[key] for key in head) for one in facts["updates"]])
    return 0


def _facts(settings: InstallSettings, *, busy: bool) -> dict[str, Any]:
    problems = []
    unit, warnings = read_unit(settings, read_hardware(None))
    problems += warnings
    journal = make_journal(settings, os.environ)
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
        "why": record.message or "; ".join(overruled),
    }
