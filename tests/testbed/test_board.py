"""The screen of ``swagent testbed up``, and its keys."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from swagent.testbed.banners import Banner
from swagent.testbed.board import ASSAULTS, KEYS, Board, Screen
from swagent.testbed.place import PARTIES
from swagent.testbed.script import Heard, started

from .test_script import Silent

DEADLINE_S = 60.0
EXPECTED = (
    Banner.DEFENDED,
    Banner.DEFENDED,
    Banner.REPLAY,
    Banner.DEFENDED,
    Banner.COMPROMISED,
    Banner.DEFENDED,
)


def test_every_line_has_its_pane_and_every_step_its_light() -> None:
    drawn: list[str] = []
    screen = Screen(drawn.append, lambda: (90, 40), lambda text: text, colour=False)
    for party in PARTIES:
        for number in range(20):
            screen.line(party, f"{party} says {number}" + "x" * 200)
    for number in (1, 4, 15):
        screen.step(number)
    screen.banner("primary", Banner.REPLAY)
    rows = drawn[-1].split("\n")
    assert len(rows) <= 40
    assert all(len(row) <= 90 for row in rows)
    assert "[ 1]" in rows[0]
    assert "[ 4]" in rows[0]
    assert "[15]" in rows[0]
    assert "[ 5]" not in rows[0]
    assert [row for row in rows if row.startswith("-- Image repository")]
    for party in PARTIES[:3]:
        assert [row for row in rows if row.startswith(f"{party} says 19")], "the last lines are shown"
        assert not [row for row in rows if row.startswith(f"{party} says 0")]
    assert "** REPLAY **" in drawn[-1]
    assert "####" in drawn[-1], "large"
    screen.step(1)
    assert "[ 4]" not in drawn[-1], "a new cycle begins"
    assert rows[-1] == KEYS


@pytest.mark.parametrize("size", [(40, 16), (80, 24), (200, 60)])
def test_it_fits_whatever_the_terminal(size: tuple[int, int]) -> None:
    drawn: list[str] = []
    screen = Screen(drawn.append, lambda: size, lambda text: text, colour=False)
    for party in PARTIES:
        screen.line(party, "long " * 100)
    screen.banner("secondary", Banner.NO_UPDATE_NEEDED)
    rows = drawn[-1].split("\n")
    assert len(rows) <= size[1]
    assert all(len(row) <= max(size[0], 70) for row in rows)


def test_keys(tmp_path: Path) -> None:
    heard, feet = Heard(Silent()), [""]
    with started("tuf1", heard, folder=str(tmp_path)) as parties:
        board = Board(parties, feet.append)
        for key in "ups":
            assert board.press(key)
        assert heard.banners == [Banner.UPDATED]
        board.press("r")
        assert "no attack" in feet[-1]
        for number, banner in enumerate(EXPECTED, 1):
            board.press("a")
            assert ASSAULTS[number - 1].text in feet[-1]
            board.press(str(number))
            heard.banners.clear()
            board.press("p")
            if banner is Banner.COMPROMISED:
                board.press("s")
            assert heard.banners == [banner], ASSAULTS[number - 1].text
            board.press("a")
            assert "under way" in feet[-1]
            board.press("r")
            heard.banners.clear()
            board.press("p")
            assert heard.banners == []
        board.press("a")
        board.press("x")
        assert feet[-1] == KEYS
        assert not board.press("q")


def test_not_on_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "swagent", "testbed", "up", "--free-ports", "--dialect", "ref-der"],
        cwd=tmp_path, input="u\nps\nz\nq\nnot reached", capture_output=True, text=True, check=False,
        timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^secondary +UPDATED$", done.stdout, re.MULTILINE)


def test_on_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "swagent", "testbed", "up", "--free-ports"],
        cwd=tmp_path, stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        try:
            _drive(leader)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    os.close(leader)


def _drive(leader: int) -> None:
    until = time.monotonic() + DEADLINE_S
    for key, awaited in (
        (b"", b"q quit"),
        (b"u", b"New metadata of democar"),
        (b"p", b"[ 8]"),
        (b"s", b"** UPDATED **"),
    ):
        os.write(leader, key)
        seen = b""
        while awaited not in seen:
            assert time.monotonic() < until, seen[-3000:]
            if select.select([leader], [], [], 0.2)[0]:
                seen += os.read(leader, 65536)
    os.write(leader, b"q")
    while time.monotonic() < until:
        try:
            if select.select([leader], [], [], 0.2)[0] and not os.read(leader, 65536):
                return
        except OSError:  # the other side is closed
            return
