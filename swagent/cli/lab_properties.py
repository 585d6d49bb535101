"""``swagent lab properties``: everything known of one item."""

import sys

from .lab_parts import SERVER_OPTIONS, connected, type_of
from .options import Args, Command

COMMAND = Command(
    name="lab properties",
    summary="show the properties of an item; rules in configurations match them",
    target="lab_properties:run",
    arguments=("TYPE", "ITEM"),
    options=SERVER_OPTIONS,
    examples=("swagent lab properties console ttyUSB0", "swagent lab properties volume 3"),
)


def run(args: Args) -> int:
    """One table."""
    from .table import print_table

    word, item = args.arguments
    kind = type_of(word)
    with connected(args) as client:
        found = client.properties(kind, client.find(kind, item))
    print_table(sys.stdout, ("property", "value"), list(found.items()))
    return 0
