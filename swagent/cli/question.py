"""``--ask``: the plan on the terminal, and questions. Standard input may be the image, so the terminal is opened."""

import os
import select
from collections.abc import Callable

from swagent.errors import Cancelled, UsageError
from swagent.model import Artifact, Fate, Plan, Planned, Unit, UserDataFailure

from .units import clean, size

TERMINAL = "/dev/tty"
_TICK_S = 0.2
_ANSWER_BYTES_MAX = 1024
_WORDS = {
    Fate.DIRECT: "install",
    Fate.STAGED: "install",
    Fate.APPLY: "apply",
    Fate.SCRIPT: "run",
    Fate.SKIPPED: "skip",
}


class Question:
    """Asks on the terminal that this process belongs to.

    Args:
        terminal: its path.

    Attributes:
        stopped: whether a signal came; it ends the waiting.

    Raises:
        UsageError: there is none, so nobody could be asked.
    """

    def __init__(self, terminal: str = TERMINAL) -> None:
        self.stopped: Callable[[], bool] = lambda: False
        try:
            self._fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as exc:
            raise UsageError(
                f"--ask needs a terminal to ask on: {exc.strerror}",
                hint="for a program that decides, set consent-command in the group swagent of swupdate.cfg",
            ) from exc

    def ask(self, plan: Plan, unit: Unit) -> bool:
        """Show what would be done, and wait for the answer; no answer is a no.

        Raises:
            Cancelled: a signal came meanwhile.
        """
        try:
            self._say(_shown(plan, unit) + "Install it? [y/N] ")
            return self._answer("nothing was written").strip().lower() in (b"y", b"yes")
        except OSError:
            return False  # the terminal has gone, and whoever sat there

    def user_data_failed(self, art: Artifact, why: str) -> UserDataFailure:
        """Ask what is to follow when the user's data cannot be written; no answer lets the update fail.

        Raises:
            Cancelled: a signal came meanwhile.
        """
        words = {b"f": UserDataFailure.FORCE, b"s": UserDataFailure.SKIP}
        try:
            self._say(
                f"\nThe user data {clean(art.label)} could not be written: {clean(why)}\n"
                "[f] write it by force, from its beginning  [s] go on without it  [c] cancel the update: "
            )
            return words.get(self._answer("install again").strip().lower()[:1], UserDataFailure.FAIL)
        except OSError:
            return UserDataFailure.FAIL

    def choose(self, message: str, answers: list[str]) -> str:
        """Ask what a daemon wants to know; no answer is the last of ``answers``, which changes nothing."""
        try:
            self._say(f"{clean(message)} [{'/'.join(answers)}] ")
            word = self._answer("nothing was decided").strip().lower().decode(errors="replace")
        except OSError:
            word = ""
        chosen = [answer for answer in answers if word and answer.startswith(word)]
        return chosen[0] if chosen else answers[-1]

    def _say(self, text: str) -> None:
        rest = text.encode(errors="replace")
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def _answer(self, hint: str) -> bytes:
        """A line, b"" when there is none; ``hint`` is for whoever stops the waiting."""
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < _ANSWER_BYTES_MAX:
            if self.stopped():
                self._say("\n")
                raise Cancelled("stopped on request", hint=hint)
            ready, _, _ = select.select([self._fd], [], [], _TICK_S)
            if ready:
                block = os.read(self._fd, _ANSWER_BYTES_MAX)
                if not block:
                    return b""
                answer += block
        return answer


def _shown(plan: Plan, unit: Unit) -> str:
    from io import StringIO

    from .table import print_table

    description = plan.description
    out = StringIO()
    about = f'  "{clean(description.description)}"' if description.description else ""
    on = f" on {unit.hardware}" if unit.hardware else ""
    out.write(f"Release {clean(description.version)}{about}{clean(on)}\n\n")
    rows = [_row(planned) for planned in (*plan.entries, *plan.scripts)]
    if rows:
        print_table(out, ("artifact", "handler", "what", "size", "target", "why"), rows)
        out.write("\n")
    return out.getvalue()


def _row(planned: Planned) -> tuple[str, str, str, str, str, str]:
    art, stored = planned.artifact, planned.stored_bytes
    return (
        art.label,
        art.type,
        _WORDS[planned.fate],
        size(stored) if stored is not None else "",
        art.device or art.path,
        planned.reason,
    )
