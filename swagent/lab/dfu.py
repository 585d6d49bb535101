"""USB Device Firmware Upgrade 1.1, the host's side (boardswarm §4.2)."""

import struct
from contextlib import suppress
from typing import NamedTuple

from swagent.errors import DeviceError

from .errors import Failed
from .steps import ControlIn, ControlOut, Pause, Reset, Select, Steps

KIND = (0xFE, 0x01, 0x02)
"""Class, subclass and protocol of an interface in DFU mode."""
FUNCTIONAL = 0x21
DETACH, DNLOAD, GETSTATUS, CLRSTATUS, ABORT = 0, 1, 3, 4, 6
_OUT, _IN = 0x21, 0xA1
IDLE, DNLOAD_SYNC, DNBUSY, DNLOAD_IDLE, MANIFEST_SYNC, MANIFEST, WAIT_RESET, ERROR = 2, 3, 4, 5, 6, 7, 8, 10
_STATES = (
    "appIDLE", "appDETACH", "dfuIDLE", "dfuDNLOAD-SYNC", "dfuDNBUSY", "dfuDNLOAD-IDLE", "dfuMANIFEST-SYNC",
    "dfuMANIFEST", "dfuMANIFEST-WAIT-RESET", "dfuUPLOAD-IDLE", "dfuERROR",
)  # fmt: skip
_REASONS = (
    "", "the file is not for this device", "the file fails the vendor's check", "it cannot write its memory",
    "it cannot erase its memory", "its memory is not empty after erasing", "programming failed",
    "what was written reads back differently", "an address is out of range", "the last block came too early",
    "its firmware is damaged", "an error of the vendor", "it saw a reset", "it saw a power-on reset",
    "it does not know why", "it stalled an unexpected request",
)  # fmt: skip
PAUSE_S_MAX = 60.0
"""The longest that a device may have us wait before we ask again."""
BUSY_S_MAX = 600.0
"""The longest that a device may be busy with one block."""
_DETACH_MS = 1000


class Functional(NamedTuple):
    """What a device says of itself (DFU 1.1 §4.1.3).

    Attributes:
        tolerant: it goes on after it has manifested.
        will_detach: it leaves the bus by itself.
        transfer_bytes: the most that it takes in one piece.
    """

    can_download: bool
    tolerant: bool
    will_detach: bool
    transfer_bytes: int


def functional(extra: bytes) -> Functional | None:
    """Find the functional descriptor among those that stand behind an interface; None when it is not there."""
    while len(extra) >= 2 and 2 <= extra[0] <= len(extra):
        one, extra = extra[: extra[0]], extra[extra[0] :]
        if one[1] == FUNCTIONAL and len(one) >= 7:
            attributes, _, transfer_bytes = struct.unpack_from("<BHH", one, 2)
            if not transfer_bytes:
                return None
            return Functional(
                bool(attributes & 1), bool(attributes & 4), bool(attributes & 8), transfer_bytes
            )
    return None


class Status(NamedTuple):
    """An answer to GETSTATUS."""

    status: int
    pause_s: float
    state: int

    @property
    def text(self) -> str:
        """For messages."""
        name = _STATES[self.state] if self.state < len(_STATES) else f"state {self.state}"
        reason = _REASONS[self.status] if self.status < len(_REASONS) else f"status {self.status}"
        return f"{reason} ({name})" if reason else name


def read_status(data: bytes) -> Status:
    """Read an answer to GETSTATUS. Raises Failed."""
    if len(data) != 6:
        raise Failed(f"the device's status has {len(data)} bytes instead of 6")
    return Status(data[0], int.from_bytes(data[1:4], "little") / 1000, data[4])


