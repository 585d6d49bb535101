"""The rpcs: protobuf on one side, the lab on the other, errors as statuses (boardswarm §1).

Headers go out before any data in every stream: clients wait for them before they do anything else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from .access import Access, Verb
from .auth import Authenticator, Caller
from .config import Oidc
from .consoles import Console
from .devices import DeviceState
from .errors import InvalidRequest, NotThere, OutOfRange
from .guard import handlers, token_of
from .items import Change, Item, ItemType
from .lab import Lab
from .volumes import REPLY_BYTES_MAX, OpenTarget, Target, Volume, cannot
from .wire import SERVICE, Method, Wire

LOGIN_INFO = "LoginInfo"
CONSOLE_OUTPUT = "ConsoleStreamOutput"
REPLAY = "swagent-replay"
"""Metadata of ``ConsoleStreamOutput`` that asks for what was said before; other clients do not know it."""
REPLAY_FIRST = "1"
REPLAY_ONLY = "only"
"""No more than that; the server says it again in its own metadata, as other servers do not know it."""
_LOST = "\r\n[{n} bytes of output were lost: this reader was too slow]\r\n"

_VERBS = {"read": Verb.READ, "write": Verb.WRITE, "flush": Verb.WRITE}

CALLER: ContextVar[Caller] = ContextVar("caller")


class Service:
    """All rpcs of one wire.

    Args:
        lab: what is served.
        wire: the generation of messages.
        authenticator: judges tokens.
        access: judges what their bearers want.
        logins: the issuers that ``LoginInfo`` tells of.
        log: hears of what should not have happened.
    """

    def __init__(
        self,
        lab: Lab,
        wire: Wire,
        *,
        authenticator: Authenticator,
        access: Access,
        logins: tuple[Oidc, ...] = (),
        log: Callable[[str], None],
    ) -> None:
        self._lab = lab
        self._wire = wire
        self._authenticator = authenticator
        self._access = access
        self.logins = logins
        self._log = log

    def handlers(self) -> Any:
        """What a gRPC server serves."""
        return handlers(self, self._wire, SERVICE, self._admit, self._log, later_headers=(CONSOLE_OUTPUT,))

    def _admit(self, method: Method, context: Any) -> None:
        if method.name != LOGIN_INFO:
            CALLER.set(self._authenticator.judge(token_of(context)))

    def _check(self, verb: Verb, kind: ItemType, item: Item[Any]) -> None:
        self._access.check(CALLER.get(), verb, kind, item)

    def _sees(self, item: Item[Any]) -> bool:
        return self._access.allows(CALLER.get(), Verb.LIST, item)

    # -- items

    async def _login_info(self, request: Any, context: Any) -> Any:
        wire = self._wire
        return wire.LoginInfoList(
            info=[
                wire.LoginInfo(
                    description=one.description, oidc=wire.OidcInfo(url=one.uri, clientId=one.client)
                )
                for one in self.logins
            ]
        )

    async def _list(self, request: Any, context: Any) -> Any:
        items = self._lab.registry(_type_of(request)).items()
        return self._item_list(tuple(item for item in items if self._sees(item)))

    async def _monitor(self, request: Any, context: Any) -> AsyncIterator[Any]:
        wire, first, told = self._wire, True, set[int]()
        async with aclosing(self._lab.registry(_type_of(request)).watch()) as changes:
            change: Change[Any]
            async for change in changes:
                for number in told & set(change.removed):
                    yield wire.ItemEvent(remove=number)
                added = tuple(item for item in change.added if self._sees(item))
                told = (told - set(change.removed)) | {item.number for item in added}
                if first:
                    yield wire.ItemEvent(add=self._item_list(added))
                    first = False
                    continue
                for item in added:
                    yield wire.ItemEvent(add=self._item_list((item,)))

    async def _item_properties(self, request: Any, context: Any) -> Any:
        kind = _type_of(request)
        item = self._lab.registry(kind).get(request.item)
        self._check(Verb.LIST, kind, item)
        properties = dict(item.properties)
        if kind is ItemType.DEVICE:
            properties |= self._access.properties(item.number)
        return self._wire.ItemPropertiesMsg(
            property=[self._wire.Property(key=key, value=value) for key, value in properties.items()]
        )

    def _item_list(self, items: tuple[Item[Any], ...]) -> Any:
        wire = self._wire
        return wire.ItemList(
            item=[
                wire.Item(
                    id=item.number, name=item.name, **({"instance": item.instance} if item.instance else {})
                )
                for item in items
            ]
        )

    # -- devices

    async def _device_info(self, request: Any, context: Any) -> AsyncIterator[Any]:
        device = self._lab.devices.get(request.device)
        self._check(Verb.LIST, ItemType.DEVICE, device)
        async with aclosing(device.what.watch()) as states:
            async for state in states:
                yield self._device(state)

    async def _device_change_mode(self, request: Any, context: Any) -> Any:
        device = self._lab.devices.get(request.device)
        self._check(Verb.POWER, ItemType.DEVICE, device)
        await device.what.change_mode(request.mode)
        return self._empty()

    def _device(self, state: DeviceState) -> Any:
        wire = self._wire
        made = wire.Device(
            consoles=[wire.Console(name=slot.name, id=slot.number) for slot in state.consoles],
            volumes=[wire.Volume(name=slot.name, id=slot.number) for slot in state.volumes],
            modes=[
                wire.Mode(name=mode.name, depends=mode.depends, available=mode.available)
                for mode in state.modes
            ],
        )
        if state.mode is not None:
            made.current_mode = state.mode
        return made

    async def _actuator_change_mode(self, request: Any, context: Any) -> Any:
        item = _or_invalid(self._lab.actuators.get, request.actuator)
        self._check(Verb.POWER, ItemType.ACTUATOR, item)
        await item.what.change(_plain(request.parameters))
        return self._empty()

    # -- consoles

    async def _console_configure(self, request: Any, context: Any) -> Any:
        item = _or_invalid(self._lab.consoles.get, request.console)
        self._check(Verb.TYPE, ItemType.CONSOLE, item)
        await item.what.configure(_plain(request.parameters))
        return self._empty()

    async def _console_stream_output(self, request: Any, context: Any) -> AsyncIterator[Any]:
        item = _or_invalid(self._lab.consoles.get, request.console)
        self._check(Verb.WATCH, ItemType.CONSOLE, item)
        wanted = dict(context.invocation_metadata() or ()).get(REPLAY, "")
        only = wanted == REPLAY_ONLY
        listening = item.what.remembered() if only else await item.what.listen(replay=wanted == REPLAY_FIRST)
        async with aclosing(listening) as pieces:
            # only now: whoever sees them counts on hearing all that follows
            await context.send_initial_metadata(((REPLAY, wanted),) if only else ())
            async for heard in pieces:
                if heard.lost_bytes:
                    yield self._wire.ConsoleOutput(data=_LOST.format(n=heard.lost_bytes).encode())
                yield self._wire.ConsoleOutput(data=heard.data)

    async def _console_stream_input(self, requests: AsyncIterator[Any], context: Any) -> Any:
        console: Item[Console] | None = None
        async for request in requests:
            which = request.WhichOneof("TargetOrData")
            if console is None:
                if which != "console":
                    raise InvalidRequest("the first message must name a console")
                console = self._lab.consoles.get(request.console)
                self._check(Verb.TYPE, ItemType.CONSOLE, console)
                await console.what.open()
            elif which == "console":
                raise InvalidRequest("the console is named already")
            elif which == "data":
                self._check(Verb.TYPE, ItemType.CONSOLE, console)  # a lease may have gone to somebody else
                await console.what.write(request.data)
        return self._empty()

    # -- volumes

    async def _volume_info(self, request: Any, context: Any) -> Any:
        item = self._lab.volumes.get(request.volume)
        self._check(Verb.LIST, ItemType.VOLUME, item)
        volume = item.what
        made = self._wire.VolumeInfoMsg(target=[self._target(target) for target in await volume.targets()])
        if not self._wire.legacy:
            made.exhaustive = volume.exhaustive
        return made

    async def _volume_commit(self, request: Any, context: Any) -> Any:
        await self._for_writing(request.volume).commit()
        return self._empty()

    async def _volume_erase(self, request: Any, context: Any) -> Any:
        await self._for_writing(request.volume).erase(request.target)
        return self._empty()

    def _for_writing(self, number: int) -> Volume:
        item = self._lab.volumes.get(number)
        self._check(Verb.WRITE, ItemType.VOLUME, item)
        return item.what

    async def _volume_io(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Replies leave in the order of the requests, one at a time; a client matches them by position."""
        opened: OpenTarget | None = None
        ended = False
        item: Item[Volume]
        try:
            async for request in requests:
                which = request.WhichOneof("TargetOrRequest")
                if opened is None:
                    if which != "target":
                        raise InvalidRequest("the first message must name a target")
                    item = self._lab.volumes.get(request.target.volume)
                    opened = await self._open(item, request.target)
                    if not self._wire.legacy:
                        reply = self._wire.VolumeIoTargetReply(target=self._target(opened.target))
                        yield self._wire.VolumeIoReply(target=reply)
                elif which == "target":
                    raise InvalidRequest("the target is named already")
                elif which is None:
                    break
                elif ended:
                    raise InvalidRequest("nothing may follow a shutdown")
                else:
                    if which in _VERBS:
                        self._check(_VERBS[which], ItemType.VOLUME, item)
                    yield await self._io(opened, which, getattr(request, which))
                    ended = which == "shutdown"
            if opened is None:
                raise InvalidRequest("the first message must name a target")
            if self._wire.legacy and not ended:
                await opened.shutdown()  # clients of that time end what they wrote by closing their side
        finally:
            if opened is not None:
                await asyncio.shield(asyncio.ensure_future(opened.close()))

    async def _open(self, item: Item[Volume], wanted: Any) -> OpenTarget:
        if not self._access.allows(CALLER.get(), Verb.READ, item):
            self._check(Verb.WRITE, ItemType.VOLUME, item)
        length_bytes = wanted.length if wanted.HasField("length") else None
        return await item.what.open(wanted.target, length_bytes)

    async def _io(self, opened: OpenTarget, which: str, request: Any) -> Any:
        wire, target = self._wire, opened.target
        if which == "read":
            if not target.readable:
                raise cannot("read", target)
            data = await opened.read(min(request.length, REPLY_BYTES_MAX), request.offset)
            return wire.VolumeIoReply(read=wire.VolumeIoReadReply(data=data))
        if which == "write":
            if not target.writable:
                raise cannot("written", target)
            end = request.offset + len(request.data)
            if target.size_bytes is not None and end > target.size_bytes:
                raise OutOfRange(f"{target.name} has {target.size_bytes} bytes, and this would end at {end}")
            await opened.write(request.data, request.offset)
            return wire.VolumeIoReply(write=wire.VolumeIoWriteReply(written=len(request.data)))
        if which == "flush":
            await opened.flush()
            return wire.VolumeIoReply(flush=wire.VolumeIoFlushReply())
        await opened.shutdown()
        return wire.VolumeIoReply(shutdown=wire.VolumeIoShutdownReply())

    def _target(self, target: Target) -> Any:
        return self._wire.VolumeTarget(
            name=target.name,
            readable=target.readable,
            writable=target.writable,
            seekable=target.seekable,
            size=target.size_bytes,
            blocksize=target.block_bytes,
        )

    def _empty(self) -> Any:
        return self._wire.message("google.protobuf.Empty")()


def _type_of(request: Any) -> ItemType:
    try:
        return ItemType(request.type)
    except ValueError:
        raise InvalidRequest(f"there is no type of items {request.type}") from None


def _or_invalid(get: Callable[[int], Item[Any]], number: int) -> Item[Any]:
    """For the rpcs that call an unknown item an invalid argument, as the original does."""
    try:
        return get(number)
    except NotThere as exc:
        raise InvalidRequest(exc.message, hint=exc.hint) from exc


def _plain(struct: Any) -> Mapping[str, object]:
    from google.protobuf.json_format import MessageToDict

    found: Mapping[str, object] = MessageToDict(struct)
    return found
