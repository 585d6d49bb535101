"""A unit on a desk: an installer that keeps a journal, a backend, and a process that can end at any time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swagent.clock import SystemClock
from swagent.errors import Busy, SwagentError
from swagent.model import InstallRequest, Outcome
from swagent.settings import InstallSettings
from swagent.suricatta.api import Known, Tools
from swagent.suricatta.hawkbit import Hawkbit
from swagent.suricatta.ledger import Ledger

PIECE_BYTES = 100_000


class Killed(BaseException):
    """The process ends here, as after kill -9: nothing that runs afterwards may count on anything."""


@dataclass
class DeskInstaller:
    """Keeps what it got, and a journal that outlives the door.

    Attributes:
        reboots: whether what it installs waits for a reboot.
        failure: raised instead of the end of an install.
        states: correlation to state, the newest last.
        whole: what was installed.
        during: called after each piece.
        commands: what else it was told.
    """

    reboots: bool = True
    failure: SwagentError | None = None
    states: dict[str, Known] = field(default_factory=dict)
    whole: list[bytes] = field(default_factory=list)
    requests: list[InstallRequest] = field(default_factory=list)
    during: Callable[[int], None] = lambda done: None
    after: Callable[[], None] = lambda: None
    commands: list[tuple[str, ...]] = field(default_factory=list)
    state: str = "0"
    lines: int = 3
    busy: bool = False

    def install(
        self, request: InstallRequest, *, hear: Callable[[str, str], None], waiting: Callable[[], None]
    ) -> Outcome:
        if self.busy:
            raise Busy("another update is running")
        self.requests.append(request)
        known = request.correlation_id
        self.states.pop(known, None)
        self.states[known] = Known("FAILED", "the archive was cut short")
        content = bytearray()
        piece = memoryview(bytearray(PIECE_BYTES))
        while n := request.source.readinto(piece):
            content += piece[:n]
            self.during(len(content))
            waiting()
        for number in range(self.lines):
            hear("info", f"line {number}")
        if self.failure is not None:
            hear("error", "the disk is full")
            self.states[known] = Known("FAILED", self.failure.message)
            raise self.failure
        waiting()
        self.whole.append(bytes(content))
        self.states[known] = Known("COMMITTED" if self.reboots else "CONFIRMED")
        self.after()
        return Outcome(21 if self.reboots else 0)

    def known(self, correlation_id: str) -> Known:
        if not correlation_id:
            return list(self.states.values())[-1] if self.states else Known()
        return self.states.get(correlation_id, Known())

    def ustate(self) -> str:
        return self.state

    def set_ustate(self, digit: str) -> None:
        self.state = digit

    def announce(self, name: str, url: str) -> None:
        self.commands.append(("announce", name, url))

    def confirm(self) -> None:
        """It has booted and is good."""
        self.states[list(self.states)[-1]] = Known("CONFIRMED")

    def roll_back(self) -> None:
        self.states[list(self.states)[-1]] = Known("ROLLED_BACK", "check network: ended with status 1")


@dataclass
class Unit:
    """A unit with a hawkBit backend, started anew by ``start``."""

    folder: Path
    url: str
    installer: DeskInstaller = field(default_factory=DeskInstaller)
    more: dict[str, Any] = field(default_factory=dict)
    identify: tuple[tuple[str, str], ...] = ()
    words: dict[str, Any] = field(default_factory=dict)
    keep: str = ""
    log: list[tuple[str, str]] = field(default_factory=list)
    running: Hawkbit | None = None

    def start(self) -> Hawkbit:
        """A fresh process."""
        hawkbit = {
            "url": self.url,
            "tenant": "default",
            "id": "unit 1",
            "retrywait": 0,
            "retry": 2,
            **self.more,
        }
        self.tools = Tools(
            settings=InstallSettings(hawkbit=hawkbit, identify=self.identify, download_directory=self.keep),
            words=self.words,
            installer=self.installer,
            ledger=Ledger(str(self.folder / "state" / "ledger.json")),
            clock=SystemClock(),
            log=lambda level, line: self.log.append((level, line)),
            waiting=lambda: None,
            random=bytes,
        )
        if self.running is not None:
            self.running.close()  # a process that ends leaves no connection; this one goes on
        self.running = Hawkbit(self.tools)
        return self.running