class Download:
    """Firmware on its way to one setting of one interface.

    Nothing is manifested unless ``finish`` is called: what is cut off before is never run.

    Args:
        interface: the interface.
        alternate: its setting: which memory is meant.
        device: what it says of itself.
    """

    def __init__(self, interface: int, alternate: int, device: Functional) -> None:
        self._interface = interface
        self._alternate = alternate
        self._device = device
        self._rest = b""
        self._block = 0

    def begin(self) -> Steps[None]:
        """Bring the device where it takes a download, also out of an error, or out of one that was left behind.

        Raises:
            Failed: it does not go there.
            DeviceError: it cannot be reached.
        """
        yield Select(self._interface, self._alternate)
        now = yield from self._status()
        if now.state == ERROR:
            yield self._out(CLRSTATUS)
            now = yield from self._status()
        elif now.state in (DNLOAD_SYNC, DNLOAD_IDLE, 9):
            yield self._out(ABORT)
            now = yield from self._status()
        if now.state != IDLE:
            raise Failed(f"the device is not ready for a download: {now.text}")

    def write(self, data: bytes) -> Steps[None]:
        """Send what fills whole blocks; the rest waits for more.

        Raises:
            Failed: the device refuses it.
            DeviceError: it cannot be reached.
        """
        size = self._device.transfer_bytes
        self._rest += data
        at = 0
        while len(self._rest) - at >= size:
            yield from self._send(self._rest[at : at + size])
            at += size
        self._rest = self._rest[at:]

    def finish(self) -> Steps[None]:
        """Send the rest, and have the device manifest all of it.

        Raises:
            Failed: it refuses, and says why.
            DeviceError: it cannot be reached.
        """
        if self._rest:
            yield from self._send(self._rest)
            self._rest = b""
        yield self._out(DNLOAD, self._block)
        seen, waited_s = DNLOAD_SYNC, 0.0
        while seen not in (IDLE, WAIT_RESET):
            try:
                now = yield from self._status()
            except DeviceError:
                if seen == MANIFEST and not self._device.tolerant:
                    return  # it has left the bus, as it said that it would
                raise
            seen = now.state
            if now.status or seen not in (IDLE, MANIFEST_SYNC, MANIFEST, WAIT_RESET):
                raise Failed(f"the device does not take the firmware: {now.text}")
            if seen == MANIFEST and not self._device.tolerant:
                yield Pause(min(now.pause_s, PAUSE_S_MAX))
                break
            if seen in (MANIFEST_SYNC, MANIFEST):
                waited_s = yield from self._wait(now, waited_s)
        if seen != IDLE and not self._device.will_detach:
            yield Reset()

    def give_up(self) -> Steps[None]:
        """Have the device forget what it got.

        Raises:
            DeviceError: it cannot be reached.
        """
        yield self._out(ABORT)

    def _send(self, block: bytes) -> Steps[None]:
        yield self._out(DNLOAD, self._block, block)
        self._block = (self._block + 1) & 0xFFFF
        waited_s = 0.0
        while True:
            now = yield from self._status()
            if now.status or now.state not in (DNLOAD_SYNC, DNBUSY, DNLOAD_IDLE):
                raise Failed(f"the device does not take the firmware: {now.text}")
            if now.state == DNLOAD_IDLE:
                return
            waited_s = yield from self._wait(now, waited_s)

    def _wait(self, now: Status, waited_s: float) -> Steps[float]:
        pause_s = max(now.pause_s, 0.001)
        if pause_s > PAUSE_S_MAX or waited_s > BUSY_S_MAX:
            raise Failed(f"the device is busy for too long: {now.text}")
        yield Pause(pause_s)
        return waited_s + pause_s

    def _status(self) -> Steps[Status]:
        return read_status((yield ControlIn(_IN, GETSTATUS, 0, self._interface, 6)))

    def _out(self, request: int, value: int = 0, data: bytes = b"") -> ControlOut:
        return ControlOut(_OUT, request, value, self._interface, data)


def leave(interface: int) -> Steps[None]:
    """Have the device run what it has: it is detached, and reset.

    Raises:
        DeviceError: it cannot be reset.
    """
    with suppress(DeviceError):  # most devices stall this in DFU mode; the reset is what counts
        yield ControlOut(_OUT, DETACH, _DETACH_MS, interface)
    yield Reset()
