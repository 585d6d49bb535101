"""Does what is asked for over the control socket: one update at a time, in a thread of its own."""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event as Flag
from typing import TYPE_CHECKING, NamedTuple, Protocol

from swagent.app import Wishes, make_session, read_hardware, read_unit, run_hook
from swagent.clock import SystemClock
from swagent.errors import (
    BootEnvError,
    Busy,
    NotAcknowledged,
    SelectionRefused,
    SettingsError,
    SwagentError,
)
from swagent.events import Event, EventBus, refused_early
from swagent.facts import device_facts, image_facts, look_into
from swagent.ipc import DryRun, Notification, Origin, Request, Revisions, StatusReply
from swagent.ipc.messages import AesKeyText, Command, DeltaUrl, Message, Variable, VersionsRange
from swagent.model import Selection
from swagent.settings import DEFAULT_TYPE, InstallSettings
from swagent.sockets.connection import ConnectionSource
from swagent.sockets.control import Install, Peer
from swagent.sockets.listeners import Listener, drop_what_comes
from swagent.sockets.news import News, Told
from swagent.sockets.orders import Order
from swagent.state import lock, make_bootloader, open_namespace

from .questions import Questions

if TYPE_CHECKING:
    from swagent.bootloader import Bootloader

NETWORKS = (Origin.WEBSERVER, Origin.SURICATTA, Origin.DOWNLOADER)
LAST_WORD_S = 10.0
CLASSIC_LEAST_S = 0.2
"""SWUpdate's client waits for ever when a connection breaks before it has begun to wait for that."""
INSPECTIONS_MAX = 2
INSPECT_SILENCE_S = 20.0
STATE_VARIABLE = "ustate"
STATE_UNKNOWN = "4"
DELTA_URLS_MAX = 64


class Children(Protocol):
    """Who passes messages on to child processes."""

    async def command(self, command: Command) -> Message:
        """Have one do something; returns its answer."""
        ...

    def states(self) -> list[dict[str, object]]:
        """How each does."""
        ...


class Admitted(NamedTuple):
    """An update that was let in.

    Attributes:
        lock_fd: keeps others away, None for a dry run.
        order: what our own clients ask for beyond; None for SWUpdate's.
    """

    request: Request
    peer: Peer
    settings: InstallSettings
    wishes: Wishes
    lock_fd: int | None
    order: Order | None


