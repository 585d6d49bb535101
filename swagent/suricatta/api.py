"""What a backend is, and what it is given: the installer as a door sees it, and the orders of local clients."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from swagent.clock import Clock
from swagent.model import InstallRequest, Outcome
from swagent.settings import InstallSettings

from .ledger import Ledger

Log = Callable[[str, str], None]
"""Hears level and line."""


class Known(NamedTuple):
    """What the installer knows of an update.

    Attributes:
        state: word of its journal (docs/reference/states.md), such as ``COMMITTED``; "" when it knows none.
        message: why it failed or was rolled back.
    """

    state: str = ""
    message: str = ""


class Installer(Protocol):
    """The installer, on the other side of the control socket."""

    def install(
        self, request: InstallRequest, *, hear: Callable[[str, str], None], waiting: Callable[[], None]
    ) -> Outcome:
        """Hand in an update; its bytes are read to their end.

        Args:
            request: what to install; an error that its source raises ends the update.
            hear: hears of the installer's news: level and line.
            waiting: called again and again; what it raises ends the update.

        Raises:
            Busy: another update is running.
            SwagentError: it was refused or failed, or the installer is gone.
        """
        ...

    def known(self, correlation_id: str) -> Known:
        """What became of the update that was handed in under this identifier; "" is the last one, whose ever it was.

        Raises:
            TransportError: the installer is gone.
        """
        ...

    def ustate(self) -> str:
        """The update state in the boot environment, one digit.

        Raises:
            TransportError: the installer is gone.
        """
        ...

    def set_ustate(self, digit: str) -> None:
        """Store the update state.

        Raises:
            SwagentError: it cannot be stored.
        """
        ...

    def announce(self, name: str, url: str) -> None:
        """Tell where the next update finds the chunks of a delta.

        Raises:
            SwagentError: it is not taken.
        """
        ...


class Order(NamedTuple):
    """What a local client wants of us (runtime interfaces §2.3, SWUPDATE_SUBPROCESS).

    Attributes:
        number: 0 activation, 1 configuration, 2 enable or trigger, 3 status, 4 download.
        data: JSON.
    """

    number: int
    data: bytes


class Reply(NamedTuple):
    """What it is told.

    Attributes:
        is_ack: None leaves the message's type as it came.
        data: instead of what came, None leaves that.
        tells_length: whether the length of ``data`` is told too.
        wakes: whether there is something to do now.
    """

    is_ack: bool | None
    data: bytes | None = None
    tells_length: bool = True
    wakes: bool = False


class Orders(Protocol):
    """Where orders come from; each gets one answer, in turn."""

    def take(self, wait_s: float) -> Order | None:
        """The next order, None when none comes in this time."""
        ...

    def answer(self, reply: Reply) -> None:
        """Answer the order that was taken last."""
        ...


class Tools(NamedTuple):
    """What a backend works with.

    Attributes:
        settings: of the unit.
        words: of the option string, by SWUpdate's long names, where they are no settings.
        installer: to hand updates to.
        ledger: what must not be forgotten when the process ends.
        waiting: to be called while something lasts; may raise to stop.
        random: for jitter.
    """

    settings: InstallSettings
    words: dict[str, Any]
    installer: Installer
    ledger: Ledger
    clock: Clock
    log: Log
    waiting: Callable[[], None]
    random: Callable[[int], bytes]


class Backend(Protocol):
    """Asks one kind of server, and does what it says."""

    def step(self) -> float:
        """Ask once and do all of it; returns how many seconds to wait before the next time.

        Raises:
            SwagentError: it did not work; try again later.
        """
        ...

    def order(self, order: Order) -> Reply | None:
        """Answer an order that does not need the server; None for one that does, or that is not known."""
        ...

    def order_between(self, order: Order) -> Reply:
        """Answer any other order; called between two steps."""
        ...


class BackendFactory(Protocol):
    """What is on the shelf."""

    def __call__(self, tools: Tools) -> Backend:
        """Make one.

        Raises:
            SettingsError: something it needs is missing in the settings.
        """
        ...
