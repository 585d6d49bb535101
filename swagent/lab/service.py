"""The rpcs: protobuf on one side, the lab on the other, errors as statuses (boardswarm §1).

Headers go out before any data in every stream: clients wait for them before they do anything else.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from swagent.errors import LabError, SwagentError

from .auth import Authenticator, Caller
from .config import Oidc
from .devices import DeviceState
from .errors import InvalidRequest, NotThere, OutOfRange
from .items import Change, Item, ItemType
from .lab import Lab
from .volumes import REPLY_BYTES_MAX, OpenTarget, Target, Volume, cannot
from .wire import PACKAGE, SERVICE, Method, Wire

LOGIN_INFO = "LoginInfo"
CONSOLE_OUTPUT = "ConsoleStreamOutput"
REPLAY = "swagent-replay"
"""Metadata of ``ConsoleStreamOutput`` that asks for what was said before; other clients do not know it."""
_LOST = "\r\n[{n} bytes of output were lost: this reader was too slow]\r\n"

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")

CALLER: ContextVar[Caller] = ContextVar("caller")

Handle = Callable[[Any, Any], Any]


class Service:
    """All rpcs of one wire.

    Args:
        lab: what is served.
        wire: the generation of messages.
        authenticator: judges tokens.
        logins: the issuers that ``LoginInfo`` tells of.
        log: hears of what should not have happened.
    """

    def __init__(
        self,
        lab: Lab,
        wire: Wire,
        *,
        authenticator: Authenticator,
        logins: tuple[Oidc, ...] = (),
        log: Callable[[str], None],
    ) -> None:
        self._lab = lab
        self._wire = wire
        self._authenticator = authenticator
        self._logins = logins
        self._log = log

    def handlers(self) -> Any:
        """What a gRPC server serves."""
        import grpc

        makers = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        found = {}
        for method in self._wire.methods:
            maker = makers[method.streams_requests, method.streams_replies]
            found[method.name] = maker(
                self._guarded(method),
                request_deserializer=_reader(self._wire.message(method.request)),
                response_serializer=self._wire.message(method.reply).SerializeToString,
            )
        return grpc.method_handlers_generic_handler(SERVICE, found)

    # -- around each rpc

    def _guarded(self, method: Method) -> Handle:
        work: Callable[[Any, Any], Any] = getattr(self, f"_{_CAPITAL.sub('_', method.name).lower()}")

        def understood(request: Any) -> Any:
            return _all_understood(request) if method.streams_requests else _understood(request)

        async def unary(request: Any, context: Any) -> Any:
            async with _Statuses(context, method.name, self._log):
                self._admit(method, context)
                if method.streams_requests:
                    await context.send_initial_metadata(())
                return await work(understood(request), context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with _Statuses(context, method.name, self._log):
                self._admit(method, context)
                if method.name != CONSOLE_OUTPUT:
                    await context.send_initial_metadata(())
                async with aclosing(work(understood(request), context)) as replies:
                    async for reply in replies:
                        yield reply

        return stream if method.streams_replies else unary

    def _admit(self, method: Method, context: Any) -> None:
        if method.name == LOGIN_INFO:
            return
        headers = dict(context.invocation_metadata() or ())
        CALLER.set(self._authenticator.judge(headers.get("authorization")))

    # -- items

    async def _login_info(self, request: Any, context: Any) -> Any:
        wire = self._wire
        return wire.LoginInfoList(
            info=[
                wire.LoginInfo(
                    description=one.description, oidc=wire.OidcInfo(url=one.uri, clientId=one.client)
                )
                for one in self._logins
            ]
        )

    async def _list(self, request: Any, context: Any) -> Any:
        return self._item_list(self._lab.registry(_type_of(request)).items())

    async def _monitor(self, request: Any, context: Any) -> AsyncIterator[Any]:
        wire, first = self._wire, True
        async with aclosing(self._lab.registry(_type_of(request)).watch()) as changes:
            change: Change[Any]
            async for change in changes:
                for number in change.removed:
                    yield wire.ItemEvent(remove=number)
                if first:
                    yield wire.ItemEvent(add=self._item_list(change.added))
                    first = False
                    continue
                for item in change.added:
                    yield wire.ItemEvent(add=self._item_list((item,)))

    async def _item_properties(self, request: Any, context: Any) -> Any:
        item = self._lab.registry(_type_of(request)).get(request.item)
        return self._wire.ItemPropertiesMsg(
            property=[self._wire.Property(key=key, value=value) for key, value in item.properties.items()]
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
        async with aclosing(device.what.watch()) as states:
            async for state in states:
                yield self._device(state)

    async def _device_change_mode(self, request: Any, context: Any) -> Any:
        await self._lab.devices.get(request.device).what.change_mode(request.mode)
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
        await item.what.change(_plain(request.parameters))
        return self._empty()

    # -- consoles

    async def _console_configure(self, request: Any, context: Any) -> Any:
        item = _or_invalid(self._lab.consoles.get, request.console)
        await item.what.configure(_plain(request.parameters))
        return self._empty()

    async def _console_stream_output(self, request: Any, context: Any) -> AsyncIterator[Any]:
        item = _or_invalid(self._lab.consoles.get, request.console)
        replay = dict(context.invocation_metadata() or ()).get(REPLAY) == "1"
        async with aclosing(await item.what.listen(replay=replay)) as pieces:
            await context.send_initial_metadata(
                ()
            )  # only now: whoever sees them counts on hearing all that follows
            async for heard in pieces:
                if heard.lost_bytes:
                    yield self._wire.ConsoleOutput(data=_LOST.format(n=heard.lost_bytes).encode())
                yield self._wire.ConsoleOutput(data=heard.data)

    async def _console_stream_input(self, requests: AsyncIterator[Any], context: Any) -> Any:
        console = None
        async for request in requests:
            which = request.WhichOneof("TargetOrData")
            if console is None:
                if which != "console":
                    raise InvalidRequest("the first message must name a console")
                console = self._lab.consoles.get(request.console).what
                await console.open()
            elif which == "console":
                raise InvalidRequest("the console is named already")
            elif which == "data":
                await console.write(request.data)
        return self._empty()

    # -- volumes

    async def _volume_info(self, request: Any, context: Any) -> Any:
        volume: Volume = self._lab.volumes.get(request.volume).what
        made = self._wire.VolumeInfoMsg(target=[self._target(target) for target in await volume.targets()])
        if not self._wire.legacy:
            made.exhaustive = volume.exhaustive
        return made

    async def _volume_commit(self, request: Any, context: Any) -> Any:
        await self._lab.volumes.get(request.volume).what.commit()
        return self._empty()

    async def _volume_erase(self, request: Any, context: Any) -> Any:
        await self._lab.volumes.get(request.volume).what.erase(request.target)
        return self._empty()

    async def _volume_io(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Replies leave in the order of the requests, one at a time; a client matches them by position."""
        opened: OpenTarget | None = None
        ended = False
        try:
            async for request in requests:
                which = request.WhichOneof("TargetOrRequest")
                if opened is None:
                    if which != "target":
                        raise InvalidRequest("the first message must name a target")
                    opened = await self._open(request.target)
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
                    yield await self._io(opened, which, getattr(request, which))
                    ended = which == "shutdown"
            if opened is None:
                raise InvalidRequest("the first message must name a target")
            if self._wire.legacy and not ended:
                await opened.shutdown()  # clients of that time end what they wrote by closing their side
        finally:
            if opened is not None:
                await asyncio.shield(asyncio.ensure_future(opened.close()))

    async def _open(self, wanted: Any) -> OpenTarget:
        length_bytes = wanted.length if wanted.HasField("length") else None
        return await self._lab.volumes.get(wanted.volume).what.open(wanted.target, length_bytes)

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


