"""``swagent uptane update``: one cycle of a Primary."""

import sys

from swagent.errors import SwagentError, UsageError

from .options import Args, Command, Option
from .uptane_parts import HOW, IDENTITY_OPTIONS, OUT, POLICY_OPTIONS, SOURCE_OPTIONS, make_primary

COMMAND = Command(
    name="uptane update",
    summary="one cycle: time, metadata, images below --state/targets, installation, report",
    target="uptane_update:run",
    options=(
        *IDENTITY_OPTIONS,
        *SOURCE_OPTIONS,
        Option("once", group=HOW, help="one cycle, then end; must be given"),
        *POLICY_OPTIONS,
        Option("json", group=OUT, help="one event a line, for programs"),
    ),
    examples=(
        "swagent uptane update --once --state /var/lib/swagent/uptane --director https://d/VIN "
        "--image-repo https://i --ecu-serial GW1 --hardware-id gateway",
    ),
)


def run(args: Args) -> int:
    """One cycle; errors are raised (with ``--json`` they are the last line)."""
    from swagent.clock import SystemClock
    from swagent.events import EventBus, refused_early

    from .screen import LateScreen, Screen
    from .uptane_lines import Lines

    if not args.on("once"):
        raise UsageError("say --once", hint="a service polls: see swagent-uptane.service")
    bus = EventBus()
    screen: Screen | LateScreen
    if args.on("json"):
        from .jsonlines import JsonLines

        screen = Screen(bus, JsonLines(sys.stdout))
    else:
        screen = Screen(bus, Lines(sys.stdout))
    primary = None
    try:
        primary = make_primary(args, bus)
        primary.cycle()
    except SwagentError as exc:
        if not args.on("json"):
            raise
        if primary is None:
            bus.publish(refused_early(exc, now_s=SystemClock().now_s()))
        return exc.exit_code
    finally:
        screen.close()
    return 0
