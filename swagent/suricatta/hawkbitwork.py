"""A deployment of hawkBit at work: its files are fetched, verified, handed to the installer; the server is watched."""

import json
import os
from collections.abc import Callable
from functools import partial

from swagent.errors import Busy, Cancelled, DeadlineError, HashError, SizeError, SwagentError, TransportError
from swagent.model import InstallRequest, Outcome

from .api import Tools
from .ddi import BadDeployment, Cancel, Chunk, Deployment, File
from .ddiserver import DdiServer
from .feed import Fetcher, Vouched
from .hawkbitreports import DOWNLOADED, Reports
from .keeping import keep
from .ledger import Entry, Stage

ATTEMPTS_MAX = 5
"""How often an archive is begun before the deployment is given up."""
LINES_MAX = 48


class Work:
    """Installs deployments, or keeps their files.

    Args:
        server: whom they come from.
        reports: tell it.
        fetcher: opens its files.
        interval_s: how long after one look at the server follows the next.
    """

    def __init__(
        self,
        tools: Tools,
        server: DdiServer,
        reports: Reports,
        fetcher: Fetcher,
        interval_s: Callable[[], float],
    ) -> None:
        self._tools = tools
        self._ledger = tools.ledger
        self._installer = tools.installer
        self._server = server
        self._reports = reports
        self._fetcher = fetcher
        self._interval_s = interval_s
        self._watch_from_s = 0.0
        self._cancel: tuple[str, Cancel] | None = None

    def download_only(self, deployment: Deployment, entry: Entry) -> None:
        """Keep the files for whoever installs them."""
        folder = self._tools.settings.download_directory
        if not folder:
            raise BadDeployment(
                "this unit keeps no downloads: download-directory is not set in its settings", entry.action
            )
        entry = self._begin(entry, "the download")
        if entry.stage is Stage.CLOSING:
            self._reports.close(entry)
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
            self._reports.fail(entry, exc, [])
        else:
            entry = entry.closing(success=True, details=("Downloaded.",))._replace(noted=DOWNLOADED)
            self._reports.close(self._ledger.put(entry))

    def _begin(self, entry: Entry, what: str) -> Entry:
        """Count an attempt; with too many of them it is to be closed."""
        if entry.attempts >= ATTEMPTS_MAX:
            details = (f"{what}: given up after {ATTEMPTS_MAX} attempts",)
            return self._ledger.put(entry.closing(success=False, details=details))
        self._cancel = None
        self._watch_from_s = self._tools.clock.monotonic_s()
        return self._ledger.put(entry._replace(attempts=entry.attempts + 1, noted=""))

    def install_all(self, deployment: Deployment, entry: Entry) -> None:
        """From the archive that the ledger says on, as far as it goes without a reboot."""
        chunks, number = deployment.chunks, 0
        for index, chunk in enumerate(chunks):
            archives = [file for file in chunk.files if _is_archive(file)]
            behind, number = number, number + len(archives)
            if number <= entry.position:
                continue
            self._reports.progress(entry, "Installing Update Chunk Artifacts.", index, len(chunks))
            for file in chunk.files:
                if not _is_archive(file):
                    self._installer.announce(file.name, file.url)
            for file in archives[entry.position - behind :]:
                info = _info(deployment, chunk)
                outcome = self._install(file, entry, (index, len(chunks)), info)
                if outcome is None:
                    return
                entry = self._ledger.entry or entry
            self._reports.progress(entry, "Installed Chunk.", index + 1, len(chunks))
        self._reports.progress(entry, "All Chunks Installed.", len(chunks), len(chunks))
        if entry.stage is Stage.CLOSING:
            self._reports.close(entry)

    def _install(self, file: File, entry: Entry, done: tuple[int, int], info: str) -> Outcome | None:
        """One archive; None when the rest cannot follow now."""
        entry = self._begin(entry, file.name)
        if entry.stage is Stage.CLOSING:
            self._reports.close(entry)
            return None
        lines: list[str] = []
        errors: list[str] = []

        def hear(level: str, line: str) -> None:
            (errors if level == "error" else lines).append(line)
            if len(lines) >= LINES_MAX:
                self._reports.progress(entry, lines, *done)
                lines.clear()

        reader = self._open(entry, file)
        request = InstallRequest(
            file.name,
            reader,
            file.size_bytes,
            file.hashes,
            "suricatta",
            entry.correlation_id,
            info=info,
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
            self._reports.fail(entry, exc, errors)
            return None
        except Busy:
            self._ledger.put(entry._replace(attempts=entry.attempts - 1))
            raise
        except (TransportError, DeadlineError) as exc:
            if entry.attempts < ATTEMPTS_MAX:
                raise  # the next visit begins it again
            self._reports.fail(entry, exc, errors)
            return None
        except SwagentError as exc:
            self._reports.fail(entry, exc, errors)
            return None
        finally:
            self._fetcher.drop_cache()
        return self._installed(entry, outcome, lines, done)

    def _installed(
        self, entry: Entry, outcome: Outcome, lines: list[str], done: tuple[int, int]
    ) -> Outcome | None:
        last = entry.position + 1 == entry.archives
        if outcome.code == 0:
            self._reports.confirmed(entry)
        else:
            self._ledger.put(entry._replace(stage=Stage.INSTALLED))
        if lines:
            self._reports.progress(entry, lines, *done)
        if outcome.code == 0 or last:
            return outcome
        self._reports.progress(
            entry, "Installed; the rest follows when a reboot has shown that it is good.", *done
        )
        return None

    def _stopped(self, entry: Entry) -> None:
        """The update was ended by a wish of the server, or of whoever stops this process."""
        if self._cancel is None:
            self._ledger.put(entry._replace(attempts=entry.attempts - 1))
            self._tools.waiting()  # raises when it is this process that is to end
            self._reports.fail(entry, Cancelled("somebody stopped the update on the unit"), [])
            return
        url, cancel = self._cancel
        self._ledger.clear()
        if url:
            self._reports.agree(url, cancel)

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
        if now_s - self._watch_from_s < self._interval_s():
            return
        self._watch_from_s = now_s
        try:
            visit = self._server.visit()
            cancel = self._server.cancel(visit.cancel) if visit.cancel else None
            if cancel is not None and entry.action not in (cancel.stop_id, cancel.action):
                self._reports.agree(visit.cancel, cancel)
                return
            if cancel is not None and late:
                self._reports.reject(visit.cancel, cancel)
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


def _info(deployment: Deployment, chunk: Chunk) -> str:
    """What the progress socket tells of it (runtime interfaces §5.2)."""
    facts = {"server": "hawkbit", "update": deployment.update, "part": chunk.part}
    return json.dumps({**facts, "version": chunk.version, "name": chunk.name, "id": deployment.action})


def _is_archive(file: File) -> bool:
    return file.name.endswith(".swu")


def count_archives(deployment: Deployment) -> int:
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
