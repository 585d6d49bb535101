"""``swagent testbed console``: the three windows of the exercise."""

import sys

from .options import Args, Command, Option
from .testbed import DIALECT_OPTION, HOW, SEED_OPTION, seed

COMMAND = Command(
    name="testbed console",
    summary="a prompt with the servers, the Primary or the Secondary; one window each, the servers' first",
    target="testbed_console:run",
    arguments=("server|primary|secondary",),
    options=(
        Option("folder", metavar="DIR", group=HOW, help="where the testbed is; . unless said otherwise"),
        DIALECT_OPTION,
        Option("free-ports", group=HOW, help="listen where it is free, not where the reference does"),
        SEED_OPTION,
    ),
    examples=(
        "swagent testbed console server",
        "swagent testbed console primary     # in another window, in the same folder",
    ),
)


def run(args: Args) -> int:
    """Show a prompt until it ends."""
    import os

    from swagent.errors import UsageError
    from swagent.testbed.console import SHOWN, WINDOWS, Window, interact, open_place
    from swagent.testbed.place import Ports, free_ports

    from .terminal import wants_colour

    window = args.arguments[0]
    if window not in WINDOWS:
        raise UsageError(f"{window[:20]!r} is no window", hint=f"there are {', '.join(WINDOWS)}")
    voice = Window(SHOWN[window], colour=wants_colour(sys.stdout, os.environ))
    place = open_place(
        window,
        args.get("folder") or ".",
        voice,
        dialect=args.get("dialect") or "tuf1",
        ports=free_ports() if args.on("free-ports") else Ports(),
        seed=seed(args),
    )
    interact(window, place)
    return 0
