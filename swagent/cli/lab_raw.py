"""A terminal that gives each key as it is typed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raw_terminal() -> Iterator[bool]:
    """Standard input gives each key as it is typed, while this lasts; says whether it is a terminal."""
    import termios
    import tty

    if not os.isatty(0):
        yield False
        return
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield True
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
