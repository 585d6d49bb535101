"""``swagent lab ui`` at a terminal: a board's screen within it, its power, its memory."""

import fcntl
import os
import pty
import random
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.cli.emulator import Emulator
from tests.programs import PROJECT, run_swagent

from .labs import Board, Keys, serving
from .test_service import DISK_BYTES, configuration

PATIENCE_S = 30.0


class Window:
    """A terminal with the program in it; ``shown`` is what a person sees."""

    def __init__(self, folder: Path, words: list[str], columns: int = 100, lines: int = 30) -> None:
        self._fd, theirs = pty.openpty()
        self._theirs = theirs
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "swagent", "lab", "ui", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self._fd, 65536):
                self.raw += data
                self._stream.feed(data)
        except OSError:
            pass

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def wait(self, true: Callable[[], bool]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < until_s, "\n".join(self.screen.display)
            time.sleep(0.02)

    def shows(self, text: str) -> None:
        self.wait(lambda: any(text in line for line in self.screen.display))

    def end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        os.close(self._theirs)
        return code


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Path, Board]]:
    board, keys = Board(), Keys(tmp_path)
    (tmp_path / "token").write_text(keys.token() + "\n")
    (tmp_path / "disk.img").write_bytes(bytes(DISK_BYTES))
    (tmp_path / "rom.img").write_bytes(bytes(10))
    with serving(tmp_path, configuration(tmp_path, board)) as (server, _):
        (tmp_path / "address").write_text(f"http://127.0.0.1:{server.port}")
        yield tmp_path, board
    board.unplug()


def opened(folder: Path, *words: str, **size: int) -> Window:
    options = ["--server", (folder / "address").read_text(), "--token-file", "token"]
    return Window(folder, ["board", *words, *options], **size)


def test_a_board_in_a_window(lab: tuple[Path, Board]) -> None:
    folder, board = lab
    window = opened(folder, lines=20)
    window.shows("mode unknown")
    window.shows("^A then: o on  f off  r reset")
    board.say(b"\x1b[2J\x1b[1;5Hat five \x1b[31;1mred\x1b[0m\r\n")
    window.shows("    at five red")
    row = next(y for y, line in enumerate(window.screen.display) if "at five" in line)
    assert window.screen.buffer[row][14].fg == "red" and window.screen.buffer[row][14].bold
    window.type(b"ls\x01\x01")
    assert board.typed(3) == b"ls\x01"
    board.say(b"\x1b[6n")
    assert board.typed(6)[:2] == b"\x1b[", "the window answers what the board asks"
    window.type(b"\x01r")
    window.shows("mode on")
    assert (folder / "power").read_text().split() == ["off", "on"]
    window.type(b"\x01f")
    window.shows("mode off")
    board.say(b"".join(b"line %d\r\n" % number for number in range(100)))
    window.shows("line 99")
    window.type(b"\x01" + b"k" * 30)
    window.shows("30 lines back")
    window.shows("line 60")
    board.say(b"more\r\n" * 3)
    window.shows("33 lines back")
    window.shows("line 60")
    window.type(b"x")  # and not o: power needs Ctrl-A again
    assert board.typed(1) == b"x"
    window.shows("more")
    window.type(b"\x01q")
    assert window.end() == 0
    assert window.raw.endswith(b"\x1b[?1049l") or b"\x1b[?1049l" in window.raw[-200:]


def test_its_size_follows_the_window(lab: tuple[Path, Board]) -> None:
    folder, board = lab
    window = opened(folder, "--terminal-size", "auto", columns=60, lines=10)
    window.shows("mode unknown")
    board.say(b"x" * 70)
    window.shows("x" * 60)
    window.resize(80, 12)
    board.say(b"\r\n" + b"y" * 75)
    window.shows("y" * 75)
    window.type(b"\x01q")
    assert window.end() == 0


def test_a_console_that_goes(lab: tuple[Path, Board]) -> None:
    folder, board = lab
    window = opened(folder)
    window.shows("mode unknown")
    board.unplug()
    assert window.end() == 90
    assert b"Traceback" not in window.raw


def test_without_a_terminal(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    for words, said in (
        ([], "ui needs a terminal"),
        (["--terminal-size", "0x1"], "write 80x24, or auto"),
        (["--scrollback-lines", "x"], "up to 1000000"),
    ):
        done = run_swagent(["lab", "ui", "board", *words], folder)
        assert done.code == 2 and said in done.text


@given(st.binary(max_size=300), st.integers(0, 9))
def test_whatever_a_board_says(data: bytes, back: int) -> None:
    said: list[bytes] = []
    emulator = Emulator(20, 5, 50, said.append)
    emulator.feed(b"\r\n".join(b"%d" % n for n in range(random.Random(1).randrange(30))))
    emulator.scroll(back)
    emulator.feed(data)
    emulator.resize(30, 7)
    lines = emulator.drawn()
    assert len(lines) == 7
    assert emulator.cursor is None or (0 <= emulator.cursor[0] < 30 and 0 <= emulator.cursor[1] < 7)
