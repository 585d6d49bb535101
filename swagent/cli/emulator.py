"""A terminal inside the terminal: what a board draws, kept as a screen with a memory, and drawn again line by line."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from swagent.errors import RegistrationError

_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
"""As pyte calls the eight colours."""
_SEQUENCES = re.compile(rb"(?=\x1b)")


class Emulator:
    """A screen of a fixed size.

    Args:
        columns, lines: its size.
        scrollback_lines: how many lines that have gone at the top are remembered.
        answer: takes what the terminal says by itself, to be typed at the board.

    Raises:
        RegistrationError: pyte is not installed.
    """

    def __init__(
        self, columns: int, lines: int, scrollback_lines: int, answer: Callable[[bytes], None]
    ) -> None:
        try:
            import pyte
        except ImportError as exc:
            raise RegistrationError(
                "a screen for boards needs pyte", hint="pip install 'swagent[lab]'"
            ) from exc

        class Screen(pyte.HistoryScreen):
            """Says what the board asks for, such as where the cursor is."""

            def write_process_input(self, data: str) -> None:
                answer(data.encode())

        self._screen: Any = Screen(columns, lines, history=scrollback_lines, ratio=1e-9)
        self._new_stream: Any = pyte.ByteStream
        self._stream = self._new_stream(self._screen)
        self._back = 0

    def feed(self, data: bytes) -> None:
        """The board says this."""
        before = len(self._screen.history.top)
        for part in _SEQUENCES.split(data):
            if part[:1] == b"\x1b" and part[:2] != b"\x1b\\" and not self._stream._taking_plain_text:
                self._stream = self._new_stream(self._screen)  # a sequence in a sequence ends it
            try:
                self._stream.feed(part)
            except Exception:  # noqa: BLE001 - pyte fails on sequences that it half knows, such as \x1b[?1r; they draw nothing
                self._stream = self._new_stream(self._screen)
        if self._back:  # what is looked at stays where it is
            self._back = min(
                self._back + len(self._screen.history.top) - before, len(self._screen.history.top)
            )

    def resize(self, columns: int, lines: int) -> None:
        """It has another size now."""
        self._screen.resize(lines, columns)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return self._screen.columns, self._screen.lines

    @property
    def back(self) -> int:
        """How many lines above the present ones are looked at."""
        return self._back

    def scroll(self, n_lines: int) -> None:
        """Look that many lines further up, or down."""
        self._back = max(0, min(self._back + n_lines, len(self._screen.history.top)))

    def look_at_now(self) -> None:
        """Look at the present lines."""
        self._back = 0

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and line of the cursor from 0 on, None when it is not to be seen."""
        if self._screen.cursor.hidden or self._back:
            return None
        return min(self._screen.cursor.x, self._screen.columns - 1), self._screen.cursor.y

    def drawn(self) -> list[str]:
        """Each line, as it is written to a terminal."""
        screen = self._screen
        old = list(screen.history.top)
        lines = old[len(old) - self._back :][: screen.lines]
        lines += [screen.buffer[y] for y in range(screen.lines - len(lines))]
        return ["".join(self._cells(line)) for line in lines]

    def _cells(self, line: Any) -> Iterator[str]:
        style = ""
        cells = (line[x] for x in range(self._screen.columns))
        for char in islice(cells, self._screen.columns):
            if not char.data:  # the second half of a wide character
                continue
            wanted = _style(char)
            if wanted != style:
                style = wanted
                yield f"\x1b[0{style}m"
            yield char.data
        if style:
            yield "\x1b[0m"


def _style(char: Any) -> str:
    words = []
    for on, code in (
        (char.bold, "1"),
        (char.italics, "3"),
        (char.underscore, "4"),
        (char.reverse, "7"),
        (char.strikethrough, "9"),
    ):
        if on:
            words.append(code)
    words += [_colour(char.fg, 30), _colour(char.bg, 40)]
    return "".join(f";{word}" for word in words if word)


def _colour(name: str, base: int) -> str:
    if name == "default":
        return ""
    bright = name.removeprefix("bright")
    if bright in _NAMES:
        return str(_NAMES.index(bright) + base + (60 if bright != name else 0))
    try:
        red, green, blue = bytes.fromhex(name)
    except ValueError:
        return ""
    return f"{base + 8};2;{red};{green};{blue}"
