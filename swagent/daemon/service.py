"""The daemon's life: sockets, the loop, and a clean end."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from swagent.app import Wishes
from swagent.clock import SystemClock
from swagent.errors import Busy, SettingsError, SwagentError
from swagent.events import Event, EventBus
from swagent.ipc import Status
from swagent.ipc.messages import PROGRESS_ACK
from swagent.ipc.places import CONTROL, EVENTS, PROGRESS, PROGRESS_2022, socket_path
from swagent.model import Selection
from swagent.settings import InstallSettings
from swagent.sockets.control import ControlServer
from swagent.sockets.listeners import Fanout
from swagent.sockets.listening import Listening, group_id, inherited, make
from swagent.sockets.news import Told
from swagent.sockets.recall import Recall
from swagent.state import recover_what_was_cut

from .desk import InstallDesk, merged_with
from .doors import doors_of
from .notify import Notifier
from .rights import sockets_gid
from .supervisor import Supervisor

LAST_WORDS_S = 5.0
SOCKET_MODE = 0o660
KINDS = {
    "control": ("control-socket", CONTROL),
    "progress": ("progress-socket", PROGRESS),
    "progress-2022": ("progress-socket-2022", PROGRESS_2022),
    "events": ("event-socket", EVENTS),
}
"""Kinds of sockets, as units call them: their setting, and their file's usual name."""


class Plan(NamedTuple):
    """What a daemon is to do.

    Attributes:
        accepted: selections that a request may ask for.
        ignored: sentences about settings without use.
        doors: option strings of doors, by option.
        settings_file: as ``-f`` names it.
    """

    settings: InstallSettings
    wishes: Wishes
    accepted: frozenset[Selection]
    ignored: tuple[str, ...] = ()
    doors: Mapping[str, str] = MappingProxyType({})
    settings_file: str | None = None


def open_sockets(settings: InstallSettings, environ: Mapping[str, str]) -> dict[str, list[Listening]]:
    """Take over systemd's sockets, and make those that it does not bring.

    Raises:
        Busy: another daemon listens there.
        SettingsError: settings or units make no sense.
        DeviceError: a socket cannot be made.
    """
    found = inherited(environ, os.getpid())
    for name in found:
        if name not in KINDS:
            raise SettingsError(
                f"systemd brings a socket named {name!r}",
                hint=f"FileDescriptorName= is one of {', '.join(KINDS)}",
            )
    mode = _mode(settings)
    group = settings.daemon.get("socket-group", "")
    gid = group_id(group) if group else sockets_gid()
    told = {path for key, _ in KINDS.values() for path in settings.daemon.get(key, ())}
    made: list[Listening] = []
    try:
        for kind, (key, name) in KINDS.items():
            if kind in found:
                continue
            usual = socket_path(name, environ)
            for path in settings.daemon.get(key) or ((usual,) if usual not in told else ()):
                made.append(make(path, mode=mode, gid=gid))
                found.setdefault(kind, []).append(made[-1])
    except SwagentError:
        for each in made:
            each.close()
        raise
    return found


def _mode(settings: InstallSettings) -> int:
    text = settings.daemon.get("socket-mode", "")
    if not text:
        return SOCKET_MODE
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise SettingsError(f"socket-mode {text[:20]!r} is no mode", hint='write it as "0660"')
    return mode


