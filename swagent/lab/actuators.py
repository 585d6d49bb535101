"""Actuators: what switches something on a board."""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

from .errors import InvalidRequest


class Actuator(Protocol):
    """One actuator."""

    async def change(self, parameters: Mapping[str, object]) -> None:
        """Switch.

        Raises:
            InvalidRequest: these parameters make no sense here.
            Failed: it was tried.
        """
        ...


def whole(value: object, what: str, *, least: int = 0, most: int = (1 << 32) - 1) -> int:
    """A number from a client, for whom all numbers are doubles: only a whole one will do.

    Raises:
        InvalidRequest: it is none, or out of bounds.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isfinite(value)
        or int(value) != value
    ):
        raise InvalidRequest(f"{what} must be a whole number, not {value!r}")
    if not least <= value <= most:
        raise InvalidRequest(f"{what} goes from {least} to {most}, not {int(value)}")
    return int(value)
