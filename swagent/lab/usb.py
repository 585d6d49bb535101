"""A USB device that a provider serves: one protocol step at a time, in a thread, whoever goes away meanwhile."""

import asyncio
import errno
from contextlib import suppress
from typing import TypeVar

from swagent.errors import DeviceError, LabError
from swagent.hw.udev import Found
from swagent.hw.usb import Setting, UsbDevice

from .errors import Failed, Gone
from .steps import BulkIn, BulkOut, ControlIn, ControlOut, Operation, Reset, Select, Steps, carry_out

T = TypeVar("T")
_GONE = (errno.ENODEV, errno.ENOENT, errno.ESHUTDOWN)


class UsbSession:
    """A device that is open.

    Args:
        device: it.
        setting: whose bulk endpoints are used.

    Attributes:
        turn: held by whoever uses it; a download is not mixed with another one.
    """

    def __init__(self, device: UsbDevice, setting: Setting | None = None) -> None:
        self._device = device
        self._into = setting.into if setting else None
        self._out_of = setting.out_of if setting else None
        self._busy = asyncio.Lock()
        self.turn = asyncio.Lock()

    async def do(self, steps: Steps[T]) -> T:
        """Carry a protocol's steps out; what was begun is ended, also when the caller is cancelled.

        Raises:
            Gone: the device has been unplugged.
            Failed: it does not do what was wanted.
        """
        async with self._busy:
            work = asyncio.ensure_future(asyncio.to_thread(carry_out, steps, self))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                with suppress(DeviceError, LabError):
                    await work
                raise
            except DeviceError as exc:
                raise (Gone if exc.errno in _GONE else Failed)(exc.message, hint=exc.hint) from exc

    async def close(self) -> None:
        """Let go of it, once nothing is under way."""
        async with self._busy:
            await asyncio.to_thread(self._device.close)

    def carry(self, operation: Operation) -> bytes:
        """Do one operation, in the thread. Raises DeviceError."""
        device = self._device
        match operation:
            case ControlOut(kind, request, value, index, data):
                device.control_out(kind, request, value, index, data)
            case ControlIn(kind, request, value, index, n_bytes):
                return device.control_in(kind, request, value, index, n_bytes)
            case BulkOut(data, timeout_s) if self._into is not None:
                device.write(self._into, data, timeout_s)
            case BulkIn(n_bytes, timeout_s) if self._out_of is not None:
                return device.read(self._out_of, n_bytes, timeout_s)
            case Select(interface, alternate):
                device.select(interface, alternate)
            case Reset():
                device.reset()
        return b""


async def opened(found: Found) -> UsbDevice:
    """Open the USB device that udev found. Raises Gone or Failed."""
    try:
        bus, number = int(found.properties["BUSNUM"]), int(found.properties["DEVNUM"])
    except (KeyError, ValueError) as exc:
        raise Failed(f"{found.node}: udev does not say where on the bus it is") from exc
    try:
        return await asyncio.to_thread(UsbDevice, bus, number)
    except DeviceError as exc:
        raise (Gone if exc.errno in _GONE else Failed)(exc.message, hint=exc.hint) from exc


async def claimed(device: UsbDevice, setting: Setting) -> UsbSession:
    """A session that has an interface for itself. Raises Gone or Failed; the device is closed then."""
    try:
        await asyncio.to_thread(device.claim, setting.interface)
    except DeviceError as exc:
        await asyncio.to_thread(device.close)
        raise (Gone if exc.errno in _GONE else Failed)(exc.message, hint=exc.hint) from exc
    return UsbSession(device, setting)


def place(found: Found) -> str:
    """Bus and number of a device, as item names have it."""
    return f"{found.properties.get('BUSNUM', '?')}/{found.properties.get('DEVNUM', '?')}"
