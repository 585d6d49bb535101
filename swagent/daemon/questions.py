"""Questions of an update to whoever controls it: asked as an event, answered by a message."""

import os
from collections.abc import Callable
from threading import Condition

from swagent.errors import Cancelled, NotAcknowledged
from swagent.installer.gates.consent import plan_facts
from swagent.model import Artifact, Plan, Unit, UserDataFailure

ANSWER_S = 3600.0
_TICK_S = 0.2


class Questions:
    """Asks from the worker, is answered from the loop.

    Args:
        tell: publishes an event: name, message, facts.
        stopped: whether to stop waiting, since the update is to end or nobody is there any more.
        answer_s: how long somebody may think about it.
    """

    def __init__(
        self,
        tell: Callable[[str, str, dict[str, object]], None],
        stopped: Callable[[], bool],
        *,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._tell = tell
        self._stopped = stopped
        self._answer_s = answer_s
        self._changed = Condition()
        self._open: tuple[str, tuple[str, ...]] | None = None
        self._answer = ""

    def consent(self, plan: Plan, unit: Unit) -> bool:
        """Whether to install; no answer is a no."""
        facts: dict[str, object] = {"plan": plan_facts(plan, unit)}
        return self._ask("consent", "Install it?", ("yes", "no"), facts) == "yes"

    def user_data_failed(self, art: Artifact, why: str) -> UserDataFailure:
        """What is to follow; no answer lets the update fail."""
        words = {
            "force": UserDataFailure.FORCE,
            "skip": UserDataFailure.SKIP,
            "fail": UserDataFailure.FAIL,
        }
        message = f"The user data {art.label} could not be written: {why}"
        answer = self._ask("user-data", message, tuple(words), {"of": art.label})
        return words.get(answer, UserDataFailure.FAIL)

    def answer(self, question: str, answer: str) -> None:
        """Give the answer to an open question.

        Raises:
            NotAcknowledged: it is not open, or that is no answer to it.
        """
        with self._changed:
            if self._open is None or self._open[0] != question or self._answer:
                raise NotAcknowledged("there is no such question, or it has been answered")
            if answer not in self._open[1]:
                raise NotAcknowledged(
                    f"{answer[:40]!r} is no answer to it", hint=f"one of {', '.join(self._open[1])}"
                )
            self._answer = answer
            self._changed.notify_all()

    def _ask(self, about: str, message: str, answers: tuple[str, ...], facts: dict[str, object]) -> str:
        question = os.urandom(8).hex()
        with self._changed:
            self._open, self._answer = (question, answers), ""
        self._tell(
            "update.asked", message, {"question": question, "about": about, "answers": list(answers), **facts}
        )
        waited_s = 0.0
        with self._changed:
            while not self._answer and waited_s < self._answer_s:
                if self._stopped():
                    raise Cancelled("stopped on request, or nobody was there to answer", hint="install again")
                self._changed.wait(_TICK_S)
                waited_s += _TICK_S
            self._open = None
            answer = self._answer
        self._tell("update.answered", "", {"question": question, "answer": answer or "none"})
        return answer
