"""``swagent uptane daemon``: the Primary as a service."""

from typing import TYPE_CHECKING

from swagent.errors import Cancelled, SwagentError, UptaneError

from .options import Args, Command
from .uptane_parts import IDENTITY_OPTIONS, POLICY_OPTIONS, SOURCE_OPTIONS, make_parts, seconds
from .uptane_serve import SERVE_OPTIONS, Served, serve, with_secondaries
from .uptane_service import INTERVAL_OPTION, JSON_OPTION, Log, make_screen, repeat, stop_by_signal, with_flow

if TYPE_CHECKING:
    from swagent.uptane_client.primary import Primary

COMMAND = Command(
    name="uptane daemon",
    summary="the Primary as a service: a cycle again and again, and its Secondaries served meanwhile",
    target="uptane_daemon:run",
    options=(
        *IDENTITY_OPTIONS,
        *SOURCE_OPTIONS,
        *SERVE_OPTIONS,
        INTERVAL_OPTION,
        *POLICY_OPTIONS,
        JSON_OPTION,
    ),
    examples=(
        "swagent uptane daemon --state /var/lib/swagent/uptane --director https://d/VIN --image-repo https://i "
        "--ecu-serial GW1 --hardware-id gateway --secondaries /etc/swagent/secondary.json",
    ),
)


def run(args: Args) -> int:
    """Cycles until SIGTERM or SIGINT, which end it between two steps with exit code 0."""
    from swagent.events import EventBus
    from swagent.uptane_client.primary import Primary

    interval_s = seconds(args, "interval", 3600.0)
    stop = stop_by_signal()
    bus = EventBus()
    screen = make_screen(args, bus)
    log = Log(bus)
    served = Served((), ())
    try:
        parts, flow = with_flow(args, make_parts(args, bus), stop, log)
        parts, desk, listed = with_secondaries(args, parts)
        primary = Primary(parts)
        served = serve(args, parts, desk, listed, log)
        for each in served.virtual:
            each.report()  # its nonce must have been there before a time can answer it
        repeat(lambda: _step(primary, served, log), stop, log, interval_s=interval_s, idle=flow.forget_abort)
    finally:
        served.close()
        screen.close()
    return 0


def _step(primary: "Primary", served: Served, log: Log) -> None:
    """One cycle of all: the Primary's failure does not hold back Secondaries, for whom there may be work left."""
    failure: SwagentError | None = None
    try:
        primary.cycle()
    except Cancelled:
        raise
    except SwagentError as exc:
        failure = exc
    for each in served.virtual:
        try:
            log("info", f"{each.serial}: {each.cycle()}")
        except SwagentError as exc:
            log("error" if isinstance(exc, UptaneError) else "warn", f"{each.serial}: {exc.message}")
    if failure is not None:
        raise failure
