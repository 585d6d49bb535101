"""A plain web server: it redirects a unit to its update, or has nothing (runtime interfaces §5.5).

302 with a Location is an update, 404 none; ``Retry-After`` says when to ask again. What came of an update is told by a
PUT to ``logurl``, if there is one.
"""

import hashlib
from time import localtime, strftime
from typing import Any
from urllib.parse import quote, urljoin

from swagent.errors import Busy, Cancelled, DeadlineError, SettingsError, SwagentError, TransportError
from swagent.model import InstallRequest
from swagent.net import HttpExchange, options_from

from .api import Order, Reply, Tools
from .feed import Fetcher
from .ledger import Entry, Stage, Verdict, judge

POLL_S = 30
WAIT_S_MAX = 3600
ANSWER_BYTES_MAX = 64 * 1024
EVENTS = ("check", "started", "success", "fail")
UPDATE, NO_UPDATE = 302, 404


def make(tools: Tools) -> "General":
    """The backend ``general``."""
    return General(tools)


class General:
    """One unit's dealings with such a server.

    Raises:
        SettingsError: something is missing in the settings, or cannot be.
    """

    def __init__(self, tools: Tools) -> None:
        given = tools.settings.gservice
        if not given.get("url"):
            raise SettingsError(
                "general: url is missing in the group gservice", hint="or say -u '-u URL ...'"
            )
        unknown = [event for event, _ in tools.settings.logevent if event not in EVENTS]
        if unknown:
            raise SettingsError(
                f"gservice.logevent: no event {unknown[0]!r}", hint=f"known are {', '.join(EVENTS)}"
            )
        options = options_from(given)
        options = options._replace(headers=(*options.headers, *tools.words.get("headers", ())))
        self._tools = tools
        self._ledger = tools.ledger
        self._given = given
        self._exchange = HttpExchange(given["url"], options, tools.clock)
        self._exchange.read_keys()
        self._exchange.attend(tools.waiting)
        self._fetcher = Fetcher(given["url"], options, tools.clock, tools.log, tools.words.get("cache", ""))
        self._wait_s = given.get("polldelay", POLL_S)
        self._name = f"general {given['url'].partition('://')[2].rpartition('@')[2].partition('?')[0]}"
        self._again = ("", 0)
        if self._ledger.problem:
            tools.log("warn", self._ledger.problem)

    def step(self) -> float:
        """Ask, and install what is given; what is given again and again is taken ever more seldom."""
        entry = self._judged()
        if entry is None or entry.stage is Stage.TAKEN:
            location = self._ask()
            if location:
                self._install(location, entry)
            elif entry is not None:
                self._ledger.clear()
                self._again = ("", 0)
        wait_s = min(self._wait_s * 2 ** min(self._again[1], 12), max(WAIT_S_MAX, self._wait_s))
        return float(wait_s * (0.95 + 0.1 * int.from_bytes(self._tools.random(2)) / 65535))

    def order(self, order: Order) -> Reply:
        """There are none: the message goes back as it came."""
        return Reply(is_ack=None)

    def order_between(self, order: Order) -> Reply:
        """Likewise."""
        return Reply(is_ack=None)

    def _judged(self) -> Entry | None:
        entry = self._ledger.entry
        if entry is None:
            return None
        if entry.server != self._name:
            self._ledger.clear()
            return None
        if entry.stage is Stage.CLOSING:
            self._close(entry)
            return None
        known = self._tools.installer.known(entry.correlation_id)
        match judge(entry, known.state):
            case Verdict.PENDING:
                return self._ledger.put(entry._replace(stage=Stage.INSTALLED))
            case Verdict.OPEN:
                return entry
            case verdict:
                self._close(
                    self._ledger.put(entry.closing(success=verdict is Verdict.GOOD, details=(known.message,)))
                )
        return None

    def _ask(self) -> str:
        """Where the update is, "" when there is none.

        Raises:
            TransportError, DeadlineError: the server does not say.
        """
        pairs = reversed(self._tools.settings.identify)
        query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
        url: str = self._given["url"]
        if query:
            url += ("&" if "?" in url else "?") + query
        answer = self._exchange.ask("GET", url, max_bytes=ANSWER_BYTES_MAX, follows=False)
        if answer.retry_after_s is not None:
            self._wait_s = max(answer.retry_after_s, 1)
        if answer.status == NO_UPDATE:
            return ""
        location = answer.headers.get("location", "")
        if answer.status != UPDATE or not location:
            raise TransportError(
                f"{self._name}: the answer {answer.status} says neither that there is an update nor that there is none",
                hint="302 with a Location is an update, 404 is none",
            )
        return urljoin(url, location)

    def _install(self, location: str, entry: Entry | None) -> None:
        action = hashlib.sha256(location.encode()).hexdigest()[:16]
        if entry is None or entry.action != action:
            entry = Entry(self._name, action)
        self._again = (action, self._again[1] + 1 if self._again[0] == action else 0)
        entry = self._ledger.put(entry._replace(attempts=entry.attempts + 1))
        self._tell("started")
        name = location.partition("?")[0].rpartition("/")[2] or "update.swu"
        reader = self._fetcher.open(location, go_on=self._tools.waiting)
        request = InstallRequest(name, reader, None, {}, "suricatta", entry.correlation_id)
        try:
            outcome = self._tools.installer.install(request, hear=_say_nothing, waiting=self._tools.waiting)
        except (Busy, Cancelled, TransportError, DeadlineError):
            raise  # it is begun again
        except SwagentError as exc:
            self._tools.log("error", f"{self._name}: {exc.message}")
            self._close(self._ledger.put(entry.closing(success=False, details=(exc.message,))))
            return
        finally:
            self._fetcher.drop_cache()
        if outcome.code == 0:
            self._close(self._ledger.put(entry.closing(success=True, details=())))
        else:
            self._ledger.put(entry._replace(stage=Stage.INSTALLED))

    def _close(self, entry: Entry) -> None:
        self._tell("success" if entry.finished == "success" else "fail", must=True)
        self._ledger.clear()

    def _tell(self, event: str, *, must: bool = False) -> None:
        """What the server wants to hear of an event; ``must`` says that it is told until it is heard."""
        format_ = dict(self._tools.settings.logevent).get(event)
        url = self._given.get("logurl")
        if not url or format_ is None:
            return
        text = ",".join(self._word(word.strip()) for word in format_.split(","))
        headers = {"Content-Type": "application/text; charset=utf-8"}
        try:
            answer = self._exchange.ask(
                "PUT", url, body=text.encode(), headers=headers, max_bytes=ANSWER_BYTES_MAX
            )
        except TransportError as exc:
            if must:
                raise
            self._tools.log("warn", exc.message)
            return
        if not answer.is_good:
            self._tools.log("warn", f"{self._name}: the log is not taken: {answer.status}")
            if must and (answer.status >= 500 or answer.status in (401, 403, 407, 408, 429)):
                raise TransportError(f"{self._name}: the server answers {answer.status} to {event}")

    def _word(self, word: str) -> str:
        if word == "date":
            now_s = self._tools.clock.now_s()
            when = localtime(now_s)
            return (
                f"{strftime('%Y-%m-%dT%H:%M:%S', when)}.{int(now_s % 1 * 1000):03d}{strftime('%z', when)[:3]}"
            )
        known: dict[str, Any] = dict(self._tools.settings.identify)
        return str(known.get(word, word))


def _say_nothing(level: str, line: str) -> None:
    """The installer logs by itself."""
