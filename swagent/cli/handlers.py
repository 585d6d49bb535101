"""``swagent handlers``: which handlers there are, and why one is not."""

import os
import sys

from swagent.app import handlers_here
from swagent.errors import RegistrationError
from swagent.handlers.api import Handler
from swagent.handlers.options import check_handler, describe_options
from swagent.plugins import Entry, Registry

from .install import settings_of
from .options import Args, Command, Option
from .table import print_table

COMMAND = Command(
    "handlers",
    "List the handlers: what they serve, which properties they take, where they come from.",
    "handlers:run",
    options=(
        Option("file", "f", "FILE", "settings file, default /etc/swupdate.cfg"),
        Option("json", help="one handler a line, for programs"),
    ),
    examples=("swagent handlers",),
)


def run(args: Args) -> int:
    """Print the list; a handler that cannot be loaded is listed with the reason."""
    settings, _ = settings_of(args)
    with handlers_here(settings, os.environ) as shelf:
        try:
            entries = list(shelf.entries())
            rows: list[tuple[str, ...]] = []
        except RegistrationError as exc:  # the unit's Lua file; it is not asked again
            entries = list(shelf.entries())
            rows = [("", "", "", "", "Lua", exc.message)]
        rows += [_row(entry, shelf) for entry in entries]
    head = ("handler", "sections", "streams", "properties", "origin", "unavailable")
    if args.on("json"):
        import json

        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(head, row, strict=True))) + "\n")
    else:
        print_table(sys.stdout, head, rows)
    return 0


def _row(entry: Entry[Handler], shelf: Registry[Handler]) -> tuple[str, ...]:
    name, origin, _ = entry
    try:
        found = shelf.load(entry)
        check_handler(name, found)
    except RegistrationError as exc:
        return (name, "", "", "", origin, exc.message)
    card, options = found.card, found.Options
    kinds = " ".join(kind.name.lower() for kind in card.kinds)
    properties = (name for name, *_ in describe_options(options))
    return (name, kinds, "yes" if card.streams and card.data else "no", " ".join(properties), origin, "")
