"""What a session is given: decisions, parts; and what an inspection gives back."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from swagent.bootloader import Bootloader
from swagent.clock import Clock
from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Signer, Trust
from swagent.errors import RegistrationError
from swagent.events import EventBus
from swagent.handlers.api import Handler, Hardware
from swagent.model import Artifact, Gate, Plan, Selection, TlsFiles, Unit, UserDataFailure
from swagent.plugins import Registry

from .journal import Journal

if TYPE_CHECKING:
    from swagent.net import HttpParts


class LuaRules(NamedTuple):
    """What Lua may do; what can be granted are the words of ``settings.LUA_GRANTS``.

    Attributes:
        version: of Lua.
        path: where modules and ``swupdate_handlers.lua`` are looked for, as ``package.path``.
        device_grants: to the unit's own file.
        image_grants: to what an image brings.
        memory_bytes: how much a state may take.
        instructions: how many a call may run.
        seconds: how long a call may take.
    """

    version: str = "5.4"
    path: str = ""
    device_grants: frozenset[str] = frozenset()
    image_grants: frozenset[str] = frozenset()
    memory_bytes: int = 64 * 1024 * 1024
    instructions: int = 500_000_000
    seconds: float = 60.0


UserDataQuestion = Callable[[Artifact, str], UserDataFailure]


def user_data_must_succeed(art: Artifact, why: str) -> UserDataFailure:
    """Nobody was asked: an update without the user's data is a failed one."""
    return UserDataFailure.FAIL


class Policy(NamedTuple):
    """How an update is to be handled; every field is one decision of whoever asked for it.

    Attributes:
        trust: whom to believe; None only when unsigned images were allowed.
        aes_key: for encrypted members and descriptions without a key of their own.
        selection: software set and mode, None when none was chosen.
        dry_run: read and judge everything, write nothing.
        verify_first: read everything before the first write; a stream is kept in ``tmpdir`` for it.
        verify_cpio_sum: also sum members that have a sha256.
        verify_write: read back what is written, where the handler can.
        tls: for connections to other devices.
        nothing_is_success: an update of which everything is installed already is no refusal.
        pre_update: shell command before anything is written, by update type.
        post_update: shell command after success, by update type.
        tmpdir: folder for staged members and scripts.
        versions_file: where to write the versions installed, "" for nowhere.
        floor: the lowest version that may be installed, "" when there is none or nobody asks.
        floor_in_env: keep the floor in the boot environment too.
        correlation_id: what the journal keeps for whoever asked for this update.
        below_floor: why an image below the floor is let in all the same, "" when it is not.
        over_unconfirmed: why an update is let in over one that is not confirmed, "" when it is not.
        namespace_vars: where ``vars`` are stored when the image does not say, "" for nowhere.
        reboot: whether a reboot follows, by update type, when the image does not say; None when the type neither.
        lua: what Lua may do.
        user_data_failed: told an entry with the property ``user-data`` and why it could not be written; decides.
    """

    trust: Trust | None
    aes_key: AesKey | None = None
    selection: Selection | None = None
    description_size_max_bytes: int = 4 * 1024 * 1024
    dry_run: bool = False
    verify_first: bool = False
    verify_cpio_sum: bool = False
    verify_write: bool = False
    tls: TlsFiles = TlsFiles()
    nothing_is_success: bool = False
    transaction_marker: bool = True
    state_marker: bool = True
    pre_update: Mapping[str, str] | None = None
    post_update: Mapping[str, str] | None = None
    tmpdir: str = "/tmp"  # noqa: S108 - SWUpdate's default; the session makes a folder of its own there, mode 0700
    versions_file: str = ""
    floor: str = ""
    floor_in_env: bool = False
    below_floor: str = ""
    correlation_id: str = ""
    over_unconfirmed: str = ""
    namespace_vars: str = ""
    reboot: Mapping[str, bool | None] = MappingProxyType({})
    lua: LuaRules = LuaRules()
    user_data_failed: UserDataQuestion = user_data_must_succeed


def no_server(url: str, size_bytes: int, parts_max: int) -> "HttpParts":
    """What a rig without a way to servers says to a handler that wants parts of a file there."""
    raise RegistrationError("files on servers cannot be fetched here")


class Rig(NamedTuple):
    """The parts a session works with; ``app`` puts them together.

    Attributes:
        parts: opens a file on a server to fetch parts of it: URL, size, how many parts at a time.
        state_folder: where the last good time is, "" for nowhere.
        namespaces: opens the environment of a name, for ``vars``; None when there are none.
        session: what its events are called by, "" for a name of the session's own; gates that tell something know it.
    """

    handlers: Registry[Handler]
    hw: Hardware
    bootloader: Bootloader | None
    bus: EventBus
    clock: Clock
    unit: Unit
    gates: tuple[Gate, ...]
    parts: "Callable[[str, int, int], HttpParts]" = no_server
    journal: Journal | None = None
    state_folder: str = ""
    namespaces: Callable[[str], Bootloader] | None = None
    session: str = ""


class Inspection(NamedTuple):
    """What an image holds and what would be done with it."""

    plan: Plan
    signer: Signer | None
    warnings: tuple[str, ...]
