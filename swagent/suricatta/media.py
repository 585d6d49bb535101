"""USB sticks and SD cards: the one ``.swu`` file in a medium's root folder is installed, and the result written back.

The same file is not installed twice from a medium that was there when the process began: it stays in its slot through
reboots. One that is plugged in again is wanted again.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import gmtime, strftime
from typing import Protocol

from swagent.errors import Cancelled, DeviceError, SwagentError
from swagent.hw.media import Medium
from swagent.model import InstallRequest

from .api import Known, Tools
from .ledger import Entry, Stage, Verdict, judge

SERVER = "media"
TICK_S = 1.0
ATTEMPTS_MAX = 3
FINGERPRINT_BYTES = 64 * 1024
RESULTS_SUFFIX = ".results.txt"
RESULTS_BYTES_MAX = 1024 * 1024


class Watch(Protocol):
    """Media that are there, and that come; ``hw.media.MediaWatch``."""

    def present(self) -> list[Medium]:
        """Those that are there."""
        ...

    def wait(self, seconds: float) -> Medium | None:
        """The next one."""
        ...


class Mount(Protocol):
    """Mounts a medium for a while; ``hw.media.mount_medium``."""

    def __call__(self, medium: Medium, *, read_only: bool) -> AbstractContextManager[str]:
        """The folder."""
        ...


class Media:
    """Waits for media.

    Args:
        watch: tells of them.
        mount: mounts them.
        stopped: asked all the time whether to end.
    """

    def __init__(self, tools: Tools, watch: Watch, mount: Mount, stopped: Callable[[], bool]) -> None:
        self._tools = tools
        self._ledger = tools.ledger
        self._watch = watch
        self._mount = mount
        self._stopped = stopped

    def run(self) -> None:
        """Until somebody wants the end."""
        for medium in self._watch.present():
            self._serve(medium)
        while not self._stopped():
            found = self._watch.wait(TICK_S)
            if found is not None:
                self._serve(found)

    def _serve(self, medium: Medium) -> None:
        """One medium; whatever is wrong with it is told, and no more."""
        try:
            told = self._look(medium)
            if told is not None:
                self._write_back(medium, *told)
        except Cancelled:
            if not self._stopped():
                raise
        except SwagentError as exc:
            self._tools.log("warn", f"{medium.device}: {exc.message}")

    def _look(self, medium: Medium) -> tuple[str, str, str] | None:
        """Install what is on it; name, result and reason, None when there is nothing to tell."""
        with self._mount(medium, read_only=True) as folder:
            names = _archives(folder)
            if not names:
                return None
            if len(names) > 1:
                return names[0], "refused", f"several .swu files lie on it: {', '.join(names[:5])}"
            path = os.path.join(folder, names[0])
            entry = Entry(SERVER, _fingerprint(path, names[0]))
            known = self._ledger.entry
            if known is not None and known.action == entry.action:
                if known.stage is Stage.CLOSING and not medium.is_new:
                    return None
                if known.stage is Stage.TAKEN:
                    settled = self._settle(known)
                    if settled is not None:
                        return names[0], *settled
                    entry = known
            self._tools.log("info", f"{medium.device}: {names[0]} is installed")
            return names[0], *self._install(path, names[0], entry)

    def _settle(self, entry: Entry) -> tuple[str, str] | None:
        """What became of an update at which this process ended; None when it is to be begun again."""
        known = self._tools.installer.known(entry.correlation_id)
        verdict = judge(entry, known.state)
        if verdict is Verdict.OPEN and entry.attempts < ATTEMPTS_MAX:
            return None
        if verdict is Verdict.OPEN:
            known = Known(message=f"given up after {ATTEMPTS_MAX} attempts")
        return self._end(entry, success=verdict in (Verdict.GOOD, Verdict.PENDING), why=known.message)

    def _install(self, path: str, name: str, entry: Entry) -> tuple[str, str]:
        entry = self._ledger.put(entry._replace(stage=Stage.TAKEN, attempts=entry.attempts + 1))
        with _OnMedium(path, self._tools.waiting) as source:
            request = InstallRequest(name, source, source.size_bytes, {}, "local", entry.correlation_id)
            try:
                outcome = self._tools.installer.install(
                    request, hear=lambda level, line: None, waiting=self._tools.waiting
                )
            except Cancelled:
                raise
            except SwagentError as exc:
                why = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
                self._tools.log("error", f"{name}: {why}")
                return self._end(entry, success=False, why=why)
        return self._end(entry, success=True, why="" if outcome.code == 0 else "a reboot completes it")

    def _end(self, entry: Entry, *, success: bool, why: str) -> tuple[str, str]:
        self._ledger.put(entry.closing(success=success, details=(why,)))
        return "installed" if success else "failed", why

    def _write_back(self, medium: Medium, name: str, result: str, why: str) -> None:
        """A line for whoever takes the medium away; one that cannot be written has been told all the same."""
        unit = " ".join(f"{key}={value}" for key, value in self._tools.settings.identify) or "-"
        when = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(self._tools.clock.now_s()))
        line = "\t".join(_one_line(word) for word in (when, unit, result, why or "-")) + "\n"
        with self._mount(medium, read_only=False) as folder:
            path = os.path.join(folder, name + RESULTS_SUFFIX)
            try:
                fd = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
                )
                with open(fd, "ab") as file:
                    if os.fstat(fd).st_size < RESULTS_BYTES_MAX:
                        file.write(line.encode(errors="replace"))
                        file.flush()
                        os.fsync(fd)
            except OSError as exc:
                raise DeviceError(
                    f"the result cannot be written to the medium: {exc.strerror}", path=path, errno=exc.errno
                ) from exc


class _OnMedium:
    """A file on a medium that may be pulled out at any time.

    Args:
        path: of the file.
        go_on: asked before each read; may raise to stop.

    Raises:
        DeviceError: it cannot be opened, or is no file.
    """

    def __init__(self, path: str, go_on: Callable[[], None]) -> None:
        self._path = path
        self._go_on = go_on
        self._fd = _open(path)
        self.size_bytes = os.fstat(self._fd).st_size

    def __enter__(self) -> "_OnMedium":
        return self

    def __exit__(self, *problem: object) -> None:
        os.close(self._fd)

    def readinto(self, buffer: memoryview) -> int:
        """What follows; 0 at the end."""
        self._go_on()
        try:
            return os.readv(self._fd, [buffer])
        except OSError as exc:
            raise DeviceError(
                f"{os.path.basename(self._path)} cannot be read: {exc.strerror}",
                path=self._path,
                errno=exc.errno,
                hint="was the medium pulled out?",
            ) from exc


def _archives(folder: str) -> list[str]:
    """Files in it that are named like updates, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.lower().endswith(".swu")
                and not entry.name.startswith(".")  # what other systems leave beside a copy
                and entry.is_file(follow_symlinks=False)
            )
    except OSError as exc:
        raise DeviceError(f"the medium cannot be read: {exc.strerror}", path=folder, errno=exc.errno) from exc


def _fingerprint(path: str, name: str) -> str:
    """What tells one update from another: its name, its size, and its front, which is signed and has all digests."""
    fd = _open(path)
    try:
        front = os.pread(fd, FINGERPRINT_BYTES, 0)
        size = os.fstat(fd).st_size
    except OSError as exc:
        raise DeviceError(f"{name} cannot be read: {exc.strerror}", path=path, errno=exc.errno) from exc
    finally:
        os.close(fd)
    return hashlib.sha256(f"{name} {size} ".encode(errors="replace") + front).hexdigest()[:16]


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        raise DeviceError(f"cannot open {path}: {exc.strerror}", path=path, errno=exc.errno) from exc


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
