"""``swagent lab list``: what there is."""

import sys

from .lab_parts import SERVER_OPTIONS, connected, type_of
from .options import Args, Command, Option

COMMAND = Command(
    name="lab list",
    summary="list items: devices, consoles, actuators or volumes",
    target="lab_list:run",
    arguments=("TYPE",),
    options=(Option("verbose", "v", help="with their properties"), *SERVER_OPTIONS),
    examples=("swagent lab list devices", "swagent lab list volumes -v -i office"),
)


def run(args: Args) -> int:
    """One table."""
    from .table import print_table

    kind = type_of(args.arguments[0])
    with connected(args) as client:
        items = client.items(kind)
        if not args.on("verbose"):
            short = [(str(item.number), item.name, item.instance or "") for item in items]
            print_table(sys.stdout, ("id", "name", "instance"), short)
            return 0
        rows: list[tuple[str, ...]] = []
        for item in items:
            head: tuple[str, ...] = (str(item.number), item.name)
            for key, value in client.properties(kind, item.number).items():
                rows.append((*head, key, value))
                head = ("", "")
        print_table(sys.stdout, ("id", "name", "property", "value"), rows)
    return 0
