"""States for tests, with services that note what they are asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from swagent.scripting import Answer, LuaState, Setup, Value

MIB = 1024 * 1024


@dataclass
class Noting:
    """Answers what ``answers`` says, and notes everything.

    Attributes:
        answers: what a verb is answered with; an exception is raised.
        asked: verbs with their arguments.
        lines: what was printed.
    """

    answers: dict[str, Answer | Exception] = field(default_factory=dict)
    asked: list[tuple[str, tuple[Value, ...]]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def serve(self, verb: str, arguments: tuple[Value, ...]) -> Answer:
        self.asked.append((verb, arguments))
        answer = self.answers.get(verb, Answer())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def printed(self, line: str) -> None:
        self.lines.append(line)

    def waiting(self) -> None:
        if isinstance(problem := self.answers.get("waiting"), Exception):
            raise problem


@contextmanager
def state(
    services: Noting | None = None,
    *,
    version: str = "5.4",
    grants: str = "",
    memory_bytes: int = 16 * MIB,
    instructions: int = 20_000_000,
    seconds: float = 20.0,
    path: str = "",
) -> Iterator[LuaState]:
    pytest.importorskip("lupa", reason="needs lupa: pip install 'swagent[lua]'")
    setup = Setup(version, path, frozenset(grants.split()), memory_bytes, instructions, seconds)
    made = LuaState(setup, services or Noting(), handlers=["raw"], name="test")
    try:
        yield made
    finally:
        made.close()
