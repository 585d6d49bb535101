"""What the last updates came to, on disk, so that a restart knows where it was (docs/reference/states.md).

One file, ``journal.json`` in the state folder, replaced whole and fsynced. It is written where something on the device
is about to change or has changed: before the first write (WRITING), before the boot environment (WRITTEN), after it
(COMMITTED or CONFIRMED), and at every other end (FAILED, ROLLED_BACK). States before WRITING have changed nothing, so
their times travel in the record that WRITING writes, and an update that is refused leaves no record.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from swagent.bootloader import Bootloader
from swagent.clock import Clock
from swagent.errors import BootEnvError, DeviceError, SettingsError

from .env import CONFIRMED, FAILED, IN_PROGRESS, INSTALLED, STATE_MARKER, TRANSACTION_MARKER

FORMAT = 1
HISTORY = 5
SIZE_MAX_BYTES = 1024 * 1024
JOURNAL_FILE, REFUSED_FILE = "journal.json", "refused.json"
COUNTERS = frozenset(("bootcount", "upgrade_available"))
"""Variables that boot loaders change by themselves."""
_TRIED = "2"
_TEXT_MAX = 200
_TARGETS_MAX = 16
_VARIABLES_MAX = 256
_VARIABLE_MAX = 256
_VERSIONS_MAX = 1000
_VERSIONS_TEXT_MAX = 64 * 1024
_REFUSED_MAX = 50
_TIME_MAX_S = 2.0**36  # year 4147: what is later is damage


class State(Enum):
    """Where an update is; the value is what the journal says."""

    IDLE = "IDLE"
    RECEIVED = "RECEIVED"
    VERIFIED = "VERIFIED"
    PLANNED = "PLANNED"
    AUTHORIZED = "AUTHORIZED"
    PREFLIGHTED = "PREFLIGHTED"
    WRITING = "WRITING"
    WRITTEN = "WRITTEN"
    COMMITTED = "COMMITTED"
    TESTING = "TESTING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


CUT = (State.WRITING, State.WRITTEN)
"""States that no update is left in, unless its process or the power went away."""
PENDING = (State.COMMITTED, State.TESTING)
"""Installed, and not yet known to be good."""


class CheckVerdict(NamedTuple):
    """What a check of ``swagent confirm`` came to."""

    name: str
    required: bool
    passed: bool
    seconds: float
    message: str


class Record(NamedTuple):
    """One update.

    Attributes:
        digest: SHA-256 of sw-description (the plain one), hexadecimal.
        signer: who signed it, "" when nobody was asked.
        started_s: when, in seconds since the epoch.
        boot_id: of the boot in which it was written.
        targets: what it writes to, sixteen at most.
        times: state to seconds since the epoch.
        variables: all that the commit stores in the boot environment, markers included; "" removes. Values beyond
            256 characters are left out.
        before: what ``variables`` replaced in the boot environment, markers apart.
        tested: whether it is only good once it has booted.
        message: why it failed or was rolled back.
        below_floor: the reason given for going below the version floor, "" if it does not.
        over_unconfirmed: the reason given for installing over an update that was not confirmed, "" if it was.
        versions: component to versions, to be written to ``versions_file`` once it is installed.
        versions_file: "" when nothing is to be written, or no longer.
        checks: of the last ``swagent confirm``.
        correlation_id: by which whoever asked for the update finds it again, "" when nobody wants to.
    """

    session: str
    state: State = State.IDLE
    version: str = ""
    selection: str = ""
    digest: str = ""
    signer: str = ""
    started_s: float = 0.0
    boot_id: str = ""
    targets: tuple[str, ...] = ()
    times: Mapping[str, float] = MappingProxyType({})
    variables: Mapping[str, str] = MappingProxyType({})
    tested: bool = False
    message: str = ""
    below_floor: str = ""
    checks: tuple[CheckVerdict, ...] = ()
    over_unconfirmed: str = ""
    versions: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    versions_file: str = ""
    before: Mapping[str, str] = MappingProxyType({})
    correlation_id: str = ""

    @property
    def label(self) -> str:
        """How people call it: version and selection."""
        return (self.version or "without a version") + (f" of {self.selection}" if self.selection else "")


class Book(NamedTuple):
    """The journal's content.

    Attributes:
        updates: newest first; the first one may still be going on, the others have ended.
        floor: the highest version ever confirmed, "" before the first.
    """

    updates: tuple[Record, ...] = ()
    floor: str = ""

    @property
    def last(self) -> Record | None:
        """The newest update."""
        return self.updates[0] if self.updates else None

    def having(self, record: Record) -> "Book":
        """With a record added, or replaced when its session is the newest one."""
        last = self.last
        older = self.updates[1:] if last is not None and last.session == record.session else self.updates
        slim = tuple(
            old._replace(variables={}, before={}, versions={}, versions_file="") for old in older[:HISTORY]
        )
        return self._replace(updates=(record, *slim))


def cut_targets(book: Book, digest: str) -> frozenset[str]:
    """What the last update was writing to when it was cut or failed, if it was of the same sw-description."""
    last = book.last
    if last is None or last.digest != digest or last.state is not State.FAILED:
        return frozenset()
    return frozenset(last.targets) if State.WRITING.value in last.times else frozenset()


class Refusal(NamedTuple):
    """An image that was rolled back, and is not installed again; ``reason`` is why."""

    digest: str
    version: str
    time_s: float
    reason: str = ""


class Journal:
    """The files in a state folder. Whoever writes holds the lock of updates.

    Args:
        folder: the state folder; it is made when something must be written.
        boot_id: names the present boot.
    """

    def __init__(self, folder: str, boot_id: str) -> None:
        self.folder = folder
        self.boot_id = boot_id
        self.path = os.path.join(folder, JOURNAL_FILE)
        self._known: Book | None = None
        self.problem = ""
        """Why the files could not be understood when they were last read, "" if they could."""

    def prepare(self) -> None:
        """Make the folder, and see that it can be written.

        Raises:
            SettingsError: it cannot.
        """
        from swagent.store.atomic import make_folders

        hint = "name a writable folder with state-directory in the settings, or `none` to keep no journal"
        try:
            if not os.path.isdir(self.folder):
                make_folders(self.folder, mode=0o700)
        except OSError as exc:
            raise SettingsError(
                f"cannot make the state folder {self.folder}: {exc.strerror}", hint=hint
            ) from exc
        if not os.access(self.folder, os.W_OK | os.X_OK) or _read_only(self.folder):
            raise SettingsError(f"the state folder {self.folder} cannot be written", hint=hint)

    def read(self) -> Book:
        """The content; that of a new journal, and ``problem``, when it is damaged."""
        self.problem = ""
        self._known = Book()
        try:
            tree = _load(self.path)
            if tree is not None:
                self._known = _book(tree)
        except (OSError, ValueError, RecursionError) as exc:
            self.problem = (
                f"{self.path} cannot be understood ({exc}); what the last updates came to is unknown"
            )
        return self._known

    def write(self, book: Book) -> None:
        """Replace the content, durably; one that was damaged is kept as ``journal.json.damaged``.

        Raises:
            DeviceError: it cannot be written.
        """
        if self.problem:
            with suppress(OSError):  # it is only kept for people to look at
                os.replace(self.path, self.path + ".damaged")
            self.problem = ""
        lines = ",\n".join(_dump(_tree(record)) for record in book.updates)
        text = f'{{"format": {FORMAT}, "floor": {_dump(book.floor)}, "updates": [\n{lines}\n]}}\n'
        _replace(self.path, text)
        self._known = book

    def put(self, record: Record, *, floor: str | None = None) -> None:
        """Write a record, and the floor if one is given; what others wrote since ``read`` is not seen.

        Raises:
            DeviceError: it cannot be written.
        """
        book = (self._known or self.read()).having(record)
        self.write(book if floor is None else book._replace(floor=floor))

    def refusals(self) -> tuple[Refusal, ...]:
        """What is not installed again; nothing, and ``problem``, when the list is damaged."""
        path = os.path.join(self.folder, REFUSED_FILE)
        try:
            tree = _load(path)
            return () if tree is None else tuple(_refusal(item) for item in _list(tree.get("refused")))
        except (OSError, ValueError, RecursionError) as exc:
            self.problem = f"{path} cannot be understood ({exc}); it refuses nothing"
            return ()

    def refuse(self, refusal: Refusal) -> None:
        """From now on this image is refused; the list keeps the last fifty.

        Raises:
            DeviceError: it cannot be written.
        """
        kept = [old for old in self.refusals() if old.digest != refusal.digest][: _REFUSED_MAX - 1]
        items = [one._asdict() for one in (refusal, *kept)]
        _replace(os.path.join(self.folder, REFUSED_FILE), _dump({"format": FORMAT, "refused": items}) + "\n")

    def clear(self) -> int:
        """Forget what is refused; returns how many images that were.

        Raises:
            DeviceError: the list cannot be removed.
        """
        from swagent.store.atomic import fsync_folder

        path = os.path.join(self.folder, REFUSED_FILE)
        count = len(self.refusals())
        try:
            os.unlink(path)
            fsync_folder(self.folder)
        except FileNotFoundError:
            return 0
        except OSError as exc:
            raise DeviceError(f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        return count


class Transaction:
    """One session's record: states are noted in memory, and stored where the module says so.

    Args:
        journal: None to store nothing, as a dry run does.
        session: the session's identifier.
    """

    def __init__(self, journal: Journal | None, clock: Clock, session: str) -> None:
        self._journal = journal
        self._clock = clock
        self.record = Record(session, started_s=clock.now_s(), boot_id=journal.boot_id if journal else "")

    def reached(self, state: State, **facts: Any) -> None:
        """Note a state, and what is known of the update by now (fields of ``Record``)."""
        times = {**self.record.times, state.value: self._clock.now_s()}
        self.know(state=state, times=times, **facts)

    def know(self, **facts: Any) -> None:
        """Note what is known of the update (fields of ``Record``)."""
        self.record = self.record._replace(**facts)

    def store(self, *, floor: str | None = None) -> None:
        """Make the record durable.

        Raises:
            DeviceError: it cannot be written.
        """
        if self._journal is not None:
            self._journal.put(self.record, floor=floor)


class Recovery(NamedTuple):
    """What an update that was cut came to.

    Attributes:
        record: as it now stands in the journal.
        message: a sentence for people.
    """

    record: Record
    message: str


def recover(journal: Journal, bootloader: Bootloader | None, clock: Clock) -> Recovery | None:
    """Bring an update that was cut to its end: FAILED, in the boot environment's markers too.

    One that was cut between the boot environment and the journal's line about it is what the environment says: it
    was stored in one step, so it either holds all variables of the update, or the update never happened.

    Returns:
        None when no update was cut.

    Raises:
        DeviceError: the journal cannot be written.
    """
    book = journal.read()
    record = book.last
    if record is None or record.state not in CUT:
        return None
    doing = "writing" if record.state is State.WRITING else "switching the boot loader"
    where = f" to {', '.join(record.targets)}" if record.targets and record.state is State.WRITING else ""
    message = f"the last update, {record.label}, was cut while {doing}{where}"
    state = State.FAILED
    try:
        if record.state is State.WRITTEN and _is_committed(record, bootloader):
            state = State.COMMITTED if record.tested else State.CONFIRMED
            message = (
                f"the last update, {record.label}, was cut right after its commit: it is installed, "
                "but its post-update command may not have run"
            )
            message += _write_versions(record)
        else:
            mark_cut(bootloader)
    except (BootEnvError, SettingsError) as exc:
        message += f"; its failure could not be marked in the boot environment: {exc.message}"
    times = {**record.times, state.value: clock.now_s()}
    record = record._replace(
        state=state,
        times=times,
        message=message if state is State.FAILED else "",
        versions={},
        versions_file="",
    )
    floor = raised(book.floor, record.version) if state is State.CONFIRMED else None
    journal.put(record, floor=floor)
    return Recovery(record, message)


def confirmed_by_others(record: Record, get: Callable[[str], str | None]) -> bool:
    """Whether somebody has said that an update is good in SWUpdate's way, by ``ustate=0``; ``get`` reads a variable."""
    return record.variables.get(STATE_MARKER) == INSTALLED and get(STATE_MARKER) == CONFIRMED