class Service:
    """One daemon; ``run`` lives until SIGTERM.

    Args:
        plan: what to do.
        bus: hears of everything.
        environ: the process's environment.
        as_line: an event as a line of JSON, without its end.
    """

    def __init__(
        self, plan: Plan, *, bus: EventBus, environ: Mapping[str, str], as_line: Callable[[Event], str]
    ) -> None:
        self._plan = plan
        self._bus = bus
        self._environ = environ
        self._as_line = as_line
        self._notifier = Notifier(environ)
        self._progress = Fanout(lambda: (PROGRESS_ACK,))
        self._progress_2022 = Fanout()
        self._recall = Recall()
        self._events = Fanout(lambda: [self._line(event) for event in self._recall.events()])

    async def run(self) -> int:
        """Serve; returns the status that the process is to end with.

        Raises:
            SwagentError: it cannot begin.
        """
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake)

        ends: list[int] = []

        def finished(status: int) -> None:
            ends.append(status)
            stopping.set()

        self._subscription = self._bus.subscribe(wake)
        plan = self._plan
        sockets = open_sockets(plan.settings, self._environ)
        try:
            supervisor = self._supervisor(sockets, finished)
            self._desk = InstallDesk(
                plan.settings,
                plan.wishes,
                plan.accepted,
                bus=self._bus,
                environ=self._environ,
                as_line=self._line,
                tell=self._tell,
                children=supervisor,
            )
            self._control = ControlServer(self._desk, self._log)
            for text in plan.ignored:
                self._log("info", text)
            await self._recover()
            await self._serve(sockets, supervisor, stopping)
        finally:
            for those in sockets.values():
                for each in those:
                    each.close()
            self._bus.unsubscribe(self._subscription)
        return ends[0] if ends else 0

    async def _serve(
        self, sockets: dict[str, list[Listening]], supervisor: Supervisor, stopping: asyncio.Event
    ) -> None:
        tasks = [
            asyncio.create_task(self._server(kind).serve(each.sock))
            for kind, those in sockets.items()
            for each in those
        ]
        tasks.append(asyncio.create_task(supervisor.run()))
        if self._notifier.watchdog_s is not None:
            tasks.append(asyncio.create_task(self._watchdog(self._notifier.watchdog_s)))
        try:
            where = ", ".join(each.path for each in sockets["control"])
            self._bus.publish(Event("daemon.ready", time_s=SystemClock().now_s()))
            self._log("info", f"waiting for updates at {where}")
            self._notifier.tell(READY="1", STATUS="Waiting for updates")
            await stopping.wait()
            self._notifier.tell(STOPPING="1", STATUS="Stopping")
            await self._end()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _supervisor(self, sockets: dict[str, list[Listening]], finished: Callable[[int], None]) -> Supervisor:
        """Raises SettingsError when a child could not reach the sockets that it needs."""
        paths = {kind: those[0].path for kind, those in sockets.items() if those}
        plan = self._plan
        processes = doors_of(plan.settings, plan.doors, plan.settings_file, paths, self._log)
        socket_gid = os.stat(paths["control"]).st_gid or None
        return Supervisor(processes, self._log, socket_gid=socket_gid, finished=finished)

    def _server(self, kind: str) -> "ControlServer | Fanout":
        servers: dict[str, ControlServer | Fanout] = {
            "control": self._control,
            "progress": self._progress,
            "progress-2022": self._progress_2022,
            "events": self._events,
        }
        return servers[kind]

    async def _recover(self) -> None:
        """What ``swagent -i`` does before an update, so that nobody has to wait for one to know."""
        try:
            told = await asyncio.to_thread(recover_what_was_cut, self._plan.settings, self._environ)
        except Busy:
            return  # it is being taken care of
        except SwagentError as exc:
            self._log("error", f"the last update could not be looked at: {exc.message}")
            return
        if told:
            self._log("warn", told)

    async def _end(self) -> None:
        """Let the update that runs come to an end it can recover from, and tell everybody."""
        self._desk.end()
        while self._desk.busy:
            await asyncio.sleep(0.05)
        self._wake()
        for fanout in (self._progress, self._progress_2022, self._events):
            await fanout.drained(LAST_WORDS_S)

    async def _watchdog(self, within_s: float) -> None:
        while True:
            self._notifier.tell(WATCHDOG="1")
            await asyncio.sleep(within_s / 3)

    # -- news

    def _wake(self) -> None:
        for event in self._subscription.take():
            self._recall.note(event)
            line = self._line(event)
            self._events.tell(line, replaces=merged_with(event))
            self._desk.happened(event, line)

    def _line(self, event: Event) -> bytes:
        return self._as_line(event).encode() + b"\n"

    def _tell(self, told: list[Told]) -> None:
        for each in told:
            if each.line is not None:
                self._control.tell(each.line)
            if each.progress is not None:
                replaces = "progress" if each.progress.status == Status.PROGRESS else ""
                if len(self._progress):
                    self._progress.tell(each.progress.pack(), replaces=replaces)
                if len(self._progress_2022):
                    self._progress_2022.tell(each.progress.pack(old=True), replaces=replaces)

    def _log(self, level: str, line: str) -> None:
        self._bus.publish(Event("log", time_s=SystemClock().now_s(), message=line, facts={"level": level}))
