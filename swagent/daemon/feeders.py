"""The doors that fetch updates: a server that is asked (``-u``), an address that is given (``-d``), media."""

import os
from typing import Any

from swagent.clock import SystemClock
from swagent.errors import SettingsError, UsageError
from swagent.ipc import ControlClient
from swagent.ipc.messages import Command
from swagent.settings import InstallSettings
from swagent.state import state_directory
from swagent.store.atomic import make_folders
from swagent.suricatta import registry
from swagent.suricatta.agent import RETRY_S, Agent
from swagent.suricatta.api import Order, Reply, Tools
from swagent.suricatta.downloader import Downloader
from swagent.suricatta.ledger import Ledger
from swagent.suricatta.link import InstallerLink
from swagent.suricatta.words import read_download, read_suricatta

from .doors import Call, Serve
from .doors import Orders as Messages
from .rights import Identity, hand_over, reachable

LEDGER_FILE = "ledger.json"


def suricatta(call: Call) -> Serve:
    """Asks a server again and again.

    Raises:
        UsageError, SettingsError: its words or settings make no sense.
    """
    settings, words = read_suricatta(call.words, call.settings, os.environ)
    given: dict[str, Any] = {**settings.suricatta, **settings.hawkbit}
    agent = Agent(
        _Desk(call.orders),
        SystemClock(),
        call.log,
        call.stopped,
        enabled=given.get("enable", True),
        retry_s=given.get("initial-report-resend-period", RETRY_S),
    )
    name = settings.suricatta["server"]
    factory = registry().get(name)
    if factory is None:
        raise UsageError(f"there is no backend {name!r}", hint=f"known are {', '.join(registry().names())}")
    backend = factory(_tools(call, settings, words, agent, "suricatta"))
    return lambda: agent.run(backend)


def download(call: Call) -> Serve:
    """Fetches from an address: that of its words, once, or what local clients name.

    Raises:
        UsageError, SettingsError: its words or settings make no sense.
    """
    settings = read_download(call.words, call.settings)
    agent = Agent(_Desk(call.orders), SystemClock(), call.log, call.stopped)
    downloader = Downloader(_tools(call, settings, {}, agent, "download"))
    if not settings.download.get("url"):
        return lambda: agent.run(downloader)

    def once() -> None:
        downloader.step()

    return once


def media(call: Call) -> Serve:
    """Installs what media bring, as root: it mounts them, and understands nothing of what is on them.

    Raises:
        RegistrationError: pyudev is not installed.
    """
    from swagent.hw.media import MediaWatch, mount_medium
    from swagent.suricatta.media import Media

    agent = Agent(_Desk(call.orders), SystemClock(), call.log, call.stopped)
    below = os.environ.get("TMPDIR", "") or "/tmp"  # noqa: S108 - a private folder is made in it
    feeder = Media(
        _tools(call, call.settings, {}, agent, "media"),
        MediaWatch(call.words.strip() or call.settings.media_devices),
        lambda medium, *, read_only: mount_medium(medium, below=below, read_only=read_only),
        call.stopped,
    )
    return feeder.run


def _tools(call: Call, settings: InstallSettings, words: dict[str, Any], agent: Agent, name: str) -> Tools:
    return Tools(
        settings=settings,
        words=words,
        installer=InstallerLink(ControlClient(call.control)),
        ledger=Ledger(_ledger_path(settings, name, call.identity)),
        clock=SystemClock(),
        log=call.log,
        waiting=agent.waiting,
        random=os.urandom,
    )


def _ledger_path(settings: InstallSettings, name: str, identity: Identity) -> str:
    """Where the ledger of a door is: in a folder of its own, below one that it may not look into.

    Raises:
        SettingsError: there is no such folder, and none can be made.
    """
    state = state_directory(settings, os.environ)
    if not state:
        return ""
    folder = os.path.join(state, name)
    try:
        if not os.path.isdir(state):
            make_folders(state, mode=0o700)
        make_folders(folder, mode=0o700)
        hand_over(folder, identity)
    except OSError as exc:
        raise SettingsError(
            f"cannot make {folder}: {exc.strerror}", hint="name a writable folder with state-directory"
        ) from exc
    return f"{reachable(folder)}/{LEDGER_FILE}"  # the state folder is root's alone


class _Desk:
    """Orders of local clients, without their envelopes."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._last = Command(0, 0)

    def take(self, wait_s: float) -> Order | None:
        """The next one."""
        found = self._messages.take(wait_s)
        if found is None:
            return None
        self._last = found
        return Order(found.number, found.data)

    def answer(self, reply: Reply) -> None:
        """Answer it: what came goes back, with what there is to say instead."""
        answer = self._last
        if reply.data is not None:
            length = None if reply.tells_length else 0
            answer = answer._replace(data=reply.data, length_bytes=length)
        self._messages.answer(answer, is_ack=reply.is_ack)
