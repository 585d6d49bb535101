"""Programs and devices that golden cases talk to: key ``peer`` of tests/cases."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swagent.testing import FakeHardware, Fault, Microcontroller


class Met(NamedTuple):
    """A peer that is there.

    Attributes:
        name: how an entry reaches it.
        sent: what came to it, a line for each message.
        hw: the hardware that it is part of; None for the real one.
    """

    name: str
    sent: list[str]
    hw: FakeHardware | None = None


@contextmanager
def peer(spec: dict[str, Any] | None, tmpdir: Path) -> Iterator[Met]:
    """What ``spec`` describes, if anything; its ``sent`` is complete when the block is left."""
    if spec is None:
        yield Met("", [])
        return
    kinds = {"remote": _program, "microcontroller": _microcontroller}
    with kinds[spec["kind"]](spec, tmpdir) as met:
        yield met


@contextmanager
def _program(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    pytest.importorskip("zmq")
    from tests.remote.peer import listening

    answers = [answer.encode() for answer in spec["answers"]]
    met = Met("program", [])
    with listening(str(tmpdir / met.name), lambda number, _: [answers[number]]) as program:
        yield met
    met.sent.extend(f"{frames[0].decode()} + {len(frames[1])} bytes" for frames in program.requests)


@contextmanager
def _microcontroller(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    faults = [fault and Fault(*fault) for fault in spec["faults"]]
    with Microcontroller(*faults) as mcu:
        met = Met(mcu.device, [], FakeHardware())
        yield met
    met.sent.extend(f"$PROG at {baudrate} bit/s" for baudrate in mcu.attempts)
    met.sent.extend((mcu.firmware or b"").decode().splitlines())
