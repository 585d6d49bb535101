"""One address, given once: on the command line, or by a local client (runtime interfaces §6)."""

from time import sleep

from swagent.errors import Busy, Cancelled, SwagentError, UsageError
from swagent.model import InstallRequest
from swagent.net import options_from
from swagent.net.address import read_address

from .agent import read_json
from .api import Order, Reply, Tools
from .feed import Fetcher
from .ledger import Entry, Stage, Verdict, judge

SET_URL = 4
BUSY_TRIES, BUSY_WAIT_S = 3, 1.0
NEVER_S = float("inf")


class Downloader:
    """Installs what is at an address; a backend of its own kind, on no shelf.

    Attributes:
        is_done: whether there is nothing more to do, as there was one address, of the command line.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        given = tools.settings.download
        self._fetcher = Fetcher("", options_from(given), tools.clock, tools.log)
        self._login = ""
        self._url: str = given.get("url", "")
        self._once = bool(self._url)
        self.is_done = False
        if self._url:
            read_address(self._url)

    def step(self) -> float:
        """Install what there is to install.

        Raises:
            SwagentError: it failed, for good.
        """
        url, entry = self._url, self._tools.ledger.entry
        if not url:
            return NEVER_S
        try:
            entry = self._entry(url, entry)
            if entry is not None:
                self._install(url, entry)
        except SwagentError as exc:
            if self._once or isinstance(exc, Cancelled):
                raise
            self._tools.log("error", exc.message)
        self._url = ""
        self._tools.ledger.clear()
        self.is_done = self._once
        return NEVER_S

    def order(self, order: Order) -> Reply | None:
        """An address, unless there is one already."""
        if order.number != SET_URL:
            return Reply(is_ack=False)
        tree = read_json(order.data)
        url = tree.get("url") if isinstance(tree, dict) else None
        login = tree.get("userpassword") if isinstance(tree, dict) else None
        if self._url or not isinstance(url, str) or not isinstance(login, str | None):
            return Reply(is_ack=False)
        try:
            read_address(url)
        except UsageError as exc:
            self._tools.log("error", exc.message)
            return Reply(is_ack=False)
        self._url = url
        self._login = login or ""
        return Reply(is_ack=True, wakes=True)

    def order_between(self, order: Order) -> Reply:
        """There are no others."""
        return Reply(is_ack=False)

    def _entry(self, url: str, entry: Entry | None) -> Entry | None:
        """What is to be begun; None when it is installed already, since this process ended too early to know."""
        server = f"download {read_address(url).shown}"
        if entry is None or entry.server != server:
            return Entry(server, "0")
        known = self._tools.installer.known(entry.correlation_id)
        verdict = judge(entry, known.state)
        if verdict in (Verdict.PENDING, Verdict.GOOD):
            self._tools.log("info", f"{entry.server} is installed already")
            return None
        return entry._replace(stage=Stage.TAKEN)

    def _install(self, url: str, entry: Entry) -> None:
        self._tools.ledger.put(entry._replace(attempts=entry.attempts + 1))
        name = url.partition("?")[0].rpartition("/")[2] or "update.swu"
        for attempt in range(BUSY_TRIES + 1):
            reader = self._fetcher.open(url, go_on=self._tools.waiting, authentication=self._login)
            request = InstallRequest(name, reader, None, {}, "downloader", entry.correlation_id)
            try:
                self._tools.installer.install(request, hear=_say_nothing, waiting=self._tools.waiting)
            except Busy:
                if attempt == BUSY_TRIES:
                    raise
                sleep(BUSY_WAIT_S)
            else:
                return


def _say_nothing(level: str, line: str) -> None:
    """The installer logs by itself."""
