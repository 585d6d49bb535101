"""Something done again and again until somebody stops it: with jitter, and further apart while it fails."""

from collections.abc import Callable

from swagent.clock import Clock
from swagent.errors import Cancelled, SwagentError

FIRST_RETRY_S = 30.0
TICK_S = 0.5


class Stop:
    """Whether somebody wants the end. A signal handler may ask for it: nothing here takes a lock."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """End soon."""
        self._asked = True

    def asked(self) -> bool:
        """Whether somebody did."""
        return self._asked

    def judge(self) -> None:
        """Go on, or not; called between steps.

        Raises:
            Cancelled: somebody wants the end.
        """
        if self._asked:
            raise Cancelled("stopped; what was begun is done again by the next cycle")


def poll(
    step: Callable[[], None],
    stop: Stop,
    clock: Clock,
    *,
    interval_s: float,
    random: Callable[[int], bytes],
    tell: Callable[[SwagentError, float], None],
    sleep: Callable[[float], None],
) -> None:
    """Do it until somebody wants the end.

    Args:
        step: one time; its errors are told, and never end this.
        stop: looked at while waiting.
        clock: for waiting.
        interval_s: between two times, a tenth more or less.
        random: for jitter, so that a fleet does not come at once.
        tell: hears of an error and of how long it will be until the next time.
        sleep: waits so long, or until a signal.
    """
    failures = 0
    while not stop.asked():
        failure: SwagentError | None = None
        try:
            step()
        except Cancelled as exc:
            if stop.asked():
                return
            failure, failures = exc, 0  # whoever aborts it does not want it soon again
        except SwagentError as exc:
            failure, failures = exc, failures + 1
        else:
            failures = 0
        wait_s = pause_s(interval_s, failures, random)
        if failure is not None:
            tell(failure, wait_s)
        until_s = clock.monotonic_s() + wait_s
        while not stop.asked() and (left_s := until_s - clock.monotonic_s()) > 0:
            sleep(min(left_s, TICK_S))


def pause_s(interval_s: float, failures: int, random: Callable[[int], bytes]) -> float:
    """How long to wait after so many failures in a row: doubled each time, never longer than usual."""
    base_s = interval_s if not failures else min(interval_s, FIRST_RETRY_S * 2 ** min(failures - 1, 16))
    return base_s * (0.9 + 0.2 * int.from_bytes(random(2)) / 65535)