class InstallDesk:
    """What the control socket wants of us; all methods run in the loop.

    Args:
        settings: as of ``swagent -i``.
        wishes: the same.
        accepted: selections that a request may ask for.
        bus: hears of everything; the verdict of an update when the next one can begin.
        environ: the process's environment.
        as_line: how an event reads, with its line's end.
        tell: takes news for the clients of SWUpdate.
        children: child processes.
    """

    def __init__(
        self,
        settings: InstallSettings,
        wishes: Wishes,
        accepted: frozenset[Selection],
        *,
        bus: EventBus,
        environ: Mapping[str, str],
        as_line: Callable[[Event], bytes],
        tell: Callable[[list[Told]], None],
        children: Children,
    ) -> None:
        self._settings = settings
        self._wishes = wishes
        self._accepted = accepted
        self._bus = bus
        self._environ = environ
        self._as_line = as_line
        self._tell = tell
        self._children = children
        self._news = News()
        self._running: Admitted | None = None
        self._update_type = DEFAULT_TYPE
        self._last_was_dry = False
        self._stop = Flag()
        self._ending = False
        self._hook = asyncio.Lock()
        self._controller: Listener | None = None
        self._questions: Questions | None = None
        self._inspections = asyncio.Semaphore(INSPECTIONS_MAX)
        self._loop = asyncio.get_running_loop()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="install")

    # -- updates

    @property
    def busy(self) -> bool:
        """Whether an update runs."""
        return self._running is not None

    def admit(self, request: Request, peer: Peer, order: Order | None = None) -> Install:
        """Let an update in.

        Raises:
            Busy: there is one, here or of another program.
            SelectionRefused: it asks for a selection that was not allowed.
            DeviceError: the lock cannot be made.
        """
        if self._running is not None:
            raise Busy("another update is running")
        if self._ending or self._hook.locked():
            raise Busy("the daemon ends" if self._ending else "the post-update command is running")
        settings = self._selected(request)
        dry_run = request.dry_run == DryRun.ON or (request.dry_run != DryRun.OFF and self._wishes.dry_run)
        wishes = self._wishes._replace(dry_run=dry_run, judge_unit=not dry_run, post_update=False)
        lock_fd = None if dry_run else lock(self._environ)
        self._stop.clear()
        self._questions = None
        self._running = Admitted(request, peer, settings, wishes, lock_fd, order)
        self._tell(self._news.accepted(request.origin, request.info))
        return partial(self._run, self._running)

    def _selected(self, request: Request) -> InstallSettings:
        if not (request.software_set and request.running_mode):
            return self._settings
        wanted = Selection(request.software_set, request.running_mode)
        if wanted not in self._accepted:
            raise SelectionRefused(
                f"the selection {wanted} may not be asked for", hint=f"-q {wanted} would allow it"
            )
        return self._settings._replace(select=wanted)

    async def _run(self, admitted: Admitted, connection: socket.socket) -> None:
        if admitted.order is not None:
            self._controller = Listener(connection.dup(), watch=False)
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        verdict = await loop.run_in_executor(self._worker, self._install, admitted, connection)
        if admitted.order is not None:
            drop_what_comes(connection)
        else:
            await asyncio.sleep(max(0.0, CLASSIC_LEAST_S - (loop.time() - since_s)))
        connection.close()  # SWUpdate's clients take this for the end; our own have a descriptor that is still open
        if admitted.lock_fd is not None:
            os.close(admitted.lock_fd)
        self._running = None
        self._wishes = self._wishes._replace(delta_urls={})
        self._last_was_dry = admitted.wishes.dry_run
        controller, self._controller = self._controller, None
        self._bus.publish(verdict)
        self._tell(self._news.ended(verdict))
        if controller is not None:
            controller.offer(self._as_line(verdict))
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await controller.drained()
            controller.close("the update is over")

    def _install(self, admitted: Admitted, connection: socket.socket) -> Event:
        """In the worker: one session; returns its verdict, which is not published yet."""
        order = admitted.order or Order("install")
        bus = _SessionBus(self._bus, order.correlation_id)
        try:
            wishes = admitted.wishes._replace(correlation_id=order.correlation_id)
            if order.ask:
                wishes = self._with_questions(order, wishes, bus, connection)
            source = ConnectionSource(
                connection.fileno(),
                order.name or f"the update of {admitted.peer}",
                length_bytes=order.length_bytes,
                hashes=order.hashes,
                on_bytes=self._counter(admitted, order),
            )
            session, _ = make_session(
                admitted.settings,
                wishes,
                source,
                bus=bus,
                environ=self._environ,
                cancelled=self._stop.is_set,
            )
            session.run()
        except SwagentError as exc:
            return bus.verdict or bus.marked(refused_early(exc, now_s=SystemClock().now_s()))
        except Exception as exc:  # noqa: BLE001 - a fault of ours must cost an update, not the service
            fault = SwagentError(f"a fault in swagent: {type(exc).__name__}: {exc}", hint="please report it")
            return bus.marked(refused_early(fault, now_s=SystemClock().now_s()))
        assert bus.verdict is not None  # noqa: S101 - a session that returns has published it
        return bus.verdict

    def _counter(self, admitted: Admitted, order: Order) -> Callable[[int], None]:
        """Tells SWUpdate's clients how much of an update has come over a network; called in the worker."""
        total = order.length_bytes or admitted.request.length_bytes
        if not total or admitted.request.origin not in NETWORKS:
            return lambda came: None
        loop, percent = self._loop, 0

        def count(came: int) -> None:
            nonlocal percent
            now = min(100, 100 * came // total)
            if now > percent:
                percent = now
                loop.call_soon_threadsafe(lambda: self._tell(self._news.downloaded(now, total)))

        return count

    def _with_questions(
        self, order: Order, wishes: Wishes, bus: EventBus, connection: socket.socket
    ) -> Wishes:
        def tell(event: str, message: str, facts: dict[str, object]) -> None:
            bus.publish(Event(event, time_s=SystemClock().now_s(), message=message, facts=facts))

        questions = Questions(tell, lambda: self._stop.is_set() or has_hung_up(connection))
        self._questions = questions
        if "consent" in order.ask:
            wishes = wishes._replace(ask=questions.consent)
        if "user-data" in order.ask:
            wishes = wishes._replace(user_data_failed=questions.user_data_failed)
        return wishes

    def happened(self, event: Event, line: bytes) -> None:
        """An event of the bus and how it reads: for SWUpdate's clients, and for who controls the update."""
        if event.event == "update.verdict":
            return  # told already, by whoever let the next one in
        if event.event == "update.planned":
            self._update_type = str(event.facts.get("update_type", DEFAULT_TYPE))
        if self._running is not None:
            self._tell(self._news.happened(event))
            if self._controller is not None:
                self._controller.offer(line, replaces=merged_with(event))
        elif event.event == "log":
            self._tell(self._news.log(str(event.facts.get("level")), event.message))

    # -- our own messages

    async def inspect(self, order: Order, connection: socket.socket) -> Mapping[str, object]:
        """What the update that begins to come would do; only its head is read, nothing is written."""
        async with self._inspections:
            return await asyncio.to_thread(self._inspect, order, connection)

    def _inspect(self, order: Order, connection: socket.socket) -> dict[str, object]:
        name = order.name or "this update"
        source = ConnectionSource(connection.fileno(), name, silence_s=INSPECT_SILENCE_S)
        look = look_into(self._selected(order.request()), self._wishes, source, environ=self._environ)
        return image_facts(look)

    async def obey(self, order: Order) -> Mapping[str, object]:
        """Answer a question, cancel, or tell how things stand."""
        if order.do == "state":
            facts = await asyncio.to_thread(
                device_facts,
                self._settings,
                self._wishes.hardware or read_hardware(None),
                environ=self._environ,
                busy=self.busy,
            )
            return {**facts, "busy": self.busy, "children": self._children.states()}
        if self._running is None:
            raise NotAcknowledged("no update is running")
        if order.do == "cancel":
            self._stop.set()
        elif self._questions is None:
            raise NotAcknowledged("there is no question")
        else:
            self._questions.answer(order.question, order.answer)
        return {}

    def end(self) -> None:
        """Let no more updates in, and ask the one that runs to stop at its next checkpoint."""
        self._ending = True
        self._stop.set()

    # -- the rest

    def status(self) -> StatusReply:
        """As it stands; takes a line away."""
        return self._news.status()

    def standing(self) -> StatusReply:
        """As it stands."""
        return self._news.standing()

    def lines(self) -> list[Notification]:
        """Lines that are kept."""
        return self._news.lines()

    async def post_update(self, text: str) -> None:
        """Run the post-update command of the last update; after a dry run there is nothing to run it for."""
        if self._running is not None or self._hook.locked():
            raise Busy("an update is running, or another client's post-update command")
        self._tell(self._news.done(text))
        if self._last_was_dry:
            self._log("info", "the last update was a dry run: its post-update command is not run")
            return
        async with self._hook:
            await asyncio.to_thread(run_hook, self._settings, self._update_type, self._log, self._environ)

    async def command(self, command: Command) -> Message:
        """Have a child do something; returns its answer."""
        return await self._children.command(command)

    async def set_aes_key(self, key: AesKeyText) -> None:
        """For updates from now on."""
        from swagent.crypto.cipher import parse_key

        found = await asyncio.to_thread(parse_key, key.key.encode(), key.iv.encode(), where="the message")
        self._wishes = self._wishes._replace(aes_key=found)

    async def update_state(self) -> str:
        """The digit of ``ustate``; that of "not available" when there is none."""
        try:
            value = await asyncio.to_thread(self._read_state)
        except SwagentError as exc:
            self._log("warn", f"{STATE_VARIABLE} cannot be read: {exc.message}")
            value = None
        return value if value and value in "01234567" and len(value) == 1 else STATE_UNKNOWN

    def _read_state(self) -> str | None:
        loader = make_bootloader(self._settings)
        return loader.get(STATE_VARIABLE) if loader else None

    async def set_update_state(self, state: str) -> None:
        """Store it in the boot environment."""
        self._refuse_while_busy()
        await asyncio.to_thread(self._store_state, state)

    def _store_state(self, state: str) -> None:
        loader = make_bootloader(self._settings)
        if loader is None:
            raise BootEnvError("there is no boot loader whose environment could hold it")
        loader.set_many({STATE_VARIABLE: state})

    async def set_versions_range(self, bounds: VersionsRange) -> None:
        """For updates from now on."""
        types = dict(self._settings.update_types)
        name = bounds.update_type or DEFAULT_TYPE
        if name not in types:
            raise SettingsError(f"there is no type of updates {name[:80]!r}")
        old = types[name]
        types[name] = old._replace(
            no_downgrading=bounds.minimum or old.no_downgrading,
            max_version=bounds.maximum or old.max_version,
            no_reinstalling=bounds.current or old.no_reinstalling,
        )
        self._settings = self._settings._replace(update_types=types)

    async def hardware(self) -> Revisions:
        """Board and revision."""
        unit, _ = await asyncio.to_thread(read_unit, self._settings, self._wishes.hardware)
        if unit.hardware is None:
            raise SettingsError("nobody says what hardware this is", hint="-H, or /etc/hwrevision")
        return Revisions(unit.hardware.board, unit.hardware.revision)

    async def variable(self, wanted: Variable) -> Variable:
        """A variable with its value."""
        value = await asyncio.to_thread(lambda: self._namespace(wanted).get(wanted.name))
        if value is None:
            raise NotAcknowledged(f"there is no variable {wanted.name[:80]!r}")
        return wanted._replace(value=value)

    async def set_variable(self, wanted: Variable) -> None:
        """Store or remove it."""
        self._refuse_while_busy()
        if not wanted.name:
            raise NotAcknowledged("the variable has no name")
        await asyncio.to_thread(lambda: self._namespace(wanted).set_many({wanted.name: wanted.value or None}))

    def _namespace(self, wanted: Variable) -> "Bootloader":
        name = wanted.namespace or self._settings.namespace_vars
        if not name:
            raise SettingsError("nobody says in which namespace", hint="namespace-vars in the settings")
        return open_namespace(self._settings, name)

    async def set_delta_url(self, url: DeltaUrl) -> None:
        """For the next update."""
        if not url.filename or not url.url:
            raise NotAcknowledged("a file name and a URL are needed")
        urls = {**self._wishes.delta_urls, url.filename: url.url}
        if len(urls) > DELTA_URLS_MAX:
            raise NotAcknowledged(f"more than {DELTA_URLS_MAX} files")
        self._wishes = self._wishes._replace(delta_urls=urls)

    def _refuse_while_busy(self) -> None:
        if self._running is not None:
            raise Busy("an update is running, and the boot environment is its own until then")

    def _log(self, level: str, line: str) -> None:
        self._bus.publish(Event("log", time_s=SystemClock().now_s(), message=line, facts={"level": level}))


class _SessionBus(EventBus):
    """Passes everything on but the verdict, which comes when the next update can begin."""

    def __init__(self, outer: EventBus, correlation_id: str) -> None:
        super().__init__()
        self._outer = outer
        self._facts = {"correlation_id": correlation_id} if correlation_id else {}
        self.verdict: Event | None = None

    def publish(self, event: Event) -> None:
        """Tell the outer bus."""
        if event.event == "update.verdict":
            self.verdict = self.marked(event)
        else:
            self._outer.publish(self.marked(event) if event.event == "update.started" else event)

    def marked(self, event: Event) -> Event:
        """With what whoever asked for the update wants to read in reports about it."""
        return event._replace(facts={**event.facts, **self._facts})


def merged_with(event: Event) -> str:
    """What makes a later event of the same kind take the place of this one in a queue; "" for none."""
    return f"{event.event} {event.artifact}" if event.is_progress else ""


def has_hung_up(connection: socket.socket) -> bool:
    """Whether nobody is at the other end any more; one that only sends no more is still there."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))