class _Statuses:
    """Turns errors into statuses; what nobody foresaw is logged, and the caller sees no more than that it happened."""

    def __init__(self, context: Any, method: str, log: Callable[[str], None]) -> None:
        self._context = context
        self._method = method
        self._log = log

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: object
    ) -> None:
        import grpc

        if exc is None or isinstance(exc, asyncio.CancelledError | GeneratorExit | grpc.RpcError):
            return
        if isinstance(exc, grpc.aio.AbortError):
            return
        if isinstance(exc, SwagentError):
            status = exc.status if isinstance(exc, LabError) else "INTERNAL"
            text = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
            await self._context.abort(getattr(grpc.StatusCode, status), text)
        if isinstance(exc, Exception):
            self._log(f"{PACKAGE}.{self._method}: {type(exc).__name__}: {exc}")
            await self._context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")


def _reader(message: Any) -> Callable[[bytes], Any]:
    """Reads a message; bytes that are none become None, since errors raised here would get no status of ours."""
    from google.protobuf.message import DecodeError

    def read(data: bytes) -> Any:
        try:
            return message.FromString(data)
        except DecodeError:
            return None

    return read


def _understood(request: Any) -> Any:
    if request is None:
        raise InvalidRequest("these bytes are no message of this call")
    return request


async def _all_understood(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _understood(request)


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
