"""``swagent testbed up``: all five parties, and a screen to watch and steer them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .options import Args, Command, Option
from .testbed import DIALECT_OPTION, FOLDER_OPTION, HOW, SEED_OPTION, Lines, seed

COMMAND = Command(
    name="testbed up",
    summary="all five parties on one screen; keys deliver, update, attack, recover. Not on a terminal: lines",
    target="testbed_up:run",
    options=(
        DIALECT_OPTION,
        FOLDER_OPTION,
        Option("free-ports", group=HOW, help="listen where it is free, not where the reference does"),
        SEED_OPTION,
    ),
    examples=("swagent testbed up", "printf 'u\\np\\ns\\n' | swagent testbed up --free-ports"),
)


def run(args: Args) -> int:
    """Start everything; then a key, or a line, is an order."""
    from swagent.testbed.board import Board
    from swagent.testbed.place import Ports
    from swagent.testbed.script import started

    ports = None if args.on("free-ports") else Ports()
    words = {"folder": args.get("folder"), "ports": ports, "seed": seed(args)}
    dialect = args.get("dialect") or "tuf1"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        from .terminal import wants_colour

        lines = Lines(sys.stdout, colour=wants_colour(sys.stdout, os.environ))
        with started(dialect, lines, **words) as parties:  # type: ignore[arg-type]  # as named above
            board = Board(parties, lambda text: lines.line("board", text))
            for line in sys.stdin:
                if not all(board.press(key) for key in line.strip()):
                    break
        return 0
    from swagent.testbed.board import KEYS, Screen

    from .terminal import wants_colour
    from .units import clean

    with _full_screen():
        screen = Screen(_draw, _size, clean, colour=wants_colour(sys.stdout, os.environ))
        screen.foot("starting…")
        with started(dialect, screen, **words) as parties:  # type: ignore[arg-type]  # as named above
            board = Board(parties, screen.foot)
            screen.foot(KEYS)
            while (key := os.read(sys.stdin.fileno(), 1).decode("ascii", "replace")) and board.press(key):
                pass
    return 0


def _draw(text: str) -> None:
    rows = "\r\n".join(f"{row}\x1b[K" for row in text.split("\n"))
    sys.stdout.write(f"\x1b[H{rows}\x1b[J")
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    found = os.get_terminal_size(sys.stdout.fileno())
    return max(found.columns, 40), max(found.lines, 16)


@contextmanager
def _full_screen() -> Iterator[None]:
    """The other screen of the terminal, keys without Enter; both as before in the end."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
