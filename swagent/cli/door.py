"""``swagent door``: one process that faces a network; ``swagent daemon`` starts it."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from swagent.errors import UsageError

from .options import Args, Command, Option
from .units import clean

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = Command(
    "door",
    "One network-facing process of the daemon, which starts it; of no use by itself.",
    "door:run",
    options=(
        Option("file", "f", "FILE", "settings file, default /etc/swupdate.cfg"),
        Option("words", "", "WORDS", "its option string", dashes=True),
        Option("orders", "", "FD", "descriptor for messages of local clients"),
        Option("control", "", "PATH", "the daemon's control socket"),
        Option("progress", "", "PATH", "its progress socket"),
        Option("events", "", "PATH", "its socket for events"),
    ),
    arguments=("NAME",),
)


def run(args: Args) -> int:
    """Begin with our rights, drop them, serve."""
    from importlib import import_module

    from swagent.app import read_settings
    from swagent.daemon.doors import DOORS, Call, Orders, rights
    from swagent.daemon.rights import drop_rights, reachable

    name = args.arguments[0]
    doors = {door.name: door for door in DOORS}
    if name not in doors:
        raise UsageError(f"there is no door {name!r}", hint=f"known are {', '.join(doors) or 'none yet'}")
    door = doors[name]
    fd, control = args.get("orders") or "", args.get("control") or ""
    if not fd.isdecimal() or not control:
        raise UsageError("a door is started by `swagent daemon`")
    orders = Orders(int(fd))
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    settings, _ = read_settings(args.get("file"), os.environ)
    module, _, function = door.target.partition(":")
    identity, socket_gid = rights(door, settings), os.stat(control).st_gid or None
    call = Call(
        settings,
        args.get("words") or "",
        reachable(control),
        reachable(args.get("progress") or ""),
        reachable(args.get("events") or ""),
        orders,
        lambda: bool(asked) or orders.gone,
        _log(name),
        identity,
    )
    serve = getattr(import_module(module), function)(call)
    drop_rights(identity, socket_gid)
    serve()
    return 0


def _log(name: str) -> "Callable[[str, str], None]":
    """Lines for whoever reads the daemon's own."""

    def log(level: str, line: str) -> None:
        if level != "debug":
            sys.stderr.write(f"{name}: {clean(line)}\n")
            sys.stderr.flush()

    return log