def mark_cut(bootloader: Bootloader | None) -> None:
    """Turn the markers of an update in progress into those of a failed one.

    Raises:
        BootEnvError: they cannot be read or stored.
        SettingsError: the boot loader's settings file cannot be used.
    """
    if bootloader is None:
        return
    changes: dict[str, str | None] = {}
    if bootloader.get(TRANSACTION_MARKER) == "in_progress":
        changes[TRANSACTION_MARKER] = "failed"
    if bootloader.get(STATE_MARKER) == IN_PROGRESS:
        changes[STATE_MARKER] = FAILED
    if changes:
        bootloader.set_many(changes)


def raised(floor: str, version: str) -> str:
    """The floor after ``version`` was confirmed: never lower than before."""
    from swagent.versions import compare

    return version if version and (not floor or compare(version, floor) > 0) else floor


def short(text: str) -> str:
    """Text from outside, cut to what a journal keeps."""
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"


def kept_targets(targets: list[str]) -> tuple[str, ...]:
    """The targets that a journal keeps: each once, sixteen at most."""
    return tuple(short(target) for target in list(dict.fromkeys(targets))[:_TARGETS_MAX])


def kept_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a journal keeps."""
    fitting = [(name, value) for name, value in variables.items() if len(name) + len(value) <= _VARIABLE_MAX]
    return dict(fitting[:_VARIABLES_MAX])


def kept_versions(path: str, versions: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The fields of a record that tell which versions to write where; empty ones when that is nothing or too much."""
    size = sum(len(name) + sum(map(len, all_of)) for name, all_of in versions.items())
    if not path or len(versions) > _VERSIONS_MAX or size > _VERSIONS_TEXT_MAX:
        return {"versions": {}, "versions_file": ""}
    return {"versions": dict(versions), "versions_file": path}


