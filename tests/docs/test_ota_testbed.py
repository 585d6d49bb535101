"""Plays docs/tutorial/ota-testbed.md in three windows, as its reader would.

In a block marked ``pycon WINDOW`` a line that begins with ``>>>`` is typed at that window's prompt; the lines below are
what must appear there, in this order, with ``…`` for anything. Lines above the first ``>>>`` have appeared already.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "ota-testbed.md"
DEADLINE_S = 120.0


class Block(NamedTuple):
    line: int
    window: str
    typed: str
    printed: list[str]


def blocks() -> list[Block]:
    """What the page says, one thing typed after the other."""
    found: list[Block] = []
    window = ""
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            opened = re.fullmatch(r"```pycon (\w+)", line)
            window = opened[1] if opened else ""
            if window:
                found.append(Block(number, window, "", []))
        elif window and line.startswith(">>> "):
            found.append(Block(number, window, line[4:], []))
        elif window:
            found[-1].printed.append(line)
    return [block for block in found if block.typed or block.printed]


class Prompt:
    """One window."""

    def __init__(self, folder: Path, window: str, *words: str) -> None:
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "swagent", "testbed", "console", window, *words],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._typed = 0
        self._at = 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(re.sub(r"^(>>> |\.\.\. )+", "", line.rstrip("\n")))

    def type(self, text: str) -> None:
        """Type a line and wait until it is done."""
        assert self._process.stdin is not None
        self._typed += 1
        done = f"done-{self._typed}"
        self._process.stdin.write(f"{text}\nprint({done!r})\n")
        self._process.stdin.flush()
        until = time.monotonic() + DEADLINE_S
        while done not in self._lines:
            assert self._process.poll() is None, "\n".join(self._lines)
            assert time.monotonic() < until, "\n".join(self._lines[-40:])
            time.sleep(0.02)

    def expect(self, line: str) -> None:
        """A line that must have appeared behind the last one that was found."""
        pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
        for at in range(self._at, len(self._lines)):
            if re.fullmatch(pattern, self._lines[at].strip()):
                self._at = at + 1
                return
        pytest.fail(f"no {line!r} among\n" + "\n".join(self._lines[self._at :][-60:]))

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(DEADLINE_S) == 0
        finally:
            self._process.kill()


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[dict[str, Prompt]]:
    found = {"server": Prompt(tmp_path, "server", "--dialect", "ref-der", "--free-ports")}
    found["server"].type("None")
    for window in ("primary", "secondary"):
        found[window] = Prompt(tmp_path, window)
    yield found
    for each in reversed(found.values()):
        each.end()
    assert not list(tmp_path.glob("temp_*"))


def test_the_exercise(windows: dict[str, Prompt]) -> None:
    for block in blocks():
        if block.typed:
            windows[block.window].type(block.typed)
        for line in block.printed:
            windows[block.window].expect(line)


def test_the_page_has_the_exercise() -> None:
    typed = [(block.window, block.typed) for block in blocks()]
    for words in (
        ("server", "di.delivering_an_update()"),
        ("server", "dd.delivering_an_update('TCUdemocar')"),
        ("primary", "dp.update_cycle()"),
        ("secondary", "ds.update_cycle()"),
    ):
        assert words in typed


def test_windows_without_a_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "swagent", "testbed", "console", "primary"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 70
    assert "no testbed" in done.stderr
