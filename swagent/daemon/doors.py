"""Which child processes there are, and how each begins: the list, and what a child of ours is given.

A door faces a network or a medium, so it is a process of its own, and speaks to the installer over the control socket
alone. It begins with our rights, to read its keys and open its ports, and drops them before it reads what comes from
outside.
"""

import asyncio
import select
import socket
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from swagent.errors import NotAcknowledged
from swagent.ipc import Origin
from swagent.ipc.messages import MESSAGE_BYTES, Command, Message, Type, unpack
from swagent.settings import InstallSettings

from .rights import Identity, door_identity, identity_of, judge_rights


class Call(NamedTuple):
    """What a door is given.

    Attributes:
        settings: of the unit.
        words: its option string (``-w``, ``-u``, ``-d``), "" for none.
        control, progress, events: paths of the daemon's sockets.
        orders: messages of local clients for this door (``SWUPDATE_SUBPROCESS``).
        stopped: whether somebody wants the end; also when the daemon has gone.
        log: takes level and line.
        identity: as whom it will run.
    """

    settings: InstallSettings
    words: str
    control: str
    progress: str
    events: str
    orders: "Orders"
    stopped: Callable[[], bool]
    log: Callable[[str, str], None]
    identity: Identity


Serve = Callable[[], None]
"""Serves until ``stopped``; called with the door's own rights. It may set a handler for SIGTERM of its own."""


class Door(NamedTuple):
    """A kind of door.

    Attributes:
        name: as typed.
        option: of ``swagent daemon``, whose value is its option string.
        origin: whose messages (``SWUPDATE_SUBPROCESS``) it answers.
        group: of the settings, which may name its user and group; "" for one that keeps our rights.
        wanted: whether it is to run without its option.
        target: ``module:function``; called with a ``Call`` and our rights, returns a ``Serve``.
        once: whether it has an end of its own with these words, which is the daemon's too.
    """

    name: str
    option: str
    origin: Origin
    group: str
    wanted: Callable[[InstallSettings], bool]
    target: str
    once: Callable[[str], bool] = lambda words: False


DOORS: tuple[Door, ...] = (
    Door(
        "suricatta",
        "suricatta",
        Origin.SURICATTA,
        "suricatta",
        lambda settings: settings.suricatta.get("enable", False) is True,
        "swagent.daemon.feeders:suricatta",
    ),
    Door(
        "download",
        "download",
        Origin.DOWNLOADER,
        "download",
        lambda settings: False,
        "swagent.daemon.feeders:download",
        once=lambda words: bool(words.strip()),
    ),
    Door(
        "web",
        "webserver",
        Origin.WEBSERVER,
        "webserver",
        lambda settings: False,
        "swagent.daemon.webdoor:begin",
    ),
    Door(
        "media",
        "media",
        Origin.UNKNOWN,
        "",  # it mounts
        lambda settings: bool(settings.media_devices),
        "swagent.daemon.feeders:media",
    ),
)
"""All doors there are."""


class Process(NamedTuple):
    """A child to start.

    Attributes:
        name: for people.
        argv: what is started; the number of the descriptor for its orders is put where ``FD`` stands.
        origin: whose messages it answers.
        identity: as whom it is started; a door drops its rights by itself.
        once: whether the daemon ends when it does.
    """

    name: str
    argv: tuple[str, ...]
    origin: int = Origin.UNKNOWN
    identity: Identity = Identity()
    once: bool = False


FD = "@FD@"


def doors_of(
    settings: InstallSettings,
    options: Mapping[str, str],
    settings_file: str | None,
    sockets: Mapping[str, str],
    log: Callable[[str, str], None],
) -> list[Process]:
    """The doors that are wanted.

    Args:
        settings: of the unit.
        options: option strings by name of the option.
        settings_file: as ``-f`` names it.
        sockets: kind to path, of those that doors need.
        log: hears of what is unwise.

    Raises:
        SettingsError: there is no such user or group, or it could not use the sockets.
    """
    found = []
    for door in DOORS:
        if door.option in options or door.wanted(settings):
            judge_rights(door.name, door.group, rights(door, settings), sockets["control"], log)
            argv = [sys.executable, "-m", "swagent", "door", door.name, "--orders", FD]
            for kind in ("control", "progress", "events"):
                argv += [f"--{kind}={sockets[kind]}"]
            argv += [f"--file={settings_file}"] if settings_file else []
            argv += [f"--words={options[door.option]}"] if door.option in options else []
            once = door.once(options.get(door.option, ""))
            found.append(Process(door.name, tuple(argv), door.origin, once=once))
    for index, given in enumerate(settings.processes):
        where = f"processes[{index}]"
        argv = str(given["exec"]).split()
        found.append(Process(str(given["name"]), tuple(argv), identity=identity_of(given, where)))
    return found


def rights(door: Door, settings: InstallSettings) -> Identity:
    """As whom a door runs.

    Raises:
        SettingsError: its group of the settings names a user or group that is not there.
    """
    if not door.group:
        return Identity()
    return door_identity(getattr(settings, door.group), door.group, DOORS.index(door))


class Orders:
    """Messages of local clients for this process, one after the other.

    Args:
        fd: a socket that keeps messages apart; the daemon is at its other end.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._broken = False

    @property
    def gone(self) -> bool:
        """Whether the daemon has gone."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return self._broken or bool(poll.poll(0))

    def fileno(self) -> int:
        """Can be read when a message waits, or the daemon has gone."""
        return self._socket.fileno()

    def take(self, wait_s: float) -> Command | None:
        """The next message, None when none comes in this time."""
        if self._broken or not select.select([self._socket], [], [], max(wait_s, 0.0))[0]:
            return None
        try:
            data = self._socket.recv(MESSAGE_BYTES)
        except OSError:
            data = b""
        if len(data) < MESSAGE_BYTES:
            self._broken = True
            return None
        return Command.unpack(unpack(data).body)

    def answer(self, answer: Command, *, is_ack: bool | None = True) -> None:
        """Answer the message that was taken last.

        Args:
            answer: what its sender gets.
            is_ack: None leaves the message's type as it came.
        """
        kind = Type.SWUPDATE_SUBPROCESS if is_ack is None else Type.ACK if is_ack else Type.NACK
        try:
            self._socket.sendall(Message(kind, answer.pack()).pack())
        except OSError:
            self._broken = True


class Line:
    """The daemon's end: passes messages on to one child.

    Args:
        sock: non-blocking, keeps messages apart.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def ask(self, command: Command) -> Message:
        """Pass a message on; returns the answer.

        Raises:
            NotAcknowledged: none came in time, or the child has gone.
        """
        loop = asyncio.get_running_loop()
        while True:  # an answer that came too late is nobody's
            try:
                if not self._socket.recv(MESSAGE_BYTES):
                    raise NotAcknowledged("the child has gone")
            except BlockingIOError:
                break
            except OSError as exc:
                raise NotAcknowledged("the child has gone") from exc
        wait_s = command.timeout_s or 60
        try:
            async with asyncio.timeout(wait_s):
                message = Message(Type.SWUPDATE_SUBPROCESS, command.pack())
                await loop.sock_sendall(self._socket, message.pack())
                data = await loop.sock_recv(self._socket, MESSAGE_BYTES)
        except (OSError, TimeoutError) as exc:
            raise NotAcknowledged(f"the child has not answered within {wait_s} s") from exc
        if len(data) < MESSAGE_BYTES:
            raise NotAcknowledged("the child has gone")
        return unpack(data)

    def close(self) -> None:
        """Hang up, which a door takes for the daemon's end."""
        self._socket.close()
