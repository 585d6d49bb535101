"""``swagent lab console``: use a console from here."""

import os
import sys
from typing import TYPE_CHECKING

from swagent.errors import UsageError

from .lab_parts import SERVER_OPTIONS, connected, one_of, parameters_of
from .lab_raw import raw_terminal
from .options import Args, Command, Option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swagent.lab.client import LabClient

VERBS = ("connect", "tail", "log", "configure")
REPLAY_OPTION = Option(
    "replay", help="first show what the board said before; swagent's servers remember 1 MiB"
)
COMMAND = Command(
    name="lab console",
    summary="connect (Ctrl-] ends), tail (watch only), log (what the board said before), or configure with JSON",
    target="lab_console:run",
    arguments=("CONSOLE", "VERB", "[PARAMETERS]"),
    options=(REPLAY_OPTION, *SERVER_OPTIONS),
    examples=(
        "swagent lab console ttyUSB0 connect --replay",
        "swagent lab console ttyUSB0 log > boot.log",
        """swagent lab console ttyUSB0 configure '{"rate": 1500000}'""",
    ),
)
ESCAPE = b"\x1d"
_PIECE_BYTES = 1024


def run(args: Args) -> int:
    """Do one of these."""
    from swagent.lab.items import ItemType

    verb = one_of(args.arguments[1], VERBS)
    if (len(args.arguments) == 3) != (verb == "configure"):
        raise UsageError("parameters go with configure, and with nothing else")
    with connected(args) as client:
        number = client.find(ItemType.CONSOLE, args.arguments[0])
        if verb == "configure":
            client.configure(number, parameters_of(args.arguments[2]))
        elif verb == "log":
            show(client.remembered(number))
        elif verb == "tail":
            tail(client, number, replay=args.on("replay"))
        else:
            connect(client, number, replay=args.on("replay"))
    return 0


def tail(client: "LabClient", console: int, *, replay: bool) -> None:
    """Show what a board says until it ends."""
    show(client.output(console, replay=replay))


def show(pieces: "Iterator[bytes]") -> None:
    """Write what a board says to standard output, byte for byte."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def connect(client: "LabClient", console: int, *, replay: bool) -> None:
    """Show what a board says, and type what is typed here, until Ctrl-] or the end of standard input."""
    import threading

    from swagent.errors import LabError

    begun = threading.Event()
    failed: list[LabError] = []

    def show() -> None:
        try:
            for piece in client.output(console, replay=replay, begun=begun.set):
                os.write(1, piece)
        except LabError as exc:
            failed.append(exc)
        finally:
            begun.set()

    threading.Thread(target=show, daemon=True).start()
    begun.wait()
    if failed:
        raise failed[0]
    with raw_terminal() as is_terminal:
        if is_terminal:
            sys.stderr.write("connected; Ctrl-] ends\r\n")
            sys.stderr.flush()
        client.type(console, _typed(failed))
    if is_terminal:
        sys.stderr.write("\n")
    if failed:
        raise failed[0]


def _typed(failed: "Sequence[Exception]") -> "Iterator[bytes]":
    import select

    while not failed:
        ready, _, _ = select.select([0], [], [], 0.2)
        if not ready:
            continue
        piece = os.read(0, _PIECE_BYTES)
        before, escape, _ = piece.partition(ESCAPE)
        if before:
            yield before
        if escape or not piece:
            return
