"""``swagent lab ui``: a board's console in a window of its own, with its power at hand."""

import os
import queue
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from swagent.errors import LabError, UsageError

from .lab_parts import SERVER_OPTIONS, connected
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.client import LabClient

    from .emulator import Emulator

COMMAND = Command(
    name="lab ui",
    summary="a board's console in a window; Ctrl-A, then o switches on, f off, r resets, k and j scroll, 0 comes back, "
    "q ends",
    target="lab_ui:run",
    arguments=("DEVICE",),
    options=(
        Option("console", "", "NAME", "which of its consoles; default: the first one"),
        Option("terminal-size", "", "SIZE", "as 80x24, which is the default, or auto for that of the window"),
        Option("scrollback-lines", "", "N", "how many lines are remembered, default 5000"),
        *SERVER_OPTIONS,
    ),
    examples=("swagent lab ui rpi", "swagent lab ui rpi --terminal-size auto"),
)
PREFIX = b"\x01"
_KEYS = "^A then: o on  f off  r reset  k/j scroll  0 back  q end"
_SIZE = re.compile(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,2})")
_FRAME_S = 0.03
_PIECE_BYTES = 64 * 1024
_SCROLLS = {b"k": 1, b"j": -1, b"0": 0}
_POWER = {b"o": ("on",), b"f": ("off",), b"r": ("off", "on")}


def run(args: Args) -> int:
    """Show it until Ctrl-A q."""
    from swagent.lab.items import ItemType

    from .emulator import Emulator
    from .lab_device import console_of
    from .lab_raw import raw_terminal

    fixed, scrollback_lines = (
        _size(args.get("terminal-size") or "80x24"),
        _lines(args.get("scrollback-lines")),
    )
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError("ui needs a terminal", hint="`swagent lab device … connect` works without one")
    with connected(args) as client:
        device = client.find(ItemType.DEVICE, args.arguments[0])
        console = console_of(next(client.device(device)), args.get("console"), args.arguments[0])
        typed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        window = os.get_terminal_size()
        emulator = Emulator(*(fixed or _inside(window)), scrollback_lines, typed.put)
        view = _View(client, device, console, args.arguments[0], emulator, typed, resizes=fixed is None)
        with raw_terminal():
            view.run()
    if view.error is not None:
        raise view.error
    return 0


