"""Time as an argument, so that tests can say what time it is."""

from typing import Protocol


class Clock(Protocol):
    """What F0 to F3 know of time; ``app`` hands in the real one."""

    def now_s(self) -> float:
        """Seconds since the epoch, as the system believes them."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        import time

        return time.time()  # noqa: TID251 - the one place where the real clock is read

    def monotonic_s(self) -> float:
        """Seconds of the monotonic clock."""
        import time

        return time.monotonic()
