"""``swagent lab monitor``: what is there, and what comes and goes."""

from .lab_parts import SERVER_OPTIONS, connected, type_of
from .options import Args, Command

COMMAND = Command(
    name="lab monitor",
    summary="write a line for each item that is there, comes (+) or goes (-), until it is interrupted",
    target="lab_monitor:run",
    arguments=("TYPE",),
    options=SERVER_OPTIONS,
    examples=("swagent lab monitor consoles",),
)


def run(args: Args) -> int:
    """Follow until the server ends it."""
    from .units import clean

    names: dict[int, str] = {}
    with connected(args) as client:
        for added, removed in client.monitor(type_of(args.arguments[0])):
            for item in added:
                names[item.number] = clean(f"{item.name} on {item.instance}" if item.instance else item.name)
                print(f"+ {item.number} {names[item.number]}", flush=True)
            if removed is not None:
                print(f"- {removed} {names.pop(removed, '')}".rstrip(), flush=True)
    return 0
