"""Rockchip boards: those in the mask ROM take two programs, those in a loader have a storage (boardswarm §4.3)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from swagent.errors import LabError
from swagent.hw.udev import Found
from swagent.lab import rockusb
from swagent.lab.errors import Failed, NotSupported, OutOfRange
from swagent.lab.lab import Provision
from swagent.lab.rockusb import PROGRAM_BYTES_MAX, SECTOR_BYTES, SECTORS_MAX, FlashInfo, Loader
from swagent.lab.udev import follow, properties
from swagent.lab.usb import UsbSession, claimed, opened, place
from swagent.lab.volumes import OpenTarget, Target, Volume, no_target

from .parameters import Parameters

_ERASE_SECTORS = 32 * 1024


class MaskRom:
    """A board that runs its mask ROM. Args: session: to it."""

    exhaustive = True
    _TARGETS = tuple(Target(name, writable=True) for name in rockusb.TARGETS)

    def __init__(self, session: UsbSession) -> None:
        self._session = session

    async def targets(self) -> tuple[Target, ...]:
        """The two programs that it takes."""
        return self._TARGETS

    async def open(self, name: str, length_bytes: int | None) -> OpenTarget:
        """Begin to collect a program; waits for one that is under way. Raises NotThere or OutOfRange."""
        target = next((one for one in self._TARGETS if one.name == name), None)
        if target is None:
            raise no_target(name, self._TARGETS)
        if length_bytes is not None and length_bytes > PROGRAM_BYTES_MAX:
            raise OutOfRange(f"the mask ROM takes {PROGRAM_BYTES_MAX} bytes, and this is {length_bytes}")
        await self._session.turn.acquire()
        return OpenProgram(self._session, target)

    async def commit(self) -> None:
        """Nothing is left to do."""

    async def erase(self, name: str) -> None:
        """Raises NotSupported."""
        raise NotSupported("the mask ROM erases nothing", hint="download a loader first: swagent lab rock")


class OpenProgram:
    """A program on its way; it is sent at the end, when all of it is there."""

    def __init__(self, session: UsbSession, target: Target) -> None:
        self.target = target
        self._session = session
        self._program = bytearray()

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Raises NotSupported."""
        raise NotSupported("programs are written only")

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Collect the next piece. Raises OutOfRange."""
        if offset_bytes != len(self._program):
            raise OutOfRange(f"a program comes in order; its next byte is {len(self._program)}")
        if offset_bytes + len(data) > PROGRAM_BYTES_MAX:
            raise OutOfRange(f"the mask ROM takes {PROGRAM_BYTES_MAX} bytes")
        self._program += data

    async def flush(self) -> None:
        """It goes as a whole."""

    async def shutdown(self) -> None:
        """Have the board run it. Raises Failed or Gone."""
        if self._program:
            code = rockusb.TARGETS[self.target.name]
            await self._session.do(rockusb.send_program(code, bytes(self._program)))

    async def close(self) -> None:
        """The next one may begin."""
        self._session.turn.release()


class LoaderVolume:
    """A board that runs a loader.

    Args:
        session: to it.
        loader: its commands.
        name: of its storage.
        flash: the size of that.
    """

    exhaustive = True

    def __init__(self, session: UsbSession, loader: Loader, name: str, flash: FlashInfo) -> None:
        self._session = session
        self._loader = loader
        self._target = Target(
            name, readable=True, writable=True, seekable=True, size_bytes=flash.size_bytes, block_bytes=SECTOR_BYTES
        )  # fmt: skip

    async def targets(self) -> tuple[Target, ...]:
        """The one storage."""
        return (self._target,)

    async def open(self, name: str, length_bytes: int | None) -> OpenTarget:
        """Use the storage; waits for who does so now. Raises NotThere or OutOfRange."""
        if name != self._target.name:
            raise no_target(name, (self._target,))
        size_bytes = self._target.size_bytes or 0
        if length_bytes is not None and length_bytes > size_bytes:
            raise OutOfRange(f"{name} has {size_bytes} bytes, and {length_bytes} would be written")
        await self._session.turn.acquire()
        return OpenStorage(self._session, self._loader, self._target)

    async def commit(self) -> None:
        """Have the board start anew. Raises Failed or Gone."""
        async with self._session.turn:
            await self._session.do(self._loader.reset())

    async def erase(self, name: str) -> None:
        """Erase all of the storage. Raises NotThere, Failed or Gone."""
        if name != self._target.name:
            raise no_target(name, (self._target,))
        sectors = (self._target.size_bytes or 0) // SECTOR_BYTES
        async with self._session.turn:
            for at in range(0, sectors, _ERASE_SECTORS):
                await self._session.do(self._loader.erase(at, min(_ERASE_SECTORS, sectors - at)))


class OpenStorage:
    """A storage in use, from any byte on: sectors that are not whole are read, changed and written back."""

    def __init__(self, session: UsbSession, loader: Loader, target: Target) -> None:
        self.target = target
        self._session = session
        self._loader = loader
        self._sectors = (target.size_bytes or 0) // SECTOR_BYTES

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Read, less at the end. Raises Failed or Gone."""
        first, skipped = divmod(offset_bytes, SECTOR_BYTES)
        wanted = -(-(skipped + length_bytes) // SECTOR_BYTES)
        count = max(0, min(wanted, SECTORS_MAX, self._sectors - first))
        if not count:
            return b""
        data = await self._session.do(self._loader.read(first, count))
        return data[skipped : skipped + length_bytes]

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Write all of it. Raises OutOfRange, Failed or Gone."""
        if offset_bytes + len(data) > self._sectors * SECTOR_BYTES:
            raise OutOfRange(f"{self.target.name} has {self._sectors * SECTOR_BYTES} bytes")
        first, skipped = divmod(offset_bytes, SECTOR_BYTES)
        if skipped:
            data = (await self._sector(first))[:skipped] + data
        past = len(data) % SECTOR_BYTES
        if past:
            data += (await self._sector(first + len(data) // SECTOR_BYTES))[past:]
        step = SECTORS_MAX * SECTOR_BYTES
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            await self._session.do(self._loader.write(first + at // SECTOR_BYTES, piece))

    async def flush(self) -> None:
        """The loader has no cache that it could be asked to write."""

    async def shutdown(self) -> None:
        """As ``flush``."""

    async def close(self) -> None:
        """The next one may begin."""
        self._session.turn.release()

    async def _sector(self, number: int) -> bytes:
        return await self._session.do(self._loader.read(number, 1))


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """No parameters: every board of Rockchip on USB is a volume, as long as it is plugged in."""
    Parameters.of(provision.rule)

    async def serve(found: Found) -> None:
        device = await opened(found)
        setting = next(
            (one for one in device.settings if one.into is not None and one.out_of is not None), None
        )
        if setting is None:
            await asyncio.to_thread(device.close)
            raise Failed("it has no interface for rockusb")
        session = await claimed(device, setting)
        number: int | None = None
        try:
            volume = await _volume(session)
            name = f"{place(found)} {found.properties.get('ID_MODEL_ID', '')}".rstrip()
            named = provision.properties(name, properties(found))
            number = provision.lab.volumes.add(named, volume).number
            await asyncio.Event().wait()
        finally:
            if number is not None:
                provision.lab.volumes.remove(number)
            await session.close()

    def wanted(found: Found) -> bool:
        return bool(found.node) and found.properties.get("ID_VENDOR_ID") == rockusb.VENDOR

    return follow("usb", wanted, serve, provision.log)


async def _volume(session: UsbSession) -> Volume:
    """What a board is: only a loader knows its storage."""
    loader = Loader()
    try:
        flash = await session.do(loader.flash_info())
    except LabError:
        return MaskRom(session)
    return LoaderVolume(session, loader, await session.do(loader.flash_id()), flash)