def _write_versions(record: Record) -> str:
    """Write what an update would have written behind its commit; what is to be said of it."""
    if not record.versions_file:
        return ""
    from .inventory import write_versions

    try:
        write_versions(record.versions_file, record.versions)
    except DeviceError as exc:
        return f"; its versions could not be written: {exc.message}"
    return ""


def _is_committed(record: Record, bootloader: Bootloader | None) -> bool:
    if not record.variables:
        return True  # all was durable, and there was nothing to switch
    if bootloader is None:
        return False
    env = bootloader.all()
    # the boot loader may have started it since: it counts that, and says that it is trying
    wanted = {name: value for name, value in record.variables.items() if name not in COUNTERS}
    for name, value in (wanted or record.variables).items():
        now = env.get(name, "")
        if now != value and not (name == STATE_MARKER and value == INSTALLED and now == _TRIED):
            return False
    return True


def _read_only(folder: str) -> bool:
    """Root may write anything, but not to a read-only file system."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return True


def _replace(path: str, text: str) -> None:
    from swagent.store.atomic import replace

    replace(path, text.encode(), mode=0o600)


def _dump(value: object) -> str:
    from json import dumps

    return dumps(value)


def _load(path: str) -> dict[str, Any] | None:
    """The object in a file, None when there is no file."""
    from json import loads

    try:
        with open(path, "rb") as file:
            text = file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(text) > SIZE_MAX_BYTES:
        raise ValueError(f"longer than {SIZE_MAX_BYTES} bytes")
    tree = loads(text)
    if not isinstance(tree, dict):
        raise ValueError("no JSON object")
    if tree.get("format") != FORMAT:
        raise ValueError(f"of format {str(tree.get('format'))[:20]}, not {FORMAT}")
    return tree


def _tree(record: Record) -> dict[str, Any]:
    return {
        **record._asdict(),
        "state": record.state.value,
        "times": dict(record.times),
        "variables": dict(record.variables),
        "versions": dict(record.versions),
        "before": dict(record.before),
        "checks": [check._asdict() for check in record.checks],
    }


def _book(tree: dict[str, Any]) -> Book:
    updates = tuple(_record(item) for item in _list(tree.get("updates"))[: HISTORY + 1])
    return Book(updates, _text(tree.get("floor")))


def _record(item: Any) -> Record:
    item = _mapping(item)
    return Record(
        session=_text(item.get("session")),
        state=State(item.get("state")),
        version=_text(item.get("version")),
        selection=_text(item.get("selection")),
        digest=_text(item.get("digest")),
        signer=_text(item.get("signer")),
        started_s=_number(item.get("started_s")),
        boot_id=_text(item.get("boot_id")),
        targets=tuple(_text(target) for target in _list(item.get("targets"))),
        times={_text(name): _number(time_s) for name, time_s in _mapping(item.get("times")).items()},
        variables={_text(name): _text(value) for name, value in _mapping(item.get("variables")).items()},
        tested=_switch(item.get("tested")),
        message=_text(item.get("message")),
        below_floor=_text(item.get("below_floor")),
        checks=tuple(_check(check) for check in _list(item.get("checks"))),
        # what follows came later: older journals do not have it
        over_unconfirmed=_text(item.get("over_unconfirmed", "")),
        versions={
            _text(name): tuple(_text(version) for version in _list(all_of))
            for name, all_of in _mapping(item.get("versions", {})).items()
        },
        versions_file=_text(item.get("versions_file", "")),
        before={_text(name): _text(value) for name, value in _mapping(item.get("before", {})).items()},
        correlation_id=_text(item.get("correlation_id", "")),
    )


def _check(item: Any) -> CheckVerdict:
    item = _mapping(item)
    return CheckVerdict(
        _text(item.get("name")),
        _switch(item.get("required")),
        _switch(item.get("passed")),
        _number(item.get("seconds")),
        _text(item.get("message")),
    )


def _refusal(item: Any) -> Refusal:
    item = _mapping(item)
    return Refusal(
        _text(item.get("digest")),
        _text(item.get("version")),
        _number(item.get("time_s")),
        _text(item.get("reason", "")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a truth value is missing")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _TIME_MAX_S:
        raise ValueError("a number is missing or out of range")
    return float(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object is missing")
    return value
