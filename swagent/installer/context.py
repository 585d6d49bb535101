"""What handlers may use while a session runs; the one implementation of ``handlers.api.Context``."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from swagent.clock import Clock
from swagent.errors import ArchiveError, Cancelled
from swagent.events import Event, EventBus
from swagent.handlers.api import BootEnv, Coming, Hardware, Lua, Sync
from swagent.model import Artifact, Needs, Reader, TlsFiles
from swagent.stream import ArtifactData, Codec

if TYPE_CHECKING:
    from swagent.net import HttpParts

PROGRESS_INTERVAL_S = 0.1


class SessionContext:
    """One session's context; the session also puts ``lua`` here.

    Args:
        bus: where news goes.
        session: the session's identifier.
        tmpdir: makes the session's own folder when first asked, and gives its path.
        parts: opens a file on a server to fetch parts of it: URL, size, how many parts at a time.
        preflight: asks another handler whether it can.
        chain: installs a reader with another handler.
        cancelled: whether somebody asked to stop.
        tls: for connections to other devices.
    """

    lua: Lua

    def __init__(
        self,
        *,
        hw: Hardware,
        env: BootEnv,
        sync: Sync,
        bus: EventBus,
        clock: Clock,
        session: str,
        tmpdir: Callable[[], str],
        parts: "Callable[[str, int, int], HttpParts]",
        preflight: Callable[[Artifact], Needs],
        chain: Callable[[Artifact, ArtifactData], None],
        cancelled: Callable[[], bool],
        dry_run: bool,
        verify_write: bool,
        tls: TlsFiles,
    ) -> None:
        self.hw = hw
        self.env = env
        self.sync = sync
        self.dry_run = dry_run
        self.verify_write = verify_write
        self.tls = tls
        self.coming: list[Coming] = []
        self.partitions: tuple[Artifact, ...] = ()
        self.steps = 0
        self.undoing = False
        """Whether a failure is being dealt with, which nobody can stop."""
        self._bus = bus
        self._clock = clock
        self._session = session
        self._tmpdir = tmpdir
        self._parts = parts
        self._preflight = preflight
        self._chain = chain
        self._cancelled = cancelled
        self._step = 0
        self._artifact: Artifact | None = None
        self._done_bytes = 0
        self._total_bytes: int | None = None
        self._last_progress_s = 0.0

    @property
    def tmpdir(self) -> str:
        """A folder of this session's own."""
        return self._tmpdir()

    def begin_step(self, art: Artifact, total_bytes: int | None) -> None:
        """From now on, progress is about this entry."""
        self._step += 1
        self._artifact = art
        self._done_bytes = 0
        self._total_bytes = total_bytes
        self._last_progress_s = self._clock.monotonic_s()

    def progress(self, n_bytes: int) -> None:
        """Tell of ``n_bytes`` more, at most ten times a second; also a checkpoint."""
        self.checkpoint()
        self._done_bytes += n_bytes
        now_s = self._clock.monotonic_s()
        if now_s - self._last_progress_s >= PROGRESS_INTERVAL_S:
            self._last_progress_s = now_s
            self.tell("artifact.progress")

    def checkpoint(self) -> None:
        """A place where the update may be stopped."""
        if not self.undoing and self._cancelled():
            raise Cancelled("stopped on request", hint="what was not switched yet is not used; install again")

    def log(self, level: str, message: str) -> None:
        """A line for the log."""
        self.tell("log", message=message, facts={"level": level})

    def tell(self, event: str, *, message: str = "", facts: dict[str, object] | None = None) -> None:
        """Publish an event about the present entry."""
        art = self._artifact
        self._bus.publish(
            Event(
                event,
                time_s=self._clock.now_s(),
                session=self._session,
                artifact=art.label if art else "",
                handler=art.type if art else "",
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                step=self._step,
                steps=self.steps,
                message=message,
                facts=facts or {},
            )
        )

    def tell_skipped(self, art: Artifact, reason: str) -> None:
        """Publish that an entry is no step of this update."""
        self._bus.publish(
            Event(
                "artifact.skipped",
                time_s=self._clock.now_s(),
                session=self._session,
                artifact=art.label,
                handler=art.type,
                message=reason,
                facts={"reason": reason},
            )
        )

    def end_step(self) -> None:
        """What follows is about no entry."""
        self._artifact = None
        self._done_bytes = 0
        self._total_bytes = None

    def script_path(self, art: Artifact) -> str:
        """Where a script's plain copy lies."""
        path = os.path.join(self.tmpdir, "scripts", art.filename)
        if not art.filename or not os.path.isfile(path):
            raise ArchiveError(f"{art.where}: the archive has no member {art.filename!r}", artifact=art.label)
        return path

    def parts(self, url: str, size_bytes: int, parts_max: int) -> "HttpParts":
        """A file on a server, to fetch parts of it."""
        found = self._parts(url, size_bytes, parts_max)
        found.attend(waiting=self.checkpoint, tell=self.log)
        return found

    def preflight(self, art: Artifact) -> Needs:
        """What the handler named by ``art.type`` finds beforehand."""
        return self._preflight(art)

    def chain(self, art: Artifact, source: Reader, size_bytes: int | None) -> None:
        """Install ``source`` with the handler named by ``art.type``; progress is about it, if its length is known."""
        if isinstance(
            source, ArtifactData
        ):  # passed on as it is, so that it can still be poured and continued
            self._chain(art, source)
            return
        if size_bytes is not None and self._total_bytes is not None:
            self._done_bytes, self._total_bytes = 0, size_bytes
        on_bytes = self.progress if size_bytes is not None else self._look_up
        self._chain(art, ArtifactData(source, Codec(art.label, size_bytes), on_bytes))

    def _look_up(self, n_bytes: int) -> None:
        self.checkpoint()
