"""The items of another Boardswarm server, re-exported (boardswarm §4.8)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from swagent.errors import LabError, SettingsError
from swagent.lab.client import address_of, read_token
from swagent.lab.consoles import Console
from swagent.lab.items import INSTANCE, ItemType, Signal
from swagent.lab.lab import Provision
from swagent.lab.remote import Link, RemoteActuator, RemoteDevice, RemotePort, RemoteVolume, linked
from swagent.lab.wire import head

from .parameters import Parameters

RETRY_S = 1.0


class Mirror:
    """What is here of what is there, while one connection lasts.

    Args:
        provision: where the items go.
        link: the connection.
    """

    def __init__(self, provision: Provision, link: Link) -> None:
        self._provision = provision
        self._lab = provision.lab
        self._link = link
        self._ours: dict[tuple[ItemType, int], int] = {}
        self._changed = Signal()

    async def run(self) -> None:
        """Follow all four types until the connection fails; then nothing of it is left here.

        Raises:
            LabError: why it failed.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in ItemType:
                    tasks.create_task(self._follow(kind))
        except ExceptionGroup as group:
            first = group.exceptions[0]
            if not isinstance(first, LabError):
                raise
            raise first from group
        finally:
            for kind, number in list(self._ours):
                await self._remove(kind, number)

    async def _follow(self, kind: ItemType) -> None:
        wire = self._link.wire
        async for event in self._link.stream("Monitor", wire.ItemTypeRequest(type=int(kind))):
            if event.WhichOneof("event") == "remove":
                await self._remove(kind, event.remove)
                continue
            for item in event.add.item:
                if (kind, item.id) not in self._ours:  # a server may tell of one twice
                    await self._add(kind, item.id)
        raise LabError("the other server has ended the list")

    async def _add(self, kind: ItemType, number: int) -> None:
        wire = self._link.wire
        request = wire.ItemPropertiesRequest(type=int(kind), item=number)
        try:
            found = await self._link.ask("ItemProperties", request)
        except LabError as exc:
            if exc.status == "NOT_FOUND":  # gone again already
                return
            raise
        properties = {one.key: one.value for one in found.property}
        if "boardswarm.name" not in properties:
            return
        properties[INSTANCE] = self._provision.rule.name
        item = self._lab.registry(kind).add(properties, self._made(kind, number))
        self._ours[kind, number] = item.number
        self._changed.tell()

    def _made(self, kind: ItemType, number: int) -> Any:
        match kind:
            case ItemType.DEVICE:
                return RemoteDevice(
                    self._link, number, lambda kind, number: self._ours.get((kind, number)), self._changed
                )
            case ItemType.CONSOLE:
                return Console(RemotePort(self._link, number))
            case ItemType.ACTUATOR:
                return RemoteActuator(self._link, number)
            case ItemType.VOLUME:
                return RemoteVolume(self._link, number)

    async def _remove(self, kind: ItemType, number: int) -> None:
        ours = self._ours.pop((kind, number), None)
        if ours is None:
            return
        self._changed.tell()
        registry = self._lab.registry(kind)
        what = registry.get(ours).what
        registry.remove(ours)
        if isinstance(what, Console):
            await what.close()


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``uri``, and ``token``: a file with one in its first line; maybe ``ca``: authorities to believe."""
    found = Parameters.of(provision.rule, "uri", "token", "ca")
    uri, token = found.text("uri"), read_token(found.path("token"))
    address_of(uri)
    ca = None
    if found.has("ca"):
        try:
            with open(found.path("ca"), "rb") as file:
                ca = file.read()
        except OSError as exc:
            raise SettingsError(f"{found.where}: cannot read {found.path('ca')}: {exc.strerror}") from exc

    async def run() -> None:
        told = ""
        while True:
            try:
                async with linked(uri.rstrip("/"), token, head(), ca) as link:
                    await Mirror(provision, link).run()
            except LabError as exc:
                if exc.message != told:  # once, not each second
                    provision.log(f"{provision.rule.name}: {exc.message}; trying again")
                    told = exc.message
            await asyncio.sleep(RETRY_S)

    return run()
