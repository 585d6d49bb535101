"""A conversation with a board over its console: wait for what it says, type, run commands of its shell."""

import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from shlex import quote
from types import TracebackType
from typing import NamedTuple

from swagent.errors import LabError

from .client import LabClient
from .errors import Failed, Gone, TookTooLong

KEPT_BYTES = 256 * 1024
"""How much of what a board said is kept until somebody waits for it; the log has all."""
PROMPT = r"[#$] \Z"
_PROMPT_S = 3.0
_TAIL_BYTES = 400
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>])")


class Answer(NamedTuple):
    """What a command of the board's shell did."""

    status: int
    output: str


class Said(NamedTuple):
    """What was waited for, with what came before it."""

    before: bytes
    text: bytes
    groups: tuple[bytes, ...]


class Talk:
    """A console in use; use it with ``with``.

    Args:
        client: of the server.
        console: its number.
        prompt: regular expression of what its shell says when it waits for a command.
        log: gets every byte that the board says.
        clock: seconds that only grow.

    Raises:
        LabError: the console cannot be watched.
    """

    def __init__(
        self,
        client: LabClient,
        console: int,
        prompt: str = PROMPT,
        log: Callable[[bytes], None] = lambda data: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._console = console
        self._prompt = prompt
        self._log = log
        self._clock = clock
        self._heard = bytearray()
        self._news = threading.Condition()
        self._end: LabError | None = None
        self._closed = False
        self._begun = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        self._begun.wait()
        if self._end is not None:
            raise self._end

    def __enter__(self) -> "Talk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closed = True

    def forget(self) -> None:
        """What was said until now is not waited for any more."""
        with self._news:
            self._heard.clear()

    def type(self, text: str) -> None:
        """Type it, as it is. Raises LabError."""
        self._client.type(self._console, [text.encode()])

    def expect(self, pattern: str, timeout_s: float, what: str = "") -> "Said":
        """Wait until the board says it; what it said up to its end is used up then.

        Args:
            pattern: a regular expression, in which ``^`` and ``$`` are ends of lines.
            timeout_s: how long to wait.
            what: what it is, for the message of an error.

        Raises:
            TookTooLong: it has not; the hint has the last that it said.
            LabError: the console went away.
        """
        wanted = re.compile(pattern.encode(), re.MULTILINE)
        until_s = self._clock() + timeout_s
        with self._news:
            while True:
                found = wanted.search(self._heard)
                if found is not None:
                    said = Said(bytes(self._heard[: found.start()]), found.group(), found.groups())
                    del self._heard[: found.end()]
                    return said
                if self._end is not None:
                    raise Gone(f"while waiting for {what or pattern!r}: {self._end.message}") from self._end
                left_s = until_s - self._clock()
                if left_s <= 0:
                    last = readable(bytes(self._heard[-_TAIL_BYTES:])).strip().splitlines()[-1:]
                    raise TookTooLong(
                        f"{what or repr(pattern)} did not come within {timeout_s:g} s",
                        hint=f"the last line of the board is {last[0]!r}"
                        if last
                        else "the board said nothing",
                    )
                self._news.wait(min(left_s, 1.0))

    def run(self, command: str, timeout_s: float) -> Answer:
        """Have the board's shell, which waits for a command, run one, until it waits again.

        Raises:
            TookTooLong: it did not end in time.
            LabError: the console went away.
        """
        mark = secrets.token_hex(4)
        # the shell joins the halves of a mark, so that the echo of this line is none
        self.forget()
        self.type(f"echo swagent'-begin-'{mark}; (eval {quote(command)}); echo swagent'-end-'{mark}-$?\n")
        until_s = self._clock() + timeout_s
        self.expect(rf"swagent-begin-{mark}\r*\n", timeout_s, "the board's shell")
        left_s = max(until_s - self._clock(), 0.0)
        said = self.expect(rf"swagent-end-{mark}-(\d+)\r*\n", left_s, f"the end of {command!r}")
        with suppress(TookTooLong):  # something else that the board said may hide it
            self.expect(self._prompt, _PROMPT_S)
        return Answer(int(said.groups[0]), readable(said.before).strip("\n"))

    def _listen(self) -> None:
        try:
            for piece in self._client.output(self._console, begun=self._begun.set):
                self._log(piece)
                with self._news:
                    if self._closed:
                        return
                    self._heard += piece
                    if len(self._heard) > KEPT_BYTES:
                        del self._heard[: len(self._heard) - KEPT_BYTES]
                    self._news.notify_all()
            self._end = Gone("the console ended")
        except LabError as exc:
            self._end = exc
        except OSError as exc:
            self._end = Failed(f"the console log cannot be written: {exc.strerror}")
        finally:
            self._begun.set()
            with self._news:
                self._news.notify_all()


def readable(data: bytes) -> str:
    """What a terminal would show of it, without colours and movements; each line ends in a newline."""
    text = _ESCAPES.sub(b"", data).decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or char.isprintable())
