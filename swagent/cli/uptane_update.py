"""``swagent uptane update``: one cycle of a Primary."""

import sys
from typing import TYPE_CHECKING

from swagent.errors import SwagentError, UsageError

from .options import Args, Command, Option
from .uptane_parts import HOW, IDENTITY_OPTIONS, OUT, POLICY_OPTIONS, SOURCE_OPTIONS, WHERE, make_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from swagent.events import EventBus
    from swagent.uptane_client.primary import Primary

COMMAND = Command(
    name="uptane update",
    summary="one cycle: time, metadata, images below --state/targets, installation, report",
    target="uptane_update:run",
    options=(
        *IDENTITY_OPTIONS,
        *SOURCE_OPTIONS,
        Option(
            "medium",
            metavar="DIR",
            group=WHERE,
            help="install from this memory stick or folder instead, as PURE-2 has it; without a network",
        ),
        Option("once", group=HOW, help="one cycle, then end; must be given"),
        *POLICY_OPTIONS,
        Option("json", group=OUT, help="one event a line, for programs"),
    ),
    examples=(
        "swagent uptane update --once --state /var/lib/swagent/uptane --director https://d/VIN "
        "--image-repo https://i --ecu-serial GW1 --hardware-id gateway",
        "swagent uptane update --once --state /var/lib/swagent/uptane --medium /media/stick "
        "--ecu-serial GW1 --hardware-id gateway",
    ),
)


def run(args: Args) -> int:
    """One cycle; errors are raised (with ``--json`` they are the last line)."""
    if not args.on("once"):
        raise UsageError("say --once", hint="a service polls: see `swagent uptane daemon`")
    return one_cycle(args)


def one_cycle(
    args: Args,
    *,
    fetch: bool = True,
    install: bool = True,
    step: "Callable[[Primary], object] | None" = None,
) -> int:
    """A cycle as far as it is let, or ``step``; errors are raised (with ``--json`` they are the last line)."""
    from swagent.clock import SystemClock
    from swagent.events import EventBus, refused_early
    from swagent.uptane_client.primary import Primary

    from .screen import Screen
    from .uptane_lines import Lines

    bus = EventBus()
    if args.on("json"):
        from .jsonlines import JsonLines

        screen = Screen(bus, JsonLines(sys.stdout))
    else:
        screen = Screen(bus, Lines(sys.stdout, chatty=not fetch))
    primary = None
    try:
        primary = _primary(args, bus, fetch=fetch, install=install)
        (step or Primary.cycle)(primary)
    except SwagentError as exc:
        if not args.on("json"):
            raise
        if primary is None:
            bus.publish(refused_early(exc, now_s=SystemClock().now_s()))
        return exc.exit_code
    finally:
        screen.close()
    return 0


def _primary(args: Args, bus: "EventBus", *, fetch: bool, install: bool) -> "Primary":
    """A Primary, of the repositories that the options name or of a medium."""
    from swagent.uptane_client.carried import CarriedPrimary
    from swagent.uptane_client.medium import Medium
    from swagent.uptane_client.primary import Primary

    from .uptane_service import Log, stop_by_signal, with_flow

    path = args.get("medium")
    if path is not None:
        dialect = args.get("dialect") or "tuf1"
        if dialect.startswith("ref-"):
            raise UsageError(f"--medium: the dialect {dialect} has no updates from a medium")
        if args.on("trust-on-first-use"):
            raise UsageError("--trust-on-first-use: whoever made a medium is not to be trusted for that")
    medium = Medium(path) if path is not None else None
    parts, _ = with_flow(args, make_parts(args, bus, medium), stop_by_signal(), Log(bus))
    parts = parts._replace(policy=parts.policy._replace(fetch=fetch, install=install))
    return CarriedPrimary(parts) if medium is not None else Primary(parts)
