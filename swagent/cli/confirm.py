"""``swagent confirm``: after the reboot, is the update good?"""

import os
import sys

from swagent.installer.confirm import confirm
from swagent.installer.journal import CUT, PENDING, Journal, Record
from swagent.state import CHECKS_FOLDER, lock, make_confirmation, read_checks

from .install import BOOTLOADER_OPTIONS, SELECTION_OPTIONS, STATE_OPTION, settings_of
from .options import Args, Command, Option
from .table import print_table
from .units import clean, seconds

COMMAND = Command(
    "confirm",
    "After the first boot of an update, run the checks: keep it, or give it up (exit 81). Does nothing when nothing is "
    "to be confirmed, so it may run at every boot.",
    "confirm:run",
    options=(
        Option("dir", "", "DIR", f"folder with the checks, default {CHECKS_FOLDER}"),
        Option("why", help="tell the last verdict, run nothing"),
        Option("clear", help="forget which images were rolled back, so that they may be installed again"),
        Option("version-floor", help="keep the version floor in the boot environment too"),
        STATE_OPTION,
        *SELECTION_OPTIONS[:1],
        *BOOTLOADER_OPTIONS,
    ),
    examples=("swagent confirm", "swagent confirm --why"),
)


def run(args: Args) -> int:
    """Confirm, and print the checks; what is bad is raised."""
    settings, _ = settings_of(args)
    told: list[str] = []

    def log(level: str, message: str) -> None:
        if level in ("error", "warn"):
            told.append(f"{clean(message)}\n")

    parts = make_confirmation(settings, os.environ, log)
    if args.on("why"):
        record = parts.journal.read().last
        _print(parts.journal, record)
        return 0
    held = lock(os.environ)
    try:
        if args.on("clear"):
            count = parts.journal.clear()
            sys.stdout.write(f"{count} image{'' if count == 1 else 's'} may be installed again\n")
            return 0
        folder = args.get("dir")
        try:
            outcome = confirm(
                parts, lambda: read_checks(folder or CHECKS_FOLDER, required=folder is not None)
            )
        finally:
            for line in told:
                sys.stderr.write(line)
        if outcome.tested and outcome.record is not None:
            _print_checks(outcome.record)
        sys.stdout.write(f"{clean(outcome.message)}\n")
    finally:
        os.close(held)
    return 0


def _print(journal: Journal, record: Record | None) -> None:
    if journal.problem:
        sys.stdout.write(f"{clean(journal.problem)}\n")
    elif record is None:
        sys.stdout.write("no update is known\n")
    else:
        _print_checks(record)
        more = f": {record.message}" if record.message else ""
        if record.state in CUT:
            more = ": it is running, or was cut, which the next `swagent confirm` or update will say"
        elif record.state in PENDING and record.boot_id == journal.boot_id:
            more = ", and waits for its first boot"
        elif record.state in PENDING:
            more = ", and not confirmed yet: run `swagent confirm`"
        sys.stdout.write(f"{clean(record.label)} is {record.state.value}{clean(more)}\n")


def _print_checks(record: Record) -> None:
    rows = [
        (
            check.name,
            "passed" if check.passed else "failed",
            "" if check.required else "not required",
            seconds(check.seconds),
            check.message,
        )
        for check in record.checks
    ]
    if rows:
        print_table(sys.stdout, ("check", "verdict", "", "took", "why"), rows)
        sys.stdout.write("\n")