class _View:
    """The window: what the board says above, how it is below."""

    def __init__(
        self,
        client: "LabClient",
        device: int,
        console: int,
        name: str,
        emulator: "Emulator",
        typed: "queue.SimpleQueue[bytes | None]",
        *,
        resizes: bool,
    ) -> None:
        self._client = client
        self._device = device
        self._console = console
        self._name = name
        self._emulator = emulator
        self._typed = typed
        self._resizes = resizes
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        self._window = os.get_terminal_size()
        self._drawn: list[str] = []
        self._mode = ""
        self._told = ""
        self._prefixed = self._scrolls = False
        self._ends = False
        self.error: LabError | None = None

    def run(self) -> None:
        """Draw, and take keys, until the end."""
        for work in (self._listen, self._watch, self._type):
            threading.Thread(target=work, daemon=True).start()
        sys.stdout.write("\x1b[?1049h\x1b[2J")
        try:
            drawn_s = 0.0
            while not self._ends:
                ready, _, _ = select.select([0, self._wake_r], [], [], 0.5)
                if self._wake_r in ready:
                    os.read(self._wake_r, 4096)
                if 0 in ready:
                    self._keys(os.read(0, 1024))
                self._fit()
                self._feed()
                pause_s = drawn_s + _FRAME_S - time.monotonic()
                if pause_s > 0:
                    time.sleep(pause_s)
                drawn_s = time.monotonic()
                self._draw()
        finally:
            self._typed.put(None)
            sys.stdout.write("\x1b[0m\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()

    # -- threads

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except LabError as exc:
            if not self._ends:  # afterwards the calls are broken off
                self.error = exc
        self._ends = True
        self._wake()

    def _listen(self) -> None:
        def work() -> None:
            for piece in self._client.output(self._console, replay=True):
                self._heard.put(piece)
                self._wake()

        self._guarded(work)

    def _type(self) -> None:
        pieces: Iterator[bytes] = iter(self._typed.get, None)
        self._guarded(lambda: self._client.type(self._console, pieces))

    def _watch(self) -> None:
        with suppress(LabError):  # the console tells what is wrong
            for state in self._client.device(self._device):
                self._mode = state.mode or "unknown"
                self._wake()

    def _power(self, modes: tuple[str, ...]) -> None:
        def work() -> None:
            try:
                for mode in modes:
                    self._told = f"{mode} …"
                    self._wake()
                    self._client.change_mode(self._device, mode)
                self._told = ""
            except LabError as exc:
                self._told = exc.message
            self._wake()

        threading.Thread(target=work, daemon=True).start()

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._wake_w, b"x")

    # -- keys

    def _keys(self, data: bytes) -> None:
        if not data:
            self._ends = True
            return
        plain = b""
        for byte in (data[at : at + 1] for at in range(len(data))):
            if self._scrolls and byte in _SCROLLS:  # further ones need no Ctrl-A
                self._scroll(byte)
                continue
            self._scrolls = False
            if not self._prefixed:
                if byte == PREFIX:
                    self._prefixed = True
                else:
                    plain += byte
                continue
            self._prefixed = False
            if byte == PREFIX:
                plain += byte
            elif byte == b"q":
                self._ends = True
            elif byte in _POWER:
                self._power(_POWER[byte])
            elif byte in _SCROLLS:
                self._scrolls = True
                self._scroll(byte)
        if plain:
            self._emulator.look_at_now()
            self._typed.put(plain)

    def _scroll(self, byte: bytes) -> None:
        if _SCROLLS[byte]:
            self._emulator.scroll(_SCROLLS[byte])
        else:
            self._emulator.look_at_now()
            self._scrolls = False

    # -- drawing

    def _feed(self) -> None:
        done_bytes = 0
        with suppress(queue.Empty):
            while done_bytes < _PIECE_BYTES:  # keys must be looked at too
                piece = self._heard.get_nowait()
                done_bytes += len(piece)
                self._emulator.feed(piece)
            self._wake()

    def _fit(self) -> None:
        """Follow the window's size."""
        window = os.get_terminal_size()
        if window != self._window:
            self._window = window
            self._drawn = []
            sys.stdout.write("\x1b[0m\x1b[2J")
            if self._resizes:
                self._emulator.resize(*_inside(window))

    def _draw(self) -> None:
        window, cursor = self._window, self._emulator.cursor
        rows = window.lines - 1
        above = max(cursor[1] - rows + 1, 0) if cursor is not None else 0
        lines = self._emulator.drawn()[above : above + rows]
        lines += [""] * (rows - len(lines))
        lines.append(self._status(window.columns))
        out = ["\x1b[?25l\x1b[?7l"]
        for number, line in enumerate(lines):
            if number >= len(self._drawn) or self._drawn[number] != line:
                out.append(f"\x1b[{number + 1};1H\x1b[2K{line}")
        self._drawn = lines
        if cursor is not None:
            out.append(f"\x1b[{cursor[1] - above + 1};{cursor[0] + 1}H\x1b[?25h")
        out.append("\x1b[?7h")
        sys.stdout.write("".join(out))
        sys.stdout.flush()

    def _status(self, columns: int) -> str:
        from .units import clean, fit, pad

        what = self._told or f"mode {self._mode}"
        if self._emulator.back:
            what = f"{self._emulator.back} lines back"
        text = f" {clean(self._name)}   {clean(what)}   {_KEYS}"
        return f"\x1b[0;7m{pad(fit(text, columns), columns)}\x1b[0m"


def _inside(window: os.terminal_size) -> tuple[int, int]:
    return max(window.columns, 1), max(window.lines - 1, 1)


def _size(text: str) -> tuple[int, int] | None:
    if text == "auto":
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"--terminal-size is {text[:20]!r}", hint="write 80x24, or auto")
    return int(found[1]), int(found[2])


def _lines(text: str | None) -> int:
    if text is None:
        return 5000
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 1_000_000):
        raise UsageError(f"--scrollback-lines is {text[:20]!r}", hint="it is a number up to 1000000")
    return int(text)
