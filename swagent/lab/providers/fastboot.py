"""Boards in fastboot: partitions that are flashed piece by piece, gaps as holes of sparse images (boardswarm §4.6)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from swagent.errors import SettingsError
from swagent.hw.udev import Found
from swagent.lab import fastboot
from swagent.lab.errors import Failed, InvalidRequest, NotNow, NotSupported, OutOfRange
from swagent.lab.items import matches
from swagent.lab.lab import Provision
from swagent.lab.sparse import BLOCK_BYTES, sparse_of
from swagent.lab.udev import follow, properties
from swagent.lab.usb import UsbSession, claimed, opened, place
from swagent.lab.volumes import OpenTarget, Target

from .parameters import Parameters

CHUNK_BYTES_MAX = 16 * 1024 * 1024
_HEADERS_BYTES = 8192


class FastbootVolume:
    """A board in fastboot; names that it does not list may work too.

    Args:
        session: to it.
        sizes: of the targets that are known, None where it does not tell.
        chunk_bytes: the most that it takes at once.
        stages: whether the target ``stage`` is there.
    """

    exhaustive = False

    def __init__(
        self, session: UsbSession, sizes: dict[str, int | None], chunk_bytes: int, *, stages: bool
    ) -> None:
        self._session = session
        self._sizes = sizes
        self._chunk_bytes = chunk_bytes
        self._stages = stages

    async def targets(self) -> tuple[Target, ...]:
        """Those that it told of, and those of the configuration."""
        return tuple(map(self._target, (*self._sizes, *([fastboot.STAGE] if self._stages else []))))

    async def open(self, name: str, length_bytes: int | None) -> OpenTarget:
        """Begin to write; waits for who does so now. Raises InvalidRequest or OutOfRange."""
        target = self._target(_checked(name))
        if length_bytes is not None and target.size_bytes is not None and length_bytes > target.size_bytes:
            raise OutOfRange(f"{name} has {target.size_bytes} bytes, and {length_bytes} would be written")
        await self._session.turn.acquire()
        return OpenPartition(self._session, target, self._chunk_bytes, only_stage=self._is_stage(name))

    async def commit(self) -> None:
        """Have the board start. Raises Failed or Gone."""
        async with self._session.turn:
            await self._session.do(fastboot.go_on())

    async def erase(self, name: str) -> None:
        """Erase a partition. Raises InvalidRequest, Failed or Gone."""
        async with self._session.turn:
            await self._session.do(fastboot.erase(_checked(name)))

    def _is_stage(self, name: str) -> bool:
        return self._stages and name == fastboot.STAGE

    def _target(self, name: str) -> Target:
        return Target(
            name, writable=True, seekable=not self._is_stage(name), size_bytes=self._sizes.get(name),
            block_bytes=BLOCK_BYTES,
        )  # fmt: skip


class OpenPartition:
    """A partition that is written."""

    def __init__(self, session: UsbSession, target: Target, chunk_bytes: int, *, only_stage: bool) -> None:
        self.target = target
        self._session = session
        self._chunk_bytes = chunk_bytes
        self._only_stage = only_stage
        self._start = 0
        self._rest = bytearray()
        self._is_begun = False

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Raises NotSupported."""
        raise NotSupported("partitions are written only")

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Collect, and flash what fills a chunk. Raises OutOfRange, NotNow, Failed or Gone."""
        if offset_bytes != self._start + len(self._rest):
            if len(self._rest) % BLOCK_BYTES or offset_bytes % BLOCK_BYTES or self._only_stage:
                raise OutOfRange(
                    f"{self.target.name} is written in whole blocks of {BLOCK_BYTES} bytes, in order"
                )
            await self.flush()
            self._start = offset_bytes
        self._rest += data
        while len(self._rest) > self._chunk_bytes:
            if self._only_stage:
                raise OutOfRange(f"the board takes {self._chunk_bytes} bytes at once")
            await self._send(bytes(self._rest[: self._chunk_bytes]))

    async def flush(self) -> None:
        """Flash what fills whole blocks; the rest goes with the end. Raises as ``write``."""
        whole = len(self._rest) // BLOCK_BYTES * BLOCK_BYTES
        if whole and not self._only_stage:
            await self._send(bytes(self._rest[:whole]))

    async def shutdown(self) -> None:
        """Flash the rest. Raises as ``write``."""
        if self._rest:
            await self._send(bytes(self._rest))

    async def close(self) -> None:
        """The next one may begin; what was not flashed is forgotten."""
        self._session.turn.release()

    async def _send(self, data: bytes) -> None:
        is_plain = not self._is_begun and self._start == 0
        await self._session.do(
            fastboot.download(data if is_plain else sparse_of(self._start // BLOCK_BYTES, data))
        )
        if not self._only_stage:
            try:
                await self._session.do(fastboot.flash(self.target.name))
            except Failed as exc:
                raise NotNow(exc.message, hint=exc.hint) from exc
        self._is_begun = True
        self._start += len(data)
        del self._rest[: len(data)]


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """None, for every board in fastboot, or ``match``, and maybe ``targets``: names, and ``stage`` (false)."""
    parameters = Parameters.of(provision.rule, "match", "targets", "stage")
    match = parameters.texts("match") if provision.rule.parameters else {}
    names = parameters.words("targets") if parameters.has("targets") else ()
    for name in names:
        if not fastboot.is_name(name):
            raise SettingsError(f"{parameters.where}: {name[:80]!r} is no name of a partition")
    stages = parameters.flag("stage", default=False)

    async def serve(found: Found) -> None:
        device = await opened(found)
        setting = next((one for one in device.settings if one.kind == fastboot.KIND), None)
        if setting is None or setting.into is None or setting.out_of is None:
            await asyncio.to_thread(device.close)
            raise Failed("it has no interface for fastboot")
        session = await claimed(device, setting)
        number: int | None = None
        try:
            about = await session.do(fastboot.limits())
            chunk_bytes = (
                min(CHUNK_BYTES_MAX, about.download_bytes - _HEADERS_BYTES) // BLOCK_BYTES * BLOCK_BYTES
            )
            if chunk_bytes <= 0:
                raise Failed(f"it takes {about.download_bytes} bytes at once, which is not enough")
            sizes: dict[str, int | None] = dict(about.partitions)
            for name in names:
                sizes.setdefault(name, await _size_of(session, name))
            named = provision.properties(
                f"fastboot {place(found)}", {**properties(found), "fastboot.version": about.version}
            )
            volume = FastbootVolume(session, sizes, chunk_bytes, stages=stages)
            number = provision.lab.volumes.add(named, volume).number
            await asyncio.Event().wait()
        finally:
            if number is not None:
                provision.lab.volumes.remove(number)
            await session.close()

    def wanted(found: Found) -> bool:
        is_fastboot = ":ff4203:" in found.properties.get("ID_USB_INTERFACES", "")
        return bool(found.node) and is_fastboot and matches(match, properties(found))

    return follow("usb", wanted, serve, provision.log)


async def _size_of(session: UsbSession, name: str) -> int | None:
    """A partition's size, None of boards that do not tell."""
    try:
        return fastboot.number_of(await session.do(fastboot.getvar(f"partition-size:{name}")))
    except Failed:
        return None


def _checked(name: str) -> str:
    if not fastboot.is_name(name):
        raise InvalidRequest(f"{name[:80]!r} is no name of a partition")
    return name
