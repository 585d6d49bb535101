"""What a hawkBit is told of a deployment, and how often: once, until it is heard, or if it can be."""

from swagent.errors import SwagentError, TransportError

from .api import Log
from .ddi import Cancel
from .ddiserver import DdiServer, Rejected
from .ledger import DETAIL_CHARS_MAX, Entry, Ledger, Stage

ERRORS_MAX = 10
DOWNLOADED = "downloaded"


class Reports:
    """Tells the server, with the ledger as its memory.

    Args:
        server: who is told.
        ledger: what is still to be told.
        log: hears of it.
    """

    def __init__(self, server: DdiServer, ledger: Ledger, log: Log) -> None:
        self._server = server
        self._ledger = ledger
        self._log = log

    def confirmed(self, entry: Entry) -> Entry:
        """An archive is confirmed: on to the next, or the end."""
        if entry.position + 1 < entry.archives:
            entry = entry._replace(stage=Stage.TAKEN, position=entry.position + 1, attempts=0, noted="")
            return self._ledger.put(entry)
        return self._ledger.put(entry.closing(success=True, details=("Update Installed.",)))

    def close(self, entry: Entry) -> None:
        """Tell the verdict; it is forgotten when the server has heard it, or does not want to."""
        execution = DOWNLOADED if entry.noted == DOWNLOADED else "closed"
        try:
            self._server.feedback(entry.action, entry.finished, execution, entry.details)
        except Rejected as exc:
            self._log("warn", f"{exc.message}; the action is closed there, or gone")
        self._ledger.clear()
        self._log("info", f"hawkBit's action {entry.action}: {entry.finished}")

    def agree(self, url: str, cancel: Cancel) -> None:
        """To a wish to cancel."""
        try:
            self._server.cancel_feedback(url, cancel, "success", "closed", ("cancellation acknowledged.",))
        except Rejected as exc:
            self._log("warn", exc.message)
        self._log("info", f"hawkBit's action {cancel.stop_id} is cancelled")

    def reject(self, url: str, cancel: Cancel) -> None:
        """A wish to cancel that comes too late."""
        self._server.cancel_feedback(
            url, cancel, "none", "rejected", ("too late to cancel: the update is installed already.",)
        )
        self._log("info", f"hawkBit's action {cancel.stop_id} is installed: too late to cancel it")

    def progress(self, entry: Entry, details: str | list[str], done: int, of: int) -> None:
        """Told if possible; what is lost of it is no loss."""
        lines = (details,) if isinstance(details, str) else tuple(line[:DETAIL_CHARS_MAX] for line in details)
        try:
            self._server.feedback(entry.action, "none", "proceeding", lines, done=done, of=of)
        except TransportError as exc:
            self._log("warn", exc.message)

    def note(self, entry: Entry, noted: str, execution: str, detail: str) -> Entry:
        """Tell something once."""
        self._server.feedback(entry.action, "none", execution, (detail,))
        return self._ledger.put(entry._replace(noted=noted))

    def testing(self, entry: Entry) -> Entry:
        """It is installed, and must prove itself."""
        return self.note(entry, "testing", "proceeding", "Update Installed, Testing Pending.")

    def fail(self, entry: Entry, exc: SwagentError, errors: list[str]) -> None:
        """It failed, for good: the reason goes with what the installer said."""
        said = [line for line in errors if line != exc.message][: ERRORS_MAX - 1]
        why = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
        self._log("error", f"hawkBit's action {entry.action}: {why}")
        self.close(self._ledger.put(entry.closing(success=False, details=(*said, why))))
