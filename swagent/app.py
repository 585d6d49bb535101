"""Puts the parts together: reads settings files, builds registries, makes the rig of a session. Knows everybody."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from swagent.clock import SystemClock
from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Trust
from swagent.errors import Busy, ScriptError, SettingsError, SwagentError, UsageError
from swagent.events import Event, EventBus
from swagent.handlers.api import Hardware as Device
from swagent.installer.gates import HardwareGate, RequiresGate, VersionGate
from swagent.installer.gates.floor import FloorGate
from swagent.installer.inventory import from_pairs, read_versions
from swagent.installer.journal import Journal, Record, State
from swagent.installer.rig import LuaRules, Policy, Rig, UserDataQuestion
from swagent.installer.session import Session, session_name
from swagent.model import Artifact, Description, Gate, Hardware, InstallRequest, Outcome, Plan, TlsFiles, Unit
from swagent.settings import AUTO, DEFAULT_TYPE, InstallSettings, from_config, from_environ
from swagent.sources import STANDARD_INPUT, open_image, open_parts
from swagent.state import (
    CHECKS_FOLDER,
    lock,
    make_bootloader,
    make_journal,
    open_namespace,
    read_file,
    read_floor,
    state_directory,
    temporary_folder,
)
from swagent.stream.source import FileSource, Source, open_source

if TYPE_CHECKING:
    from swagent.authdb.lists import Facts
    from swagent.bootloader import Bootloader
    from swagent.handlers.api import Handler
    from swagent.installer.contents import Contents
    from swagent.installer.single import ImageInstaller
    from swagent.plugins import Registry


CONFIG_FILE = "/etc/swupdate.cfg"
HARDWARE_FILE = "/etc/hwrevision"
VERSIONS_FILE = "/etc/sw-versions"
LUA_PATH = "/etc/swagent/lua/?.lua;/usr/local/share/lua/VERSION/?.lua;/usr/share/lua/VERSION/?.lua"


class Wishes(NamedTuple):
    """What is asked of one install, beside the settings.

    Attributes:
        allow_unsigned: install without asking for a signature, when no key is configured.
        hardware: overrides /etc/hwrevision.
        judge_unit: ask the gates that look at this unit as it is now too: what runs from where, and on what power.
        verdict_last: the verdict on the whole archive comes with its last byte: what runs may not be written before.
        ask: shows a plan to a person and returns the answer; None asks nobody.
        user_data_failed: decides what follows when the user's data cannot be written; None as the settings say.
        post_update: run the post-update command; a daemon does so when it is told.
        correlation_id: by which somebody wants to find the update in the journal.
        aes_key: overrides the key file of the settings.
        delta_urls: file name to where it is fetched from, instead of what the image says.
        below_floor: why an image below the version floor is to be let in.
        over_unconfirmed: why an update is to be let in over one that is not confirmed.
    """

    allow_unsigned: bool = False
    hardware: Hardware | None = None
    dry_run: bool = False
    verify_first: bool = False
    verify_cpio_sum: bool = False
    nothing_is_success: bool = False
    transaction_marker: bool = True
    state_marker: bool = True
    below_floor: str = ""
    over_unconfirmed: str = ""
    judge_unit: bool = True
    verdict_last: bool = False
    ask: Callable[[Plan, Unit], bool] | None = None
    user_data_failed: UserDataQuestion | None = None
    post_update: bool = True
    aes_key: AesKey | None = None
    correlation_id: str = ""
    delta_urls: Mapping[str, str] = MappingProxyType({})


def read_settings(config_file: str | None, environ: Mapping[str, str]) -> tuple[InstallSettings, list[str]]:
    """Defaults, swupdate.cfg, the files in ``swupdate.cfg.d``, ``SWAGENT_*``; the command line comes on top of it.

    Args:
        config_file: as ``-f`` names it, None for /etc/swupdate.cfg if that is there.
        environ: the process's environment.

    Returns:
        the settings, and a sentence for each key that is SWUpdate's and not used here.

    Raises:
        SettingsError: a file cannot be read, or holds what it must not.
    """
    settings = InstallSettings()
    ignored: list[str] = []
    main = config_file or (CONFIG_FILE if os.path.exists(CONFIG_FILE) else None)
    if main is not None:
        files = [main, *_drop_ins(f"{main}.d")]
        for path in files:
            from swagent.parser import read_libconfig

            tree = read_libconfig(read_file(path), where=path)
            settings, more = from_config(tree, where=path, base=settings, globals_required=path == main)
            ignored += more
    if any(name.startswith("SWAGENT_") for name in environ):
        settings = from_environ(environ, base=settings)
    return settings, ignored


def trust_of(settings: InstallSettings) -> Trust | None:
    """Whom the settings say to believe, None when they name no key."""
    if not settings.public_key_files:
        return None
    scheme = "auto"
    if settings.digest_provider:
        from swagent.crypto.signature import scheme_of_provider

        scheme = scheme_of_provider(settings.digest_provider)
    return Trust(
        settings.public_key_files,
        scheme=scheme,
        cert_purpose=settings.cert_purpose,
        forced_signer_name=settings.forced_signer_name,
        crl_path=settings.crl_path,
    )


def demand_trust(settings: InstallSettings, *, allow_unsigned: bool) -> Trust | None:
    """As ``trust_of``, but signed by default.

    Raises:
        SettingsError: there is no key, and unsigned images were not allowed.
    """
    trust = trust_of(settings)
    if trust is None and not allow_unsigned:
        raise SettingsError(
            "no key to verify the image with",
            hint="name it with -k (or public-key-file in the settings), or say --allow-unsigned",
        )
    return trust


def aes_key_of(settings: InstallSettings) -> AesKey | None:
    """The key that opens encrypted images, None when the settings name none."""
    if not settings.aes_key_file:
        return None
    from swagent.crypto.cipher import read_key_file

    return read_key_file(settings.aes_key_file)


def read_hardware(text: str | None, path: str = HARDWARE_FILE) -> Hardware | None:
    """The unit's board and revision.

    Args:
        text: ``board:revision`` as ``-H`` gives it, None to read ``path``.
        path: the file with the two words; None is returned when it is not there.

    Raises:
        UsageError: ``text`` is not of that form.
    """
    if text is not None:
        board, colon, revision = text.partition(":")
        if not (board and colon and revision):
            raise UsageError(f"{text!r} is not of the form board:revision")
        return Hardware(board, revision)
    try:
        words = read_file(path).decode(errors="replace").split()
    except SettingsError:
        return None
    return Hardware(words[0], words[1]) if len(words) >= 2 else None


def read_unit(settings: InstallSettings, hardware: Hardware | None) -> tuple[Unit, list[str]]:
    """What is installed on which hardware; with warnings about lines that make no sense."""
    if settings.versions is not None:
        return Unit(hardware, from_pairs(settings.versions)), []
    installed, warnings = read_versions(VERSIONS_FILE)
    return Unit(hardware, installed), warnings


def make_session(
    settings: InstallSettings,
    wishes: Wishes,
    source: Source,
    *,
    bus: EventBus,
    environ: Mapping[str, str],
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Session, Rig]:
    """A session for an archive.

    Raises:
        SettingsError: a key or file named by the settings cannot be used, or there is no key.
        RegistrationError: the boot loader asked for does not exist.
    """
    from swagent import handlers
    from swagent.hw import Hardware as RealHardware

    trust = demand_trust(settings, allow_unsigned=wishes.allow_unsigned)
    loader = make_bootloader(settings)
    journal = make_journal(settings, environ)
    floor = read_floor(journal, loader) if settings.version_floor else ""
    if wishes.below_floor and not settings.version_floor:
        raise UsageError("--below-floor: no version floor is in force", hint="--version-floor asks for one")
    unit, _ = read_unit(settings, wishes.hardware)
    settings = settle_selection(settings)
    tmpdir = temporary_folder(environ)
    hw = RealHardware(tmpdir, settings.docker_socket, settings.mtd_blacklist)
    policy = Policy(
        trust=trust,
        aes_key=wishes.aes_key or aes_key_of(settings),
        selection=settings.select,
        description_size_max_bytes=settings.description_size_max_bytes,
        dry_run=wishes.dry_run,
        verify_first=wishes.verify_first,
        verify_cpio_sum=wishes.verify_cpio_sum,
        verify_write=settings.verify_write,
        tls=TlsFiles(settings.forward_cafile, settings.forward_sslcert, settings.forward_sslkey),
        nothing_is_success=wishes.nothing_is_success,
        transaction_marker=wishes.transaction_marker,
        state_marker=wishes.state_marker,
        pre_update={kind.name: kind.preupdatecmd for kind in settings.update_types.values()},
        post_update={kind.name: kind.postupdatecmd for kind in settings.update_types.values()}
        if wishes.post_update
        else {},
        tmpdir=tmpdir,
        versions_file=settings.gen_swversions,
        floor=floor,
        floor_in_env=settings.version_floor,
        correlation_id=wishes.correlation_id,
        below_floor=wishes.below_floor,
        over_unconfirmed=wishes.over_unconfirmed,
        namespace_vars=settings.namespace_vars,
        reboot={kind.name: kind.reboot for kind in settings.update_types.values()},
        lua=lua_rules(settings),
        user_data_failed=wishes.user_data_failed or (lambda art, why: settings.user_data_failure),
    )
    session, clock = session_name(), SystemClock()

    def tell(event: str, facts: dict[str, object], message: str = "") -> None:
        bus.publish(Event(event, time_s=clock.now_s(), session=session, message=message, facts=facts))

    rig = Rig(
        handlers=handlers.registry(),
        hw=hw,
        bootloader=loader,
        bus=bus,
        clock=clock,
        unit=unit,
        gates=(
            HardwareGate(strict=unit.hardware is not None),
            VersionGate(settings.update_types, type_required=settings.update_type_required),
            RequiresGate(),
            *([FloorGate(floor)] if floor and not wishes.below_floor else []),
            *(_gates_of_unit(settings, hw) if wishes.judge_unit else ()),
            *(_gates_of_passing() if wishes.verdict_last else ()),
            *(
                _gates_of_the_way_back(journal, loader)
                if wishes.judge_unit and not wishes.over_unconfirmed
                else ()
            ),
            *([_gate_of_authorization(settings, source, hw, loader, tell)] if wishes.judge_unit else ()),
            *(_gates_that_ask(settings, wishes, hw, tell) if not wishes.dry_run else ()),
        ),
        parts=partial(open_parts, settings, urls=wishes.delta_urls),
        journal=journal,
        state_folder=state_directory(settings, environ),
        namespaces=lambda name: open_namespace(settings, name),
        session=session,
    )
    return Session(rig, policy, source, cancelled=cancelled), rig


class SwuInstaller:
    """Installs ``.swu`` images for somebody who verifies them as files; a ``model.EcuInstaller``.

    The gates, the journal and ``confirm`` are those of every install.

    Args:
        settings: as of ``swagent -i``.
        bus: hears of what happens.
        environ: the process's environment.
        hardware: overrides /etc/hwrevision.
    """

    def __init__(
        self,
        settings: InstallSettings,
        bus: EventBus,
        environ: Mapping[str, str],
        *,
        hardware: Hardware | None = None,
    ) -> None:
        self._settings = settings
        self._hardware = hardware
        self._bus = bus
        self._environ = environ

    def install(self, request: InstallRequest) -> Outcome:
        """Install; a reboot completes it where the update says so."""
        from swagent.stream.source import ReaderSource

        def cancelled() -> bool:
            request.checkpoint()
            return False

        lock_fd = lock(self._environ)
        try:
            source = ReaderSource(request.source, request.name, request.length_bytes)
            hardware = self._hardware or read_hardware(None)
            wishes = Wishes(
                hardware=hardware,
                verdict_last=not request.verified,
                correlation_id=request.correlation_id,
            )
            session, _ = make_session(
                self._settings,
                wishes,
                source,
                bus=self._bus,
                environ=self._environ,
                cancelled=cancelled,
            )
            message = _run(session)
        finally:
            os.close(lock_fd)
        last = self._last()
        if last is None or last.state is State.CONFIRMED:
            return Outcome(0, message)
        return Outcome(21, message or "a reboot completes it")

    def mark(self) -> str:
        """The session of the last update that began to write."""
        last = self._last()
        return last.session if last is not None else ""

    def completed(self, mark: str) -> bool | None:
        """As journal and boot environment tell it: confirmed, given up, or waiting for its reboot."""
        from swagent.installer.journal import PENDING, confirmed_by_others, recover

        journal = make_journal(self._settings, self._environ)
        if journal is None:
            return False
        try:
            lock_fd = lock(self._environ)
        except Busy:
            return None  # the update that is running decides
        try:
            loader = make_bootloader(self._settings)
            recover(journal, loader, SystemClock())
            newer = list(takewhile(lambda record: record.session != mark, journal.read().updates))
        finally:
            os.close(lock_fd)
        if len(newer) != 1:
            return False  # it never began, or something else was installed since
        record = newer[0]
        if record.state not in PENDING:
            return record.state is State.CONFIRMED
        confirmed = loader is not None and confirmed_by_others(record, loader.get)
        return True if confirmed else None

    def _last(self) -> Record | None:
        journal = make_journal(self._settings, self._environ)
        return journal.read().last if journal is not None else None


def image_installer(
    entry: Artifact, settings: InstallSettings, bus: EventBus, environ: Mapping[str, str]
) -> "ImageInstaller":
    """Gives images to the handler that an entry names, for an ECU behind this unit.

    Raises:
        DescriptionError: there is no such handler, or the entry is not what it needs.
        RegistrationError: the handler cannot be used here.
    """
    from swagent import handlers
    from swagent.hw import Hardware as RealHardware
    from swagent.installer.single import Bench, ImageInstaller

    tmpdir = temporary_folder(environ)
    return ImageInstaller(
        entry,
        Bench(
            handlers.registry(),
            RealHardware(tmpdir, settings.docker_socket, settings.mtd_blacklist),
            bus,
            SystemClock(),
            tmpdir,
            TlsFiles(settings.forward_cafile, settings.forward_sslcert, settings.forward_sslkey),
            lua_rules(settings),
        ),
    )


def _run(session: Session) -> str:
    """Why what followed the commit failed; "" when nothing did."""
    try:
        session.run()
    except SwagentError as exc:
        if exc.wrote is not None:
            raise
        return exc.message  # it is installed all the same, as the verdict has told
    return ""


def lua_rules(settings: InstallSettings) -> LuaRules:
    """What Lua may do here."""
    return LuaRules(
        version=settings.lua_version,
        path=settings.lua_path or LUA_PATH.replace("VERSION", settings.lua_version),
        device_grants=frozenset(settings.lua_device_grants),
        image_grants=frozenset(settings.lua_image_grants),
        memory_bytes=settings.lua_memory * 1024 * 1024,
        instructions=settings.lua_instructions * 1_000_000,
        seconds=settings.lua_seconds,
    )


@contextmanager
def handlers_here(settings: InstallSettings, environ: Mapping[str, str]) -> "Iterator[Registry[Handler]]":
    """The handlers that an update would find, for the length of a ``with``: those in Lua are among them.

    Raises:
        SettingsError, UsageError: the settings cannot be used.
        RegistrationError: the boot loader asked for does not exist.
    """
    nothing = open_source(*open_image(os.devnull))
    wishes = Wishes(allow_unsigned=True, dry_run=True)
    session, _ = make_session(settings, wishes, nothing, bus=EventBus(), environ=environ)
    try:
        yield session.handlers
    finally:
        session.close()


def settle_selection(settings: InstallSettings) -> InstallSettings:
    """The settings with the selection that ``auto`` stands for here.

    Raises:
        SettingsError: it is ``auto``, and there is no copy to choose.
    """
    if settings.select != AUTO:
        return settings
    from swagent.hw.identity import RunningSystem
    from swagent.installer.slots import idle_selection

    return settings._replace(select=idle_selection(settings.slots, RunningSystem()))


def _gates_of_unit(settings: InstallSettings, hw: Device) -> list[Gate]:
    from swagent.installer.gates.unit import PowerGate, RunningSystemGate

    gates: list[Gate] = [RunningSystemGate(hw.in_use)]
    if settings.battery_min_percent:
        from swagent.hw.power import read_power

        gates.append(PowerGate(settings.battery_min_percent, read_power))
    return gates


def _gates_of_passing() -> list[Gate]:
    from swagent.hw.identity import RunningSystem
    from swagent.installer.gates.passing import PassingGate

    return [PassingGate(RunningSystem())]


def _gates_of_the_way_back(journal: Journal | None, loader: "Bootloader | None") -> list[Gate]:
    if journal is None:
        return []
    from swagent.installer.gates.fallback import FallbackGate

    return [FallbackGate(journal, loader, checked=_has_checks())]


def _has_checks() -> bool:
    """Whether there are checks for `swagent confirm`; a folder that cannot be looked into is taken to hold some."""
    try:
        return bool(os.listdir(CHECKS_FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _gate_of_authorization(
    settings: InstallSettings,
    source: Source,
    hw: Device,
    loader: "Bootloader | None",
    tell: Callable[[str, dict[str, object]], None],
) -> Gate:
    from swagent.authdb import FILE_NAME
    from swagent.installer.gates.authorization import AuthorizationGate, Rules

    given = settings.authorization
    clock = SystemClock()
    beside = os.path.join(os.path.dirname(source.name), FILE_NAME)
    has_folder = isinstance(source, FileSource) and source.name != STANDARD_INPUT
    path = given.get("database") or (beside if has_folder else "")

    def facts(description: Description) -> "Facts":
        from swagent.authdb.sources import NAMES, UnitFacts

        sources = {name: given.get(name, "") for name in NAMES}
        return UnitFacts(sources, description, bootloader=loader, run=hw.run, clock=clock)

    rules = Rules(
        path,
        required=given.get("required", bool(given.get("database"))),
        project=given.get("project", ""),
        key_files=given.get("public-key-file", ()),
        records_key_file=given.get("key-file", ""),
    )
    return AuthorizationGate(rules, facts, tell)


def _gates_that_ask(
    settings: InstallSettings, wishes: Wishes, hw: Device, tell: Callable[[str, dict[str, object], str], None]
) -> list[Gate]:
    """Last, so that nobody is asked about what is refused anyway."""
    if not settings.consent_command and wishes.ask is None:
        return []
    from swagent.installer.gates.consent import AskGate, CommandGate

    def log(level: str, message: str) -> None:
        tell("log", {"level": level}, message)

    gates: list[Gate] = []
    if settings.consent_command:
        gates.append(CommandGate(settings.consent_command, hw, log))
    if wishes.ask is not None:
        gates.append(AskGate(wishes.ask))
    return gates


def read_contents(settings: InstallSettings, source: Source) -> "Contents":
    """What is in an archive, with the keys that the settings name.

    Raises:
        SwagentError: it cannot be read, or the signature is none that is trusted.
    """
    from swagent.installer.contents import read_contents as read

    return read(
        source,
        trust_of(settings),
        aes_key_of(settings),
        size_max_bytes=settings.description_size_max_bytes,
        now_s=SystemClock().now_s,
    )


def run_hook(
    settings: InstallSettings, update_type: str, log: Callable[[str, str], None], environ: Mapping[str, str]
) -> None:
    """Run the post-update command of a type of update, if it has one.

    Raises:
        ScriptError: it failed.
    """
    from swagent.hw import Hardware as RealHardware

    kind = settings.update_types.get(update_type) or settings.update_types[DEFAULT_TYPE]
    if not kind.postupdatecmd:
        return
    hw = RealHardware(temporary_folder(environ))
    status = hw.run(["/bin/sh", "-c", kind.postupdatecmd], log=log)
    if status:
        raise ScriptError(
            f"the post-update command ended with status {status}", hint=f"it was: {kind.postupdatecmd}"
        )


def _drop_ins(folder: str) -> list[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".cfg"))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise SettingsError(f"cannot list {folder}: {exc.strerror}") from exc
