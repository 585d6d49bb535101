"""What a unit and its image tell, made fit to be looked up."""

from collections.abc import Mapping

from swagent.clock import Clock
from swagent.errors import SettingsError

from .matching import DATUM_BYTES_MAX


def fit(name: str, text: str) -> str:
    """A datum without the blanks and NULs around it.

    Raises:
        SettingsError: nothing is left, or it is too long, or has a NUL or a line end within.
    """
    datum = text.strip(" \t\r\n\0")
    if not datum:
        raise SettingsError(f"the {name} is empty")
    if not datum.isprintable() or len(datum.encode("utf-8", "surrogateescape")) > DATUM_BYTES_MAX:
        # not shown: it may be a secret
        raise SettingsError(f"the {name} is not one line of at most {DATUM_BYTES_MAX} bytes")
    return datum


class Given:
    """Facts that somebody typed."""

    def __init__(self, values: Mapping[str, str], clock: Clock) -> None:
        self._values = values
        self._clock = clock

    def value(self, name: str) -> str:
        """As it was typed."""
        if name not in self._values:
            raise SettingsError(f"the {name} is not given", hint=f"--as {name}=VALUE")
        return fit(name, self._values[name])

    def now_s(self) -> float:
        """By the clock."""
        return self._clock.now_s()
