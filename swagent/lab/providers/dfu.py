"""Boards in DFU mode: each memory that they name is a target (boardswarm §4.2).

What fails is told to who writes, at the latest at the end; and what is cut off before the end is never manifested.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from swagent.errors import LabError
from swagent.hw.udev import Found
from swagent.hw.usb import Setting
from swagent.lab import dfu
from swagent.lab.errors import Failed, NotSupported, OutOfRange
from swagent.lab.lab import Provision
from swagent.lab.udev import follow, properties
from swagent.lab.usb import UsbSession, claimed, opened, place
from swagent.lab.volumes import Target, no_target

from .parameters import Parameters


class DfuVolume:
    """A device in DFU mode.

    Args:
        session: to it.
        settings: those of its interfaces that have a name.
        device: what it says of itself.
    """

    exhaustive = True

    def __init__(self, session: UsbSession, settings: tuple[Setting, ...], device: dfu.Functional) -> None:
        self._session = session
        self._settings = {setting.name: setting for setting in settings}
        self._device = device

    async def targets(self) -> tuple[Target, ...]:
        """The memories that it names."""
        return tuple(Target(name, writable=True) for name in self._settings)

    async def open(self, name: str, length_bytes: int | None) -> "OpenDfu":
        """Begin a download; waits for one that is under way. Raises NotThere, Failed or Gone."""
        setting = self._settings.get(name)
        if setting is None:
            raise no_target(name, await self.targets())
        await self._session.turn.acquire()
        try:
            download = dfu.Download(setting.interface, setting.alternate, self._device)
            await self._session.do(download.begin())
        except BaseException:
            self._session.turn.release()
            raise
        return OpenDfu(self._session, Target(name, writable=True), download)

    async def commit(self) -> None:
        """Have the board run what it has; waits for a download that is under way. Raises Failed or Gone."""
        async with self._session.turn:
            interface = next(iter(self._settings.values())).interface
            await self._session.do(dfu.leave(interface))

    async def erase(self, name: str) -> None:
        """Raises NotSupported."""
        raise NotSupported("DFU erases by itself what it writes")


class OpenDfu:
    """A download."""

    def __init__(self, session: UsbSession, target: Target, download: dfu.Download) -> None:
        self.target = target
        self._session = session
        self._download = download
        self._end = 0
        self._is_finished = False

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Raises NotSupported."""
        raise NotSupported("DFU memories are written only")

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Send the next piece. Raises OutOfRange, Failed or Gone."""
        if offset_bytes != self._end:
            raise OutOfRange(f"DFU takes one byte after the other; the next one is {self._end}")
        await self._session.do(self._download.write(data))
        self._end += len(data)

    async def flush(self) -> None:
        """Whole blocks are with the device already; the rest goes with the end."""

    async def shutdown(self) -> None:
        """Send the rest, and have it manifested. Raises Failed or Gone."""
        if self._end:
            await self._session.do(self._download.finish())
            self._is_finished = True

    async def close(self) -> None:
        """Give up what was not finished."""
        try:
            if not self._is_finished:
                with suppress(LabError):  # it has gone, or has given up by itself
                    await self._session.do(self._download.give_up())
        finally:
            self._session.turn.release()


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """No parameters: every device in DFU mode is a volume, as long as it is plugged in."""
    Parameters.of(provision.rule)

    async def serve(found: Found) -> None:
        device = await opened(found)
        settings = tuple(one for one in device.settings if one.kind == dfu.KIND and one.name)
        about = next(filter(None, (dfu.functional(one.extra) for one in device.settings)), None)
        if not settings or about is None or not about.can_download:
            await asyncio.to_thread(device.close)
            raise Failed("it takes no firmware by DFU 1.1")
        session = await claimed(device, settings[0])
        number: int | None = None
        try:
            name = f"{place(found)} {found.properties.get('ID_MODEL', '')}".rstrip()
            named = provision.properties(name, properties(found))
            number = provision.lab.volumes.add(named, DfuVolume(session, settings, about)).number
            await asyncio.Event().wait()
        finally:
            if number is not None:
                provision.lab.volumes.remove(number)
            await session.close()

    def wanted(found: Found) -> bool:
        return bool(found.node) and ":fe0102:" in found.properties.get("ID_USB_INTERFACES", "")

    return follow("usb", wanted, serve, provision.log)
