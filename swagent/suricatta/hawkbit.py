"""hawkBit: polls its Direct Device Integration API, installs what is assigned, tells how it went.

A deployment ends when its update is confirmed: installed, booted and found good. The verdict is asked of the installer,
which keeps it; the ledger keeps for which deployment.
"""

import json
from time import localtime, strftime
from typing import Any

from swagent.errors import SwagentError
from swagent.net import options_from

from .agent import read_json
from .api import Order, Reply, Tools
from .ddi import BadDeployment, Deployment
from .ddiserver import EXECUTIONS, FINISHED, DdiServer, Rejected
from .feed import Fetcher
from .hawkbitreports import Reports
from .hawkbitwork import Work, count_archives
from .ledger import Entry, Stage, Verdict, judge

WAIT = "6"
PENDING = ("COMMITTED", "TESTING")
UNKNOWN = "what became of it is not known: another update came after it"
ACTIVATION, CONFIG, STATUS = 0, 1, 3


def make(tools: Tools) -> "Hawkbit":
    """The backend ``hawkbit``."""
    return Hawkbit(tools)


class Hawkbit:
    """One unit's dealings with a hawkBit.

    Raises:
        SettingsError: something is missing in the settings, or cannot be.
    """

    def __init__(self, tools: Tools) -> None:
        given = {**tools.settings.suricatta, **tools.settings.hawkbit}
        options = options_from(given)
        options = options._replace(headers=(*options.headers, *tools.settings.custom_http_headers))
        self._tools = tools
        self._ledger = tools.ledger
        self._installer = tools.installer
        self._server = DdiServer(given, options, tools.clock)
        self._server.exchange.attend(tools.waiting)
        self._identity = dict(tools.settings.identify)
        self._identity_due = bool(self._identity)
        self._sleep_s = given.get("polldelay") or 45
        self._polling_s = 0
        self._state: str | None = tools.words.get("state")
        self._waits = self._state == WAIT
        self._told = ""
        cache = tools.words.get("cache", "")
        fetcher = Fetcher(given["url"], self._server.download_options, tools.clock, tools.log, cache)
        self._reports = Reports(self._server, self._ledger, tools.log)
        self._work = Work(
            tools, self._server, self._reports, fetcher, lambda: self._polling_s or self._sleep_s
        )
        if self._ledger.problem:
            tools.log("warn", self._ledger.problem)
        entry = self._ledger.entry
        if entry is not None and entry.server != self._server.name:
            tools.log("warn", f"the update of {entry.server} is forgotten: that server is no longer asked")
            self._ledger.clear()

    def close(self) -> None:
        """Close the connections."""
        self._server.exchange.close()

    # -- the loop's side

    def step(self) -> float:
        """Poll, and do what is said."""
        self._visit()
        usual_s = self._polling_s or self._sleep_s
        wait_s = max(usual_s / 10, 1.0) if self._waits else usual_s
        return wait_s * (0.95 + 0.1 * int.from_bytes(self._tools.random(2)) / 65535)

    def order(self, order: Order) -> Reply | None:
        """CONFIG and GET_STATUS."""
        if order.number == CONFIG:
            tree = read_json(order.data)
            if tree is None:
                return Reply(is_ack=False)
            self._configure(tree if isinstance(tree, dict) else {})
            return Reply(is_ack=True)
        if order.number == STATUS:
            when = localtime(self._server.result_s)
            time = f"{strftime('%Y-%m-%dT%H:%M:%S.000', when)}{strftime('%z', when)[:3]}"
            text = json.dumps(
                {"server": {"status": self._server.result, "time": time}}, separators=(",", ":")
            )
            return Reply(is_ack=True, data=text.encode(), tells_length=False)
        return None

    def order_between(self, order: Order) -> Reply:
        """ACTIVATION."""
        if order.number != ACTIVATION:
            return Reply(is_ack=False)
        try:
            return Reply(is_ack=self._activate(read_json(order.data)))
        except SwagentError as exc:
            self._tools.log("error", f"hawkBit was not told: {exc.message}")
            return Reply(is_ack=False)

    # -- one visit

    def _visit(self) -> None:
        visit = self._server.visit()
        self._sleep_s = visit.sleep_s
        if self._identity and (self._identity_due or visit.config_data):
            self._identify()
        if visit.cancel:
            self._answer_cancel(visit.cancel)
            return
        self._take_given_state(visit.deployment)
        entry = self._judged()
        if entry is not None and entry.stage is Stage.CLOSING:
            self._reports.close(entry)
        elif visit.deployment and not self._waits:
            self._deploy(visit.deployment, entry)

    def _identify(self) -> None:
        try:
            self._server.identify(self._identity)
        except Rejected as exc:
            self._tools.log("warn", exc.message)
        self._identity_due = False

    def _take_given_state(self, deployment_url: str) -> None:
        """What ``-c`` says of the last update; without, and without a ledger, what the boot environment does."""
        entry = self._ledger.entry
        state = self._state
        if state is None:
            state = self._installer.ustate() if entry is None else ""
            if state == "1":
                state = ""  # of an update that nobody here began
        if state in ("1", "2", "3"):
            if entry is None and deployment_url:
                entry = Entry(self._server.name, self._action_at(deployment_url))
            if entry is not None and entry.stage is not Stage.CLOSING:
                self._believe(entry, state)
        self._state = ""

    def _action_at(self, url: str) -> str:
        try:
            return self._server.deployment(url).action
        except BadDeployment as exc:
            return exc.action

    def _believe(self, entry: Entry, state: str) -> None:
        if state == "1":
            self._reports.testing(entry._replace(stage=Stage.INSTALLED))
            return
        detail = "Update Installed." if state == "2" else "Update Failed."
        self._ledger.put(entry.closing(success=state == "2", details=(detail,)))
        self._installer.set_ustate("0")

    def _judged(self) -> Entry | None:
        """What is under way, with what the installer knows of it by now."""
        entry = self._ledger.entry
        if entry is None or entry.stage is Stage.CLOSING or self._waits:
            return entry
        known = self._installer.known(entry.correlation_id)
        match judge(entry, known.state):
            case Verdict.GOOD:
                return self._reports.confirmed(entry)
            case Verdict.BAD:
                details = ("Update Failed.", known.message or UNKNOWN)
                return self._ledger.put(entry.closing(success=False, details=details))
            case Verdict.PENDING:
                entry = self._ledger.put(entry._replace(stage=Stage.INSTALLED))
                return entry if entry.noted == "testing" else self._reports.testing(entry)
        return entry

    # -- cancelling

    def _answer_cancel(self, url: str) -> None:
        cancel = self._server.cancel(url)
        entry = self._judged()
        ours = entry is not None and entry.action in (cancel.stop_id, cancel.action)
        installed = entry is not None and (entry.stage is Stage.CLOSING or _is_installed(entry))
        if ours and installed:
            self._reports.reject(url, cancel)
            return
        if ours:
            self._ledger.clear()
        self._reports.agree(url, cancel)

    # -- a deployment

    def _deploy(self, url: str, entry: Entry | None) -> None:
        try:
            deployment = self._server.deployment(url)
            if entry is not None and entry.stage is Stage.INSTALLED:
                if entry.action != deployment.action:
                    self._tell_once(f"action {deployment.action} waits until {entry.action} is confirmed")
                return
            if entry is None or entry.action != deployment.action:
                entry = Entry(self._server.name, deployment.action)
            if self._is_put_off(deployment, entry):
                return
            entry = entry._replace(archives=count_archives(deployment))
            if not entry.attempts and self._installer.known("").state in PENDING:
                self._tell_once(f"action {entry.action} waits: the last update is not confirmed yet")
                return
            self._work.install_all(deployment, entry)
        except BadDeployment as exc:
            if entry is not None and entry.stage is Stage.INSTALLED:
                raise
            refused = Entry(self._server.name, exc.action).closing(success=False, details=(exc.message,))
            self._tools.log("error", f"hawkBit's action {exc.action}: {exc.message}")
            self._reports.close(self._ledger.put(refused))

    def _is_put_off(self, deployment: Deployment, entry: Entry) -> bool:
        """Whether there is nothing to install: not now, not here, or not at all."""
        if deployment.window == "unavailable":
            if entry.noted != "window":
                self._reports.note(entry, "window", "scheduled", "Waiting for the maintenance window.")
            return True
        if deployment.update != "skip":
            return False
        if deployment.download == "skip":
            self._reports.close(self._ledger.put(entry.closing(success=True, details=("Skipped Update.",))))
        else:
            self._work.download_only(deployment, entry)
        return True

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._tools.log("info", f"hawkBit: {line}")
            self._told = line

    # -- orders

    def _configure(self, tree: dict[str, Any]) -> None:
        polling = tree.get("polling")
        if isinstance(polling, str) and polling.isascii() and polling.isdigit() and len(polling) < 8:
            polling = int(polling)
        if type(polling) is int and 0 <= polling < 10_000_000:
            self._polling_s = polling
        pairs = tree.get("identify")
        for pair in pairs if isinstance(pairs, list) else ():
            if (
                isinstance(pair, dict)
                and isinstance(pair.get("name"), str)
                and isinstance(pair.get("value"), str)
            ):
                self._identity[pair["name"]] = pair["value"]
                self._identity_due = True

    def _activate(self, tree: Any) -> bool:
        """What a local client knows of the update, told to the server."""
        if not isinstance(tree, dict):
            return False
        finished, execution, details = tree.get("finished"), tree.get("execution"), tree.get("details")
        status, action = str(tree.get("status", "")), str(tree.get("id") or "")
        if finished not in FINISHED or execution not in EXECUTIONS or status not in tuple("01234567"):
            return False
        if not isinstance(details, list) or not all(isinstance(detail, str) for detail in details):
            return False
        entry = self._ledger.entry
        action = action if action.strip("0") else entry.action if entry is not None else ""
        visit = self._server.visit()
        open_action = self._action_at(visit.deployment) if visit.deployment else ""
        if open_action and action in ("", open_action):
            self._server.feedback(open_action, str(finished), str(execution), tuple(details))
        else:
            self._tools.log("warn", f"hawkBit has no action {action} that is open; nothing was told")
        if finished != "none":
            self._waits = False
            if entry is not None and entry.action in ("", open_action, action):
                self._ledger.clear()
            self._installer.set_ustate("0")
        return True


def _is_installed(entry: Entry) -> bool:
    """Whether it was installed by us, not only said to be."""
    return entry.stage is Stage.INSTALLED and entry.attempts > 0
