"""``swagent check``: what an update would do, on this device or as if on another."""

import os
import sys

from swagent.app import Wishes, read_hardware, settle_selection
from swagent.facts import look_into
from swagent.model import Fate, Planned
from swagent.sources import open_update, warnings_of

from .install import SELECTION_OPTIONS, SERVER_OPTIONS, TRUST_OPTIONS, settings_of
from .options import Args, Command, Option
from .table import print_table
from .units import clean, size

COMMAND = Command(
    "check",
    "Say what an update would do and why each artifact is taken or skipped; writes nothing, needs no device.",
    "check:run",
    options=(
        Option("as", "", "BOARD:REV", "judge as on this hardware, whatever runs here", "what to install"),
        *SELECTION_OPTIONS,
        *TRUST_OPTIONS,
        *SERVER_OPTIONS,
        Option("json", help="as one JSON object, for programs", group="output"),
    ),
    arguments=("FILE",),
    examples=(
        "swagent check update.swu --as gateway:1.3 -k release.pem",
        "swagent check update.swu --as gateway:1.3 -e stable,copy2 -k release.pem",
    ),
)

_WORDS = {
    Fate.DIRECT: "install, streamed",
    Fate.STAGED: "install",
    Fate.APPLY: "apply",
    Fate.SCRIPT: "run",
    Fate.SKIPPED: "skip",
}


def run(args: Args) -> int:
    """Print head, one row an artifact, and what each gate says; exit code 0 when all say yes."""
    settings, _ = settings_of(args)
    settled = settle_selection(settings)
    chosen = settled is not settings
    settings = settled
    hardware = read_hardware(args.get("as") or args.get("hwrevision"))
    image = args.arguments[0]
    source = open_update(image, settings, look_only=True)
    wishes = Wishes(
        allow_unsigned=args.on("allow-unsigned"),
        hardware=hardware,
        judge_unit=args.get("as") is None,
    )
    look = look_into(settings, wishes, source, environ=os.environ)
    found, refusal = look.found, look.refusal
    warnings = [*warnings_of(image, settings), *found.warnings]
    rows = [_row(planned) for planned in (*found.plan.entries, *found.plan.scripts)]
    description = found.plan.description
    signed = f"signed by {found.signer.label} ({found.signer.scheme})" if found.signer else "not verified"
    if args.on("json"):
        import json

        head = ("artifact", "handler", "what", "size", "target", "why")
        facts = {
            "version": description.version,
            "selection": str(settings.select) if settings.select else None,
            "signer": found.signer.label if found.signer else None,
            "artifacts": [dict(zip(head, row, strict=True)) for row in rows],
            "gates": dict(look.verdicts),
            "warnings": warnings,
            "exit_code": refusal.exit_code if refusal else 0,
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        return refusal.exit_code if refusal else 0
    about = f'  "{clean(description.description)}"' if description.description else ""
    sys.stdout.write(f"{clean(source.name)}   {clean(description.version)}{about}   {signed}\n")
    as_what = [f"as {hardware}" if hardware else "hardware unknown"]
    if settings.select:
        as_what.append(
            f"selection {settings.select}" + (" (auto: the copy that does not run)" if chosen else "")
        )
    sys.stdout.write("   ".join(as_what) + "\n\n")
    print_table(sys.stdout, ("artifact", "handler", "what", "size", "target", "why"), rows)
    sys.stdout.write("\n")
    print_table(sys.stdout, ("gate", "verdict"), look.verdicts)
    for warning in warnings:
        sys.stdout.write(f"warning: {clean(warning)}\n")
    if refusal is not None:
        raise refusal
    return 0


def _row(planned: Planned) -> tuple[str, str, str, str, str, str]:
    art = planned.artifact
    stored = planned.stored_bytes
    return (
        art.label,
        art.type,
        _WORDS[planned.fate]
        + (" by chunks" if art.prop("chunk-table") and planned.fate is Fate.DIRECT else ""),
        size(stored) if stored is not None else "",
        art.device or art.path,
        planned.reason,
    )
