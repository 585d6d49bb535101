"""``swagent progress``: watches the updates of a daemon."""

import os
import sys

from swagent.errors import TransportError, UsageError
from swagent.ipc import Status, events, progress
from swagent.ipc.places import EVENTS, socket_path

from .jsonlines import event_of
from .options import Args, Command, Option
from .units import clean

WHERE, HOW, OUT = "what to listen to", "how to behave", "output"
RETRY_S = 1.0
COMMAND = Command(
    "progress",
    "Watch the updates of a daemon: first the present or last one so far, then what comes.",
    "progress:run",
    options=(
        Option("socket", "s", "PATH", "swagent's socket for events, default RUNTIME_DIRECTORY/swagent-events", WHERE),
        Option("swupdate", "", "PATH", "a progress socket as of SWUpdate 2025.12 instead", WHERE),
        Option("swupdate-2022", "", "PATH", "a progress socket as of SWUpdate 2022.12 instead", WHERE),
        Option("wait", "w", help="wait for a daemon, and for the next when it ends", group=HOW),
        Option("once", help="end with the next verdict, and its exit code", group=HOW),
        Option("json", help="one event a line, for programs", group=OUT),
        Option("quiet", "q", help="only verdicts", group=OUT),
        Option("verbose", "v", help="all log lines", group=OUT),
    ),
    examples=("swagent progress -w", "swagent progress --once --json | jq .result"),
)  # fmt: skip


def run(args: Args) -> int:
    """Watch until the daemon ends, or for ever."""
    while True:
        try:
            code = _watch(args)
            if code is not None or not args.on("wait"):
                return code or 0
        except TransportError:
            if not args.on("wait"):
                raise
        from time import sleep

        sleep(RETRY_S)


def _watch(args: Args) -> int | None:
    for option, old in (("swupdate", False), ("swupdate-2022", True)):
        path = args.get(option)
        if path is not None:
            if args.on("json"):
                raise UsageError(f"--{option} brings no events, so there is nothing for --json")
            return _watch_classic(path, args, old=old)
    from swagent.clock import SystemClock

    from .following import Follower
    from .refusal import refusal_text
    from .terminal import wants_colour, width_of

    path = args.get("socket") or socket_path(EVENTS, os.environ)
    since_s = SystemClock().now_s()
    with Follower(args) as follower:
        for told in events(path):
            code = follower.show(told)
            if code is None:
                continue
            last = args.on("once") and event_of(told).time_s >= since_s
            if last:
                follower.close()
            if follower.failure is not None:
                if last:
                    raise follower.failure
                out = sys.stdout
                out.write(
                    refusal_text(follower.failure, width_of(out, os.environ), wants_colour(out, os.environ))
                )
            if last:
                return code
    return None


def _watch_classic(path: str, args: Args, *, old: bool) -> int | None:
    for each in progress(path, old=old):
        name = Status(each.status).name if each.status in tuple(Status) else str(each.status)
        if each.status in (Status.SUCCESS, Status.FAILURE):
            sys.stdout.write(f"{name}\n")
            if args.on("once"):
                return 0 if each.status == Status.SUCCESS else 1
        elif not args.on("quiet"):
            image = f" {clean(each.image)} {each.percent} %" if each.step else ""
            info = f" {clean(each.info)}" if each.info and args.on("verbose") else ""
            sys.stdout.write(f"{name} {each.step}/{each.steps}{image}{info}\n")
        sys.stdout.flush()
    return None
