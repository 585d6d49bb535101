"""``--ask``, on a real pseudo-terminal."""

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swagent.cli.question import Question
from swagent.errors import Cancelled, UsageError
from swagent.model import Artifact, Description, Fate, Hardware, Kind, Plan, Planned, Unit
from tests.programs import PROJECT, run_swagent

ART = Artifact(Kind.IMAGE, "raw", "rootfs.img", device="/dev/mmcblk0p3")
PLAN = Plan(
    Description("2.4.0", description="July \x1b[31mred"),
    (
        Planned(ART, Fate.DIRECT, stored_bytes=5 << 20),
        Planned(ART._replace(filename="boot.img"), Fate.SKIPPED, "installed"),
    ),
    (),
)
UNIT = Unit(Hardware("gateway", "1.3"))


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Our end of a terminal, and its path."""
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"y\n", True),
        (b"YES\n", True),
        (b" y \n", True),
        (b"\n", False),
        (b"n\n", False),
        (b"yep\n", False),
        (b"\x04", False),
        (b"y" * 2000 + b"\n", False),
    ],
)
def test_only_yes_is_a_yes(typed: bytes, answer: bool, terminal: tuple[int, str]) -> None:
    ours, path = terminal
    question = Question(path)
    os.write(ours, typed)
    assert question.ask(PLAN, UNIT) is answer


def test_the_plan_is_shown(terminal: tuple[int, str]) -> None:
    ours, path = terminal
    question = Question(path)
    os.write(ours, b"n\n")
    question.ask(PLAN, UNIT)
    shown = ""
    while "[y/N]" not in shown:
        shown += os.read(ours, 10000).decode()
    for words in ("2.4.0", "gateway rev 1.3", "rootfs.img", "/dev/mmcblk0p3", "5.0 MiB", "skip", "[y/N]"):
        assert words in shown, shown
    assert "\x1b" not in shown


def test_a_signal_ends_the_waiting(terminal: tuple[int, str]) -> None:
    question = Question(terminal[1])
    question.stopped = lambda: True
    with pytest.raises(Cancelled):
        question.ask(PLAN, UNIT)


def test_no_terminal(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        Question(str(tmp_path / "none"))


@pytest.fixture
def update(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "sw-description").write_text(
        f'software = {{ version = "7"; files: ( {{ filename = "a"; path = "{tmp_path}/out"; }} ); }};'
    )
    made = run_swagent(["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"], tmp_path)
    assert made.ok, made.text
    return tmp_path / "update.swu"


def at_terminal(update: Path, act: Callable[[int, int], None], *words: str) -> tuple[int, str]:
    """Run ``swagent -i update`` at a terminal of its own; ``act`` gets its process and the terminal when it asks."""
    folder = update.parent
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(folder), "RUNTIME_DIRECTORY": str(folder)}
    argv = [sys.executable, "-m", "swagent", "-i", str(update), "--allow-unsigned", "--ask", *words]
    pid, ours = pty.fork()
    if pid == 0:
        os.execve(sys.executable, argv, env)
    shown = b""
    until_s = time.monotonic() + 30
    acted = False
    while time.monotonic() < until_s:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            block = os.read(ours, 4096)
        except OSError:
            break  # it has ended
        if not block:
            break
        shown += block
        if b"[y/N]" in shown and not acted:
            acted = True
            act(pid, ours)
    os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def typing(answer: bytes) -> Callable[[int, int], None]:
    def act(pid: int, ours: int) -> None:
        os.write(ours, answer)

    return act


def test_yes_installs(update: Path) -> None:
    code, shown = at_terminal(update, typing(b"y\n"))
    assert code == 0, shown
    assert (update.parent / "out").read_bytes() == b"content"


def test_no_does_not(update: Path) -> None:
    code, shown = at_terminal(update, typing(b"\n"))
    assert code == 32, shown
    assert "nobody agreed" in shown
    assert not (update.parent / "out").exists()


def test_an_interrupt_does_not_either(update: Path) -> None:
    code, shown = at_terminal(update, lambda pid, ours: os.kill(pid, signal.SIGINT))
    assert code == 80, shown
    assert not (update.parent / "out").exists()


def test_a_dry_run_asks_nobody(update: Path) -> None:
    done = run_swagent(["-c", "-i", update, "--allow-unsigned", "--ask"], update.parent)
    assert done.ok, done.text


def test_without_a_terminal_nothing_happens(update: Path) -> None:
    done = run_swagent(["-i", update, "--allow-unsigned", "--ask"], update.parent)
    assert done.code == 2
    assert "consent-command" in done.text
    assert not (update.parent / "out").exists()
