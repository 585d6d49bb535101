"""``swagent client``: hands updates to a daemon, swagent's or SWUpdate's."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from swagent.errors import SwagentError, TransportError, UsageError

from .options import Args, Command, Option
from .units import clean

if TYPE_CHECKING:
    from swagent.ipc import ControlClient, Ours
    from swagent.stream import Source

WHAT, OUT = "what to install", "output"
COMMAND = Command(
    "client",
    "Hand updates to a daemon, swagent's or SWUpdate's, one after the other; show how they do.",
    "client:run",
    options=(
        Option("dry-run", "d", help="only verify", group=WHAT),
        Option("select", "e", "SET,MODE", "one of the selections that the daemon lets clients ask for", WHAT),
        Option("postupdate", "p", help="have the post-update command run after a success", group=WHAT),
        Option("ask", help="show the plan and ask before anything is written", group=WHAT),
        Option("correlation-id", "", "ID", "stands in events and in the journal", WHAT),
        Option("socket", "s", "PATH", "control socket, default RUNTIME_DIRECTORY/sockinstctrl", WHAT),
        Option("json", help="one event a line, for programs", group=OUT),
        Option("quiet", "q", help="only the verdict", group=OUT),
        Option("verbose", "v", help="all log lines", group=OUT),
    ),
    arguments=("[FILE...]",),
    examples=("swagent client update.swu", "curl -s https://host/update.swu | swagent client -p -"),
)


def run(args: Args) -> int:
    """Install each; ends with the first that fails, and its exit code."""
    from swagent.ipc import ControlClient

    client = ControlClient(args.get("socket"))
    for path in args.arguments or ["-"]:
        code = _install(client, path, args)
        if code:
            return code
        if args.on("postupdate"):
            client.post_update(timeout_s=None)
    return 0


def _install(client: "ControlClient", path: str, args: Args) -> int:
    from swagent.ipc.control import ForeignDaemon
    from swagent.sources import open_image
    from swagent.stream.source import open_source

    fd, name = open_image(path)
    try:
        source = open_source(fd, name)
        try:
            connection = client.ours(_order(source, args))
        except ForeignDaemon:
            return _install_classic(client, source, args)
        with connection:
            return _follow(client, connection, source, args)
    finally:
        if fd:
            os.close(fd)


def _order(source: "Source", args: Args) -> dict[str, object]:
    order: dict[str, object] = {"do": "install", "name": os.path.basename(source.name)[:200]}
    if source.size_bytes:
        order["length"] = source.size_bytes
    if args.on("dry-run"):
        order["dry_run"] = True
    if args.on("ask"):
        order["ask"] = ["consent", "user-data"]
    for option, key in (("select", "selection"), ("correlation-id", "correlation_id")):
        value = args.get(option)
        if value is not None:
            order[key] = value
    return order


def _follow(client: "ControlClient", connection: "Ours", source: "Source", args: Args) -> int:
    """Send the update from a thread, and show what the daemon tells of it."""
    from threading import Thread

    from .following import Follower

    sender = Thread(target=_send, args=(connection, source), name="sender", daemon=True)
    sender.start()
    with Follower(args) as follower:
        for told in connection.events():
            code = follower.show(told)
            if code is not None:
                follower.close()
                if follower.failure is not None:
                    raise follower.failure
                return code
            if told.get("event") == "update.asked":
                answer = follower.ask(told)
                client.ask_ours({"do": "answer", "question": told.get("question"), "answer": answer})
    raise TransportError(f"{connection.path}: the daemon hung up without a verdict")


def _send(connection: "Ours", source: "Source") -> None:
    """What goes wrong here makes the update incomplete, which its verdict says."""
    with suppress(SwagentError):
        connection.send_all(source)
    with suppress(SwagentError):
        connection.end()


def _install_classic(client: "ControlClient", source: "Source", args: Args) -> int:
    """As SWUpdate's own client does."""
    from swagent.ipc import DryRun, Request, Status
    from swagent.settings import read_selection

    for option in ("ask", "json", "correlation-id"):
        if args.on(option) or args.get(option) is not None:
            raise UsageError(f"--{option} needs swagent's daemon, and SWUpdate's listens there")
    selection = args.get("select")
    wanted = read_selection(selection, where="--select") if selection else ("", "")
    dry_run = DryRun.ON if args.on("dry-run") else DryRun.DEFAULT
    with client.install(Request(dry_run=dry_run, software_set=wanted[0], running_mode=wanted[1])) as upload:
        with suppress(TransportError):  # it takes no more: its log says why
            upload.send_all(source)
        upload.close()
    result = Status.FAILURE
    for reply in client.lines():
        if args.on("verbose") or (reply.current == Status.FAILURE and not args.on("quiet")):
            sys.stdout.write(f"{clean(reply.text)}\n")
        result = Status(reply.last_result)
    sys.stdout.write("installed\n" if result == Status.SUCCESS else "failed\n")
    return 0 if result == Status.SUCCESS else 1
