"""hawkBit: polls its Direct Device Integration API, installs what is assigned, tells how it went.

A deployment ends when its update is confirmed: installed, booted and found good. The verdict is asked of the installer,
which keeps it; the ledger keeps for which deployment.
"""

import json
import os
from functools import partial
from time import localtime, strftime
from typing import Any

from swagent.errors import Busy, Cancelled, DeadlineError, HashError, SizeError, SwagentError, TransportError
from swagent.model import InstallRequest, Outcome
from swagent.net import options_from

from .agent import read_json
from .api import Order, Reply, Tools
from .ddi import BadDeployment, Cancel, Deployment, File
from .ddiserver import EXECUTIONS, FINISHED, DdiServer, Rejected
from .feed import Fetcher, Vouched
from .ledger import Entry, Stage, Verdict, judge

ATTEMPTS_MAX = 5
"""How often an archive is begun before the deployment is given up."""
LINES_MAX, ERRORS_MAX = 48, 10
WAIT = "6"
PENDING = ("COMMITTED", "TESTING")
DOWNLOADED = "downloaded"
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
        options = options_from(given)._replace(headers=_headers(tools, given))
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
        self._watch_from_s = 0.0
        self._cancel: tuple[str, Cancel] | None = None
        self._told = ""
        cache = tools.words.get("cache", "")
        self._fetcher = Fetcher(given["url"], self._server.download_options, tools.clock, tools.log, cache)
        if self._ledger.problem:
            tools.log("warn", self._ledger.problem)
        entry = self._ledger.entry
        if entry is not None and entry.server != self._server.name:
            tools.log("warn", f"the update of {entry.server} is forgotten: that server is no longer asked")
            self._ledger.clear()

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
            self._close(entry)
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
            self._note_testing(entry._replace(stage=Stage.INSTALLED))
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
                return self._next(entry)
            case Verdict.BAD:
                details = ("Update Failed.", known.message or UNKNOWN)
                return self._ledger.put(entry.closing(success=False, details=details))
            case Verdict.PENDING:
                entry = self._ledger.put(entry._replace(stage=Stage.INSTALLED))
                return entry if entry.noted == "testing" else self._note_testing(entry)
        return entry

    def _next(self, entry: Entry) -> Entry:
        """An archive is confirmed: on to the next, or the end."""
        if entry.position + 1 < entry.archives:
            entry = entry._replace(stage=Stage.TAKEN, position=entry.position + 1, attempts=0, noted="")
            return self._ledger.put(entry)
        return self._ledger.put(entry.closing(success=True, details=("Update Installed.",)))

    def _close(self, entry: Entry) -> None:
        """Tell the verdict; it is forgotten when the server has heard it, or does not want to."""
        execution = DOWNLOADED if entry.noted == DOWNLOADED else "closed"
        try:
            self._server.feedback(entry.action, entry.finished, execution, entry.details)
        except Rejected as exc:
            self._tools.log("warn", f"{exc.message}; the action is closed there, or gone")
        self._ledger.clear()
        self._tools.log("info", f"hawkBit's action {entry.action}: {entry.finished}")

    # -- cancelling

    def _answer_cancel(self, url: str) -> None:
        cancel = self._server.cancel(url)
        entry = self._judged()
        ours = entry is not None and entry.action in (cancel.stop_id, cancel.action)
        installed = entry is not None and (entry.stage is Stage.CLOSING or _is_installed(entry))
        if ours and installed:
            self._reject(url, cancel)
            return
        if ours:
            self._ledger.clear()
        self._acknowledge(url, cancel)

    def _acknowledge(self, url: str, cancel: Cancel) -> None:
        try:
            self._server.cancel_feedback(url, cancel, "success", "closed", ("cancellation acknowledged.",))
        except Rejected as exc:
            self._tools.log("warn", exc.message)
        self._tools.log("info", f"hawkBit's action {cancel.stop_id} is cancelled")

    def _reject(self, url: str, cancel: Cancel) -> None:
        self._server.cancel_feedback(
            url, cancel, "none", "rejected", ("too late to cancel: the update is installed already.",)
        )
        self._tools.log("info", f"hawkBit's action {cancel.stop_id} is installed: too late to cancel it")

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
            entry = entry._replace(archives=_count_archives(deployment))
            if not entry.attempts and self._installer.known("").state in PENDING:
                self._tell_once(f"action {entry.action} waits: the last update is not confirmed yet")
                return
            self._install_all(deployment, entry)
        except BadDeployment as exc:
            if entry is not None and entry.stage is Stage.INSTALLED:
                raise
            refused = Entry(self._server.name, exc.action).closing(success=False, details=(exc.message,))
            self._tools.log("error", f"hawkBit's action {exc.action}: {exc.message}")
            self._close(self._ledger.put(refused))

    def _is_put_off(self, deployment: Deployment, entry: Entry) -> bool:
        """Whether there is nothing to install: not now, not here, or not at all."""
        if deployment.window == "unavailable":
            if entry.noted != "window":
                self._note(entry, "window", "scheduled", "Waiting for the maintenance window.")
            return True
        if deployment.update != "skip":
            return False
        if deployment.download == "skip":
            self._close(self._ledger.put(entry.closing(success=True, details=("Skipped Update.",))))
        else:
            self._download_only(deployment, entry)
        return True

    def _download_only(self, deployment: Deployment, entry: Entry) -> None:
        """Keep the files for whoever installs them."""
        from .keeping import keep

        folder = self._tools.settings.download_directory
        if not folder:
            raise BadDeployment(
                "this unit keeps no downloads: download-directory is not set in its settings", entry.action
            )
        entry = self._begin(entry, "the download")
        if entry.stage is Stage.CLOSING:
            self._close(entry)
            return
        try:
            for file in (file for chunk in deployment.chunks for file in chunk.files):
                reader = self._open(entry, file)
                keep(reader, os.path.join(folder, file.name), file.size_bytes)
        except Cancelled:
            self._stopped(entry)
        except (TransportError, DeadlineError):
            raise  # the next visit begins it again
        except SwagentError as exc:
            self._fail(entry, exc, [])
        else:
            entry = entry.closing(success=True, details=("Downloaded.",))._replace(noted=DOWNLOADED)
            self._close(self._ledger.put(entry))

    def _begin(self, entry: Entry, what: str) -> Entry:
        """Count an attempt; with too many of them it is to be closed."""
        if entry.attempts >= ATTEMPTS_MAX:
            details = (f"{what}: given up after {ATTEMPTS_MAX} attempts",)
            return self._ledger.put(entry.closing(success=False, details=details))
        self._cancel = None
        self._watch_from_s = self._tools.clock.monotonic_s()
        return self._ledger.put(entry._replace(attempts=entry.attempts + 1, noted=""))

    def _install_all(self, deployment: Deployment, entry: Entry) -> None:
        chunks, number = deployment.chunks, 0
        for index, chunk in enumerate(chunks):
            archives = [file for file in chunk.files if _is_archive(file)]
            behind, number = number, number + len(archives)
            if number <= entry.position:
                continue
            self._report(entry, "Installing Update Chunk Artifacts.", index, len(chunks))
            for file in chunk.files:
                if not _is_archive(file):
                    self._installer.announce(file.name, file.url)
            for file in archives[entry.position - behind :]:
                outcome = self._install(file, entry, (index, len(chunks)))
                if outcome is None:
                    return
                entry = self._ledger.entry or entry
            self._report(entry, "Installed Chunk.", index + 1, len(chunks))
        self._report(entry, "All Chunks Installed.", len(chunks), len(chunks))
        if entry.stage is Stage.CLOSING:
            self._close(entry)

    def _install(self, file: File, entry: Entry, done: tuple[int, int]) -> Outcome | None:
        """One archive; None when the rest cannot follow now."""
        entry = self._begin(entry, file.name)
        if entry.stage is Stage.CLOSING:
            self._close(entry)
            return None
        lines: list[str] = []
        errors: list[str] = []

        def hear(level: str, line: str) -> None:
            (errors if level == "error" else lines).append(line)
            if len(lines) >= LINES_MAX:
                self._report(entry, lines, *done)
                lines.clear()

        reader = self._open(entry, file)
        request = InstallRequest(
            file.name, reader, file.size_bytes, file.hashes, "hawkbit", entry.correlation_id
        )
        try:
            outcome = self._installer.install(
                request, hear=hear, waiting=lambda: self._watch(entry, late=reader.is_over)
            )
        except Cancelled:
            self._stopped(entry)
            return None
        except (HashError, SizeError) as exc:
            if self._fetcher.had_cache:
                raise TransportError(f"{exc.message}; the file that was here already is forgotten") from exc
            self._fail(entry, exc, errors)
            return None
        except Busy:
            self._ledger.put(entry._replace(attempts=entry.attempts - 1))
            raise
        except (TransportError, DeadlineError) as exc:
            if entry.attempts < ATTEMPTS_MAX:
                raise  # the next visit begins it again
            self._fail(entry, exc, errors)
            return None
        except SwagentError as exc:
            self._fail(entry, exc, errors)
            return None
        finally:
            self._fetcher.drop_cache()
        return self._installed(entry, outcome, lines, done)

    def _installed(
        self, entry: Entry, outcome: Outcome, lines: list[str], done: tuple[int, int]
    ) -> Outcome | None:
        last = entry.position + 1 == entry.archives
        if outcome.code == 0:
            self._next(entry)
        else:
            self._ledger.put(entry._replace(stage=Stage.INSTALLED))
        if lines:
            self._report(entry, lines, *done)
        if outcome.code == 0 or last:
            return outcome
        self._report(entry, "Installed; the rest follows when a reboot has shown that it is good.", *done)
        return None

    def _fail(self, entry: Entry, exc: SwagentError, errors: list[str]) -> None:
        said = [line for line in errors if line != exc.message][: ERRORS_MAX - 1]
        why = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
        self._tools.log("error", f"hawkBit's action {entry.action}: {why}")
        self._close(self._ledger.put(entry.closing(success=False, details=(*said, why))))

    def _stopped(self, entry: Entry) -> None:
        """The update was ended by a wish of the server, or of whoever stops this process."""
        if self._cancel is None:
            self._ledger.put(entry._replace(attempts=entry.attempts - 1))
            self._tools.waiting()  # raises when it is this process that is to end
            self._fail(entry, Cancelled("somebody stopped the update on the unit"), [])
            return
        url, cancel = self._cancel
        self._ledger.clear()
        if url:
            self._acknowledge(url, cancel)

    def _open(self, entry: Entry, file: File) -> Vouched:
        """A file of the server, to be read and verified."""
        go_on = partial(self._watch, entry)
        return self._fetcher.open(file.url, go_on=go_on, length_bytes=file.size_bytes, hashes=file.hashes)

    def _watch(self, entry: Entry, *, late: bool = False) -> None:
        """Called all the time while something lasts: does the server still want it?

        Raises:
            Cancelled: no.
        """
        self._tools.waiting()
        now_s = self._tools.clock.monotonic_s()
        if now_s - self._watch_from_s < (self._polling_s or self._sleep_s):
            return
        self._watch_from_s = now_s
        try:
            visit = self._server.visit()
            cancel = self._server.cancel(visit.cancel) if visit.cancel else None
            if cancel is not None and entry.action not in (cancel.stop_id, cancel.action):
                self._acknowledge(visit.cancel, cancel)
                return
            if cancel is not None and late:
                self._reject(visit.cancel, cancel)
                return
            if cancel is None and not late and visit.deployment:
                deployment = self._server.deployment(visit.deployment)
                skipped = deployment.update == "skip" and deployment.download == "skip"
                if deployment.action == entry.action and not skipped:
                    return
        except TransportError as exc:
            self._tools.log("warn", f"{exc.message}; what is being installed goes on")
            return
        if not late:
            self._cancel = (visit.cancel, cancel or Cancel(entry.action, entry.action))
            raise Cancelled(f"hawkBit does not want action {entry.action} any more")

    # -- what the server is told meanwhile

    def _report(self, entry: Entry, details: str | list[str], done: int, of: int) -> None:
        """Told if possible; what is lost of it is no loss."""
        lines = (details,) if isinstance(details, str) else tuple(line[:500] for line in details)
        try:
            self._server.feedback(entry.action, "none", "proceeding", lines, done=done, of=of)
        except TransportError as exc:
            self._tools.log("warn", exc.message)

    def _note(self, entry: Entry, noted: str, execution: str, detail: str) -> Entry:
        """Tell something once."""
        self._server.feedback(entry.action, "none", execution, (detail,))
        return self._ledger.put(entry._replace(noted=noted))

    def _note_testing(self, entry: Entry) -> Entry:
        return self._note(entry, "testing", "proceeding", "Update Installed, Testing Pending.")

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


def _is_archive(file: File) -> bool:
    return file.name.endswith(".swu")


def _count_archives(deployment: Deployment) -> int:
    """How many there are to install.

    Raises:
        BadDeployment: a chunk has none, or something that is neither an archive nor chunks of a delta.
    """
    for chunk in deployment.chunks:
        for file in chunk.files:
            if not file.name.endswith((".swu", ".zck")):
                raise BadDeployment(f"{file.name} is neither a .swu image nor a .zck file", deployment.action)
        if not any(_is_archive(file) for file in chunk.files):
            raise BadDeployment(f"No suitable .swu image found in {chunk.name}", deployment.action)
    if not deployment.chunks:
        raise BadDeployment("No suitable .swu image found", deployment.action)
    return sum(_is_archive(file) for chunk in deployment.chunks for file in chunk.files)


def _headers(tools: Tools, given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (*options_from(given).headers, *tools.settings.custom_http_headers)
