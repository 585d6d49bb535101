"""After the reboot: is the update good? Checks are run, and the boot loader is told (docs/reference/states.md).

An update that switched the boot environment is COMMITTED. In the first boot after it, it is TESTING, and either becomes
CONFIRMED, or ROLLED_BACK: because a check failed, or because the boot loader had gone back already.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from swagent.bootloader import Bootloader
from swagent.clock import Clock
from swagent.errors import DeadlineError, RolledBack, ScriptError, SettingsError

from .env import CONFIRMED, FAILED, FLOOR_VARIABLE, STATE_MARKER, TRANSACTION_MARKER
from .journal import COUNTERS, PENDING, CheckVerdict, Journal, Record, Refusal, State, raised, recover, short

DEADLINE_S = 60.0
_DEADLINE_MAX_S = 86400.0
_OURS = frozenset((STATE_MARKER, TRANSACTION_MARKER, FLOOR_VARIABLE))
_KEYS = frozenset(("command", "required", "deadline"))


class Check(NamedTuple):
    """One question to the system that has booted.

    Attributes:
        name: of its file.
        argv: the program; status 0 means good.
        required: whether the update is bad when it fails.
        deadline_s: how long it may take; longer is a failure.
    """

    name: str
    argv: tuple[str, ...]
    required: bool = True
    deadline_s: float = DEADLINE_S


class Confirmation(NamedTuple):
    """What a confirmation works with.

    Attributes:
        run: runs a program; ``hw.Hardware.run``.
        runs_from: whether the running system sits on a device, None when that cannot be told.
        slots: selection to the device that it writes, as the settings say.
        on_pass: variables to store when all is good; "" removes.
        on_fail: variables to store when a required check fails.
        floor_in_env: keep the version floor in the boot environment too.
        log: called with level and line.
    """

    journal: Journal
    bootloader: Bootloader | None
    clock: Clock
    run: Callable[..., int]
    runs_from: Callable[[str], bool | None]
    slots: Mapping[str, str]
    on_pass: Mapping[str, str]
    on_fail: Mapping[str, str]
    floor_in_env: bool
    log: Callable[[str, str], None]


class Outcome(NamedTuple):
    """What ``confirm`` found.

    Attributes:
        record: the last update, None when none is known.
        message: a sentence for people.
        tested: whether checks were run just now.
    """

    record: Record | None
    message: str
    tested: bool = False


def read_check(name: str, tree: Mapping[str, object], where: str) -> Check:
    """A check from its file ``check: { command = "..."; required = true; deadline = 30; };``.

    Raises:
        SettingsError: something is missing, unknown or of a wrong type.
    """
    group = tree.get("check")
    if not isinstance(group, Mapping) or len(tree) != 1:
        raise SettingsError(f"{where} must hold one group, check", hint='write check: { command = "..."; };')
    unknown = sorted(set(group) - _KEYS)
    if unknown:
        raise SettingsError(
            f"{where}: unknown key {unknown[0][:80]!r}", hint=f"known are {', '.join(sorted(_KEYS))}"
        )
    command, required = group.get("command"), group.get("required", True)
    deadline_s = group.get("deadline", DEADLINE_S)
    if not isinstance(command, str) or not command.strip():
        raise SettingsError(f"{where}: command must be a text in double quotes")
    if "\0" in command:
        raise SettingsError(f"{where}: command holds a NUL")
    if not isinstance(required, bool):
        raise SettingsError(f"{where}: required must be true or false")
    if not isinstance(deadline_s, int | float) or isinstance(deadline_s, bool):
        raise SettingsError(f"{where}: deadline must be a number of seconds")
    if not 0 < deadline_s <= _DEADLINE_MAX_S:
        raise SettingsError(f"{where}: deadline must be above 0 and at most {_DEADLINE_MAX_S:.0f} seconds")
    return Check(name, ("/bin/sh", "-c", command), required, float(deadline_s))


def confirm(parts: Confirmation, checks: Callable[[], Sequence[Check]]) -> Outcome:
    """Bring the last update to its end, if it is one that has to prove itself and has booted.

    Args:
        parts: what it works with; the lock of updates is held.
        checks: asked for only when they are to be run.

    Raises:
        RolledBack: it is bad, or the boot loader has gone back already; the verdict is stored.
        BootEnvError: the boot environment cannot be read or written; the update stays as it is, ask again.
        SettingsError: the checks or the boot loader's settings cannot be used; likewise.
        DeviceError: the journal cannot be written; likewise.
    """
    journal = parts.journal
    found = recover(journal, parts.bootloader, parts.clock)
    if journal.problem:
        parts.log("warn", journal.problem)
    if found is not None:
        parts.log("warn", found.message)
    record = journal.read().last
    if record is None:
        return Outcome(None, "no update is known; nothing to confirm")
    if record.state is State.ROLLED_BACK and not _gone_back(parts, record, by_marker=False):
        raise RolledBack(
            f"{record.label} was found to be bad ({record.message}), and is still what the boot loader starts",
            hint="reboot, or switch back by hand",
        )
    if record.state not in PENDING:
        return Outcome(record, f"{record.label} is {record.state.value}; nothing to confirm")
    if record.boot_id == journal.boot_id:
        return Outcome(record, f"{record.label} is installed and waits for its first boot")
    if record.variables and (parts.bootloader is None or parts.bootloader.name == "none"):
        raise SettingsError(
            f"{record.label} switched a boot environment, and none is configured here",
            hint="name the boot loader as for the install: -B, or bootloader in the settings",
        )
    went_back = _gone_back(parts, record, by_marker=True)
    if went_back:
        _roll_back(parts, record, f"the boot loader went back: {went_back}", {STATE_MARKER: FAILED})
    refused = [one for one in journal.refusals() if record.digest and one.digest == record.digest]
    if refused:  # cut between that verdict and its end
        reason = refused[0].reason or "it was found to be bad"
        _roll_back(parts, record, reason, {**parts.on_fail, STATE_MARKER: FAILED})
    wanted = checks()
    record = _with_state(parts, record, State.TESTING)
    journal.put(record)
    verdicts = _run_checks(parts, wanted)
    record = record._replace(checks=tuple(verdicts))
    bad = [verdict for verdict in verdicts if verdict.required and not verdict.passed]
    if bad:
        reason = f"check {bad[0].name}: {bad[0].message}"
        _roll_back(parts, record, reason, {**parts.on_fail, STATE_MARKER: FAILED})
    return _confirmed(parts, record)


def _run_checks(parts: Confirmation, checks: Sequence[Check]) -> list[CheckVerdict]:
    """All of them, also behind one that failed: whoever looks for the reason wants to see them all."""
    verdicts = []
    for check in checks:
        said: list[str] = []

        def log(level: str, line: str, check: Check = check, said: list[str] = said) -> None:
            if line.strip():
                said[:] = [line.strip()]
            parts.log("info" if level == "trace" else level, f"{check.name}: {line}")

        begun_s = parts.clock.monotonic_s()
        try:
            status = parts.run(list(check.argv), log=log, deadline_s=check.deadline_s)
            message = (
                "" if status == 0 else "ended by a signal" if status < 0 else f"ended with status {status}"
            )
            if message and said:
                message += f", last said: {said[0]}"
        except DeadlineError:
            message = f"took longer than {check.deadline_s:g} s"
        except ScriptError as exc:
            message = exc.message
        taken_s = round(parts.clock.monotonic_s() - begun_s, 3)
        verdicts.append(CheckVerdict(check.name, check.required, not message, taken_s, short(message)))
    return verdicts


def _confirmed(parts: Confirmation, record: Record) -> Outcome:
    floor = raised(parts.journal.read().floor, record.version)
    changes: dict[str, str | None] = dict(parts.on_pass)
    if STATE_MARKER in record.variables:
        changes[STATE_MARKER] = CONFIRMED
    if parts.floor_in_env and floor and parts.bootloader is not None:
        floor = raised(floor, parts.bootloader.get(FLOOR_VARIABLE) or "")
        changes[FLOOR_VARIABLE] = floor
    # first the boot loader: cut between the two, the checks are run once more, which costs nothing but time
    if parts.bootloader is not None and changes:
        parts.bootloader.set_many(changes)
    record = _with_state(parts, record, State.CONFIRMED)
    parts.journal.put(record, floor=floor)
    count = len(record.checks)
    checked = (
        f"{count} check{'s' if count != 1 else ''}" if count else "it has booted, and there are no checks"
    )
    return Outcome(record, f"{record.label} is confirmed: {checked}", tested=True)


def _roll_back(parts: Confirmation, record: Record, reason: str, changes: Mapping[str, str | None]) -> None:
    """Tell the boot loader that the update is bad, remember its image, and say so."""
    if STATE_MARKER not in record.variables:
        changes = {name: value for name, value in changes.items() if name != STATE_MARKER}
    if record.digest:  # first: an image that is bad must not come again, whatever happens below
        parts.journal.refuse(Refusal(record.digest, record.version, parts.clock.now_s(), short(reason)))
    if parts.bootloader is not None and changes:
        parts.bootloader.set_many(changes)
    parts.journal.put(_with_state(parts, record, State.ROLLED_BACK)._replace(message=short(reason)))
    raise RolledBack(
        f"{record.label} is rolled back: {reason}",
        hint="install a corrected image; this one is refused until `swagent confirm --clear`",
    )


def _gone_back(parts: Confirmation, record: Record, *, by_marker: bool) -> str:
    """Why it is known that the boot loader does not start this update any more, "" when it does or nobody knows."""
    device = parts.slots.get(record.selection)
    if device is not None and parts.runs_from(device) is False:
        return f"the system does not run from {device}, which holds the update"
    if parts.bootloader is None or not record.variables:
        return ""
    env = parts.bootloader.all()
    moving = COUNTERS | _OURS | set(parts.on_pass)  # what on_fail stores is a way back
    for name, value in record.variables.items():
        now = env.get(name, "")
        if name not in moving and now != value:
            return f"{name} is {short(now)!r}, no longer {short(value)!r}"
    if by_marker and STATE_MARKER in record.variables and env.get(STATE_MARKER) == FAILED:
        return f"it has set {STATE_MARKER} to {FAILED}"
    count, limit = _number(env.get("bootcount")), _number(env.get("bootlimit"))
    if env.get("upgrade_available", "0") not in ("", "0") and 0 < limit < count:
        return f"bootcount is {count}, above bootlimit {limit}, which makes U-Boot run altbootcmd"
    return ""


def _with_state(parts: Confirmation, record: Record, state: State) -> Record:
    return record._replace(state=state, times={**record.times, state.value: parts.clock.now_s()})


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0
