"""``swagent testbed attack``: one row of the table of attacks."""

import json
import sys
from typing import TYPE_CHECKING, Any

from .options import Args, Command, Option
from .testbed import DIALECT_OPTION, OUT, Lines

if TYPE_CHECKING:
    from swagent.testbed.attacks import Verdict
    from swagent.testbed.banners import Banner

COMMAND = Command(
    name="testbed attack",
    summary="one attack between two honest rounds, with its verdict; without NAME list them",
    target="testbed_attack:run",
    arguments=("[NAME]",),
    options=(DIALECT_OPTION, Option("json", group=OUT, help="the verdict as one JSON object, for programs")),
    examples=(
        "swagent testbed attack",
        "swagent testbed attack rollback",
        "swagent testbed attack 16 --dialect ref-der",
    ),
)


class Nobody:
    """A ``Voice`` that nobody hears."""

    def line(self, party: str, text: str) -> None:
        """Not told."""

    def banner(self, party: str, banner: "Banner") -> None:
        """Not told."""

    def step(self, number: int) -> None:
        """Not told."""


def run(args: Args) -> int:
    """Play one row of the table; the exit code says whether it came out as it must."""
    import os

    from swagent.errors import UsageError, VerificationError
    from swagent.testbed.attack_rows import ROWS
    from swagent.testbed.attacks import find, perform

    from .options import nearest
    from .table import print_table
    from .terminal import wants_colour

    if not args.arguments:
        if args.on("json"):
            for each in ROWS:
                print(
                    json.dumps(
                        {"row": each.number, "name": each.name, "text": each.text, "by": list(each.by)}
                    )
                )
        else:
            rows = [(str(one.number), one.name, one.text, ", ".join(one.by)) for one in ROWS]
            print_table(sys.stdout, ("row", "name", "what is done", "noticed by"), rows)
        return 0
    name = args.arguments[0]
    row = find(name)
    if row is None:
        raise UsageError(
            f"there is no attack {name[:40]!r}",
            hint=nearest(name, [one.name for one in ROWS]) or "`swagent testbed attack` lists them",
        )
    voice = Nobody() if args.on("json") else Lines(sys.stdout, colour=wants_colour(sys.stdout, os.environ))
    verdict = perform(row, args.get("dialect") or "tuf1", voice)
    print(json.dumps(_tree(verdict)) if args.on("json") else _text(verdict))
    if not verdict.good:
        raise VerificationError(f"the attack {row.name} did not come out as it must")
    return 0


def _tree(verdict: "Verdict") -> dict[str, Any]:
    return {
        "event": "testbed.verdict",
        "row": verdict.attack.number,
        "name": verdict.attack.name,
        "noticed": [
            {"party": party, "error": type(error).__name__, "message": error.message}
            for party, error in verdict.noticed
        ],
        "kept": verdict.kept,
        "recovered": verdict.recovered,
        "good": verdict.good,
    }


def _text(verdict: "Verdict") -> str:
    row = verdict.attack
    lines = [f"\nrow {row.number}, {row.name}: {row.text}"]
    lines += [f"  {party:<10} {type(error).__name__}: {error.message}" for party, error in verdict.noticed]
    if not verdict.noticed:
        lines.append(f"  nobody noticed anything{', and nobody can' if row.by == ('installed',) else ''}")
    if row.keeps != "nothing":
        lines.append(f"  {row.keeps} of the ECUs: {'as before' if verdict.kept else 'CHANGED'}")
    lines.append(f"  the honest round behind it: {'installed' if verdict.recovered else 'FAILED'}")
    return "\n".join(lines)
