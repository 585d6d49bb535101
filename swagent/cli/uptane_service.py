"""What the services of Uptane share: how they poll, log and end."""

import sys
from typing import TYPE_CHECKING

from swagent.errors import SwagentError

from .options import Args, Option
from .uptane_parts import HOW, OUT, needed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from swagent.events import EventBus
    from swagent.uptane_client.flow import Flow
    from swagent.uptane_client.parts import Parts
    from swagent.vehicle.polling import Stop

    from .screen import Screen

INTERVAL_OPTION = Option(
    "interval", metavar="SECONDS", group=HOW, help="between two cycles, a tenth more or less; 3600"
)
JSON_OPTION = Option("json", group=OUT, help="one event a line, for programs")


class Log:
    """Publishes lines: level and line."""

    def __init__(self, bus: "EventBus") -> None:
        from swagent.clock import SystemClock

        self._bus = bus
        self._clock = SystemClock()

    def __call__(self, level: str, line: str) -> None:
        """Publish one."""
        from swagent.events import Event

        self._bus.publish(Event("log", time_s=self._clock.now_s(), message=line, facts={"level": level}))


def make_screen(args: Args, bus: "EventBus") -> "Screen":
    """Lines for people, or with ``--json`` for programs."""
    from .screen import Screen
    from .uptane_lines import Lines

    if args.on("json"):
        from .jsonlines import JsonLines

        return Screen(bus, JsonLines(sys.stdout))
    return Screen(bus, Lines(sys.stdout, chatty=True))


def stop_by_signal() -> "Stop":
    """Asked to stop by SIGTERM and SIGINT."""
    import signal

    from swagent.vehicle.polling import Stop

    stop = Stop()

    def ask(number: int, frame: "FrameType | None") -> None:
        stop.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def flow_of(args: Args) -> "Flow":
    """What may be asked of whoever works with a state folder.

    Raises:
        SettingsError: there is no such folder.
    """
    import os
    from time import sleep

    from swagent.errors import SettingsError
    from swagent.uptane_client.flow import Flow

    folder = needed(args, "state")
    if not os.path.isdir(folder):
        raise SettingsError(f"there is no vehicle in {folder}", hint="`swagent uptane provision` begins one")
    return Flow(folder, sleep=sleep)


def with_flow(args: Args, parts: "Parts", stop: "Stop", log: Log) -> "tuple[Parts, Flow]":
    """Parts that heed ``stop``, and the words of ``swagent uptane pause``, ``resume`` and ``abort``."""
    from time import sleep

    from swagent.uptane_client.flow import Flow

    def changed(paused: bool) -> None:
        log("warn", "paused: `swagent uptane resume` lets it go on" if paused else "resumed")
        if parts.outbox is not None and paused != bool(parts.vehicle.fact("pause_told")):
            kind = "DevicePaused" if paused else "DeviceResumed"
            parts.outbox.put(kind, correlation=parts.vehicle.fact("correlation") or "")
            parts.vehicle.keep_fact("pause_told", paused)
            parts.outbox.deliver()

    flow = Flow(needed(args, "state"), sleep=sleep, stop=stop.judge, changed=changed)
    flow.forget_abort()
    if parts.vehicle.fact("pause_told") and not flow.paused():
        changed(False)  # somebody resumed while nothing ran
    for source in (parts.director, parts.image):
        source.attend(flow.judge)
    return parts._replace(checkpoint=flow.checkpoint, judge=flow.judge), flow


def repeat(
    step: "Callable[[], None]",
    stop: "Stop",
    log: Log,
    *,
    interval_s: float,
    idle: "Callable[[], object]" = lambda: None,
) -> None:
    """Do it until somebody wants the end; ``idle`` is called now and then between two times."""
    import os
    from time import sleep

    from swagent.clock import SystemClock
    from swagent.vehicle.polling import poll

    def tell(exc: SwagentError, wait_s: float) -> None:
        log("error", f"{exc.message}; the next cycle follows in {wait_s:.0f} s")

    def rest(seconds: float) -> None:
        idle()
        sleep(seconds)

    poll(step, stop, SystemClock(), interval_s=interval_s, random=os.urandom, tell=tell, sleep=rest)
