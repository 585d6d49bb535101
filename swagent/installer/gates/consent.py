"""The gate that asks somebody: a person at a terminal, or a program that decides for one."""

from collections.abc import Callable

from swagent.errors import AuthorizationRefused, DeadlineError, ScriptError, SettingsError
from swagent.handlers.api import Hardware
from swagent.model import Fate, Plan, Planned, Unit

COMMAND_DEADLINE_S = 600.0
"""How long a program may think about it."""


class AskGate:
    """A person says yes.

    Args:
        ask: shows the plan and returns the answer.
    """

    name = "consent"

    def __init__(self, ask: Callable[[Plan, Unit], bool]) -> None:
        self._ask = ask

    def check(self, plan: Plan, unit: Unit) -> None:
        """Ask.

        Raises:
            AuthorizationRefused: the answer was not yes.
        """
        if not self._ask(plan, unit):
            raise AuthorizationRefused("nobody agreed to this update", hint="answer y to install it")


class CommandGate:
    """A program says yes by exit status 0. It reads the plan from its standard input, as one JSON object.

    Args:
        command: program and arguments, split as a shell would; no shell runs.
        hw: runs it.
        log: takes what it writes: level, line.
        deadline_s: how long it may take.

    Raises:
        SettingsError: the command cannot be split.
    """

    name = "consent-command"

    def __init__(
        self,
        command: str,
        hw: Hardware,
        log: Callable[[str, str], None],
        *,
        deadline_s: float = COMMAND_DEADLINE_S,
    ) -> None:
        from shlex import split

        try:
            self._argv = split(command)
        except ValueError as exc:
            raise SettingsError(f"consent-command cannot be used: {exc}", hint="close its quotes") from exc
        if not self._argv:
            raise SettingsError("consent-command names no program", hint="remove it, or name one")
        self._hw = hw
        self._log = log
        self._deadline_s = deadline_s

    def check(self, plan: Plan, unit: Unit) -> None:
        """Ask; what does not start or does not end has not agreed.

        Raises:
            AuthorizationRefused: any exit status but 0, or no answer.
        """
        program = self._argv[0]
        try:
            status = self._hw.run(
                self._argv, log=self._log, stdin=_Text(_as_json(plan, unit)), deadline_s=self._deadline_s
            )
        except (ScriptError, DeadlineError) as exc:
            raise AuthorizationRefused(
                f"{program} could not be asked for its consent: {exc.message}", hint=exc.hint
            ) from exc
        if status:
            raise AuthorizationRefused(
                f"{program} did not agree to this update: it ended with status {status}",
                hint="consent-command in the settings names it; its lines in the log may say why",
            )


class _Text:
    """Bytes to read once."""

    def __init__(self, text: bytes) -> None:
        self._rest = memoryview(text)

    def readinto(self, buffer: memoryview) -> int:
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


def _as_json(plan: Plan, unit: Unit) -> bytes:
    from json import dumps

    return dumps(plan_facts(plan, unit)).encode() + b"\n"


def plan_facts(plan: Plan, unit: Unit) -> dict[str, object]:
    """What somebody who decides is told of an update."""
    description = plan.description
    return {
        "version": description.version,
        "description": description.description,
        "update_type": description.update_type,
        "reboot": description.reboot is not False,
        "hardware": str(unit.hardware) if unit.hardware else None,
        "entries": [_row(planned) for planned in plan.entries],
        "scripts": [_row(planned) for planned in plan.scripts],
    }


def _row(planned: Planned) -> dict[str, object]:
    art = planned.artifact
    return {
        "artifact": art.label,
        "handler": art.type,
        "fate": planned.fate.value,
        "reason": planned.reason if planned.fate is Fate.SKIPPED else "",
        "target": art.device or art.path,
        "stored_bytes": planned.stored_bytes,
    }
