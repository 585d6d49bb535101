"""An update that a daemon installs, shown as if it were installed here."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from swagent.errors import SwagentError
from swagent.events import EventBus

from .jsonlines import JsonLines, event_of
from .options import Args
from .screen import Screen


class Follower:
    """Shows events that come as JSON objects; a context manager.

    Args:
        args: ``--json``, ``--quiet`` and ``--verbose`` count.

    Attributes:
        failure: what the last verdict was, if it is not good and was not shown as JSON.
    """

    def __init__(self, args: Args) -> None:
        self.failure: SwagentError | None = None
        self._as_json = args.on("json")
        self._bus = EventBus()
        if self._as_json:
            self._screen = Screen(self._bus, JsonLines(sys.stdout))
        else:
            from .terminal import make_terminal

            level = "debug" if args.on("verbose") else "warn"
            self._screen = Screen(
                self._bus, make_terminal(sys.stdout, os.environ, args.on("quiet"), log_level=level)
            )

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Show what is left."""
        self._screen.close()

    def show(self, told: Mapping[str, Any]) -> int | None:
        """Show an event; of a verdict, return its exit code."""
        event = event_of(told)
        self._bus.publish(event)
        if event.event != "update.verdict":
            return None
        code = event.facts.get("exit_code")
        code = code if isinstance(code, int) and 0 <= code < 256 else 1
        error = event.facts.get("error")
        self.failure = None
        if isinstance(error, Mapping) and not self._as_json:
            self.failure = ToldError(error, code, str(event.facts.get("result")))
        return code

    def ask(self, told: Mapping[str, Any]) -> str:
        """Ask whoever sits at the terminal what the daemon wants to know.

        Raises:
            UsageError: there is no terminal.
        """
        from .question import Question
        from .table import print_table
        from .units import clean

        answers = [str(answer) for answer in told.get("answers") or ("no",)]
        plan = told.get("plan")
        if isinstance(plan, Mapping):
            head = ("artifact", "handler", "fate", "target")
            rows = [
                tuple(clean(str(entry.get(key, ""))) for key in head)
                for entry in (*plan.get("entries", ()), *plan.get("scripts", ()))
            ]
            sys.stdout.write(f"Release {clean(str(plan.get('version', '')))}\n\n")
            print_table(sys.stdout, head, rows)
            sys.stdout.flush()
        return Question().choose(str(told.get("message", "")), answers)


class ToldError(SwagentError):
    """What a daemon says went wrong; it has the exit code that it had there."""

    def __init__(self, error: Mapping[str, Any], exit_code: int, result: str) -> None:
        super().__init__(
            str(error.get("message", "")),
            artifact=_text(error.get("artifact")),
            handler=_text(error.get("handler")),
            hint=str(error.get("hint", "")),
        )
        self.exit_code = exit_code  # type: ignore[misc]  # of the other side's class, which only this instance knows
        self.wrote = {"refused": False, "failed": True}.get(result)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
