"""What protocols of USB devices are made of: operations, one after the other, that somebody else carries out.

A protocol is a generator that yields operations and is sent what they brought; it does no input or output itself, so
that it can be held against any answer. An operation that fails is thrown into it as DeviceError.
"""

import time
from collections.abc import Generator
from typing import NamedTuple, Protocol, TypeVar

from swagent.errors import DeviceError

T = TypeVar("T")


class ControlOut(NamedTuple):
    """A control transfer to the device."""

    kind: int
    request: int
    value: int
    w_index: int
    data: bytes = b""


class ControlIn(NamedTuple):
    """A control transfer from the device; brings at most ``n_bytes``."""

    kind: int
    request: int
    value: int
    w_index: int
    n_bytes: int


class BulkOut(NamedTuple):
    """A bulk transfer to the device."""

    data: bytes
    timeout_s: float = 5.0


class BulkIn(NamedTuple):
    """A bulk transfer from the device; brings at most ``n_bytes``."""

    n_bytes: int
    timeout_s: float = 5.0


class Select(NamedTuple):
    """Put an interface into a setting."""

    interface: int
    alternate: int


class Pause(NamedTuple):
    """Wait."""

    seconds: float


class Reset(NamedTuple):
    """Reset the device; it may be another one afterwards."""


Operation = ControlOut | ControlIn | BulkOut | BulkIn | Select | Pause | Reset
Steps = Generator[Operation, bytes, T]


class Bus(Protocol):
    """What carries operations out."""

    def carry(self, operation: Operation) -> bytes:
        """Do it, and say what it brought.

        Raises:
            DeviceError: it failed.
        """
        ...


def carry_out(steps: Steps[T], bus: Bus) -> T:
    """Do all of it; what the protocol returns. Raises what it raises."""
    try:
        operation = next(steps)
        while True:
            if isinstance(operation, Pause):
                time.sleep(operation.seconds)
                operation = steps.send(b"")
                continue
            try:
                brought = bus.carry(operation)
            except DeviceError as exc:
                operation = steps.throw(exc)
            else:
                operation = steps.send(brought)
    except StopIteration as end:
        found: T = end.value
        return found
