"""Items of another server, used as if they were here; what it refuses is refused here with the same status.

All calls carry the provider's own token: whoever may use our lab may use what it re-exports.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from swagent.errors import LabError

from . import errors
from .consoles import Console
from .devices import DeviceState, ModeState, Slot
from .errors import Failed, Gone
from .items import ItemType, Signal
from .volumes import OpenTarget, Target
from .wire import SERVICE, Wire

KEEPALIVE = (
    # a link that is cut without a word is found, however quiet it was; our servers allow it (server.PINGS_MS)
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # of pings that measure the line: one under way stands in for ours
    ("grpc.http2.max_pings_without_data", 0),
)
CLASSES: Mapping[str, type[LabError]] = {
    cls.status: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, LabError) and cls is not LabError
}
"""Our error for each status that has one."""


def error_of(exc: Any) -> LabError:
    """Our error for one of gRPC's."""
    name = exc.code().name if hasattr(exc, "code") else "UNKNOWN"
    details = (exc.details() if hasattr(exc, "details") else "") or f"the server answered {name}"
    return CLASSES.get(name, LabError)(details)


class Link:
    """A connection to another server.

    Args:
        channel: of ``grpc.aio``.
        wire: the messages it speaks.
        token: of whoever we are there.
        where: its address, for messages.
    """

    def __init__(self, channel: Any, wire: Wire, token: str, where: str) -> None:
        self.wire = wire
        self.where = where
        self._metadata = (("authorization", f"Bearer {token}"),)
        makers = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        self._calls = {
            method.name: makers[method.streams_requests, method.streams_replies](
                f"/{SERVICE}/{method.name}",
                request_serializer=wire.message(method.request).SerializeToString,
                response_deserializer=wire.message(method.reply).FromString,
            )
            for method in wire.methods
        }

    def start(self, name: str, request: Any = None) -> Any:
        """Begin a call."""
        return self._calls[name](request, metadata=self._metadata)

    async def ask(self, name: str, request: Any) -> Any:
        """A question with one answer.

        Raises:
            LabError: the server's own no, or Gone when it cannot be reached.
        """
        with translated():
            return await self.start(name, request)

    async def stream(self, name: str, request: Any) -> AsyncGenerator[Any, None]:
        """A question with many answers. Raises as ``ask``."""
        call = self.start(name, request)
        try:
            with translated():
                async for reply in call:
                    yield reply
        finally:
            call.cancel()


@contextmanager
def translated() -> Iterator[None]:
    """Inside it, errors of gRPC become ours."""
    import grpc

    try:
        yield
    except grpc.aio.AioRpcError as exc:
        raise error_of(exc) from exc


class RemoteActuator:
    """An actuator there."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    async def change(self, parameters: Mapping[str, object]) -> None:
        """Have it switched there. Raises as there."""
        request = self._link.wire.ActuatorModeRequest(actuator=self._number)
        request.parameters.update(parameters)
        await self._link.ask("ActuatorChangeMode", request)


class RemotePort:
    """A console there, as the port of one here."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._parameters: dict[str, object] = {}
        self._listening: asyncio.Task[None] | None = None
        self._input: Any = None

    async def open(self, console: Console) -> None:
        """Set it up as it was wanted, and listen. Raises as there."""
        if self._parameters:
            await self._send_parameters()
        call = self._link.start(
            "ConsoleStreamOutput", self._link.wire.ConsoleOutputRequest(console=self._number)
        )
        with translated():
            await call.initial_metadata()
        self._listening = asyncio.ensure_future(self._listen(call, console))

    async def write(self, data: bytes) -> None:
        """Type there. Raises as there."""
        with translated():
            if self._input is None:
                self._input = self._link.start("ConsoleStreamInput")
                await self._input.write(self._link.wire.ConsoleInputRequest(console=self._number))
            try:
                await self._input.write(self._link.wire.ConsoleInputRequest(data=data))
            except asyncio.InvalidStateError:  # it has ended meanwhile; why stands in its status
                call, self._input = self._input, None
                raise Gone(f"{self._link.where}: {await call.details() or 'the console has gone'}") from None

    async def configure(self, parameters: Mapping[str, object]) -> None:
        """Remember for when it is opened; send at once when it is. Raises as there."""
        self._parameters |= parameters
        if self._listening is not None:
            await self._send_parameters()

    async def close(self) -> None:
        """End both directions."""
        if self._input is not None:
            self._input.cancel()
            self._input = None
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    async def _send_parameters(self) -> None:
        request = self._link.wire.ConsoleConfigureRequest(console=self._number)
        request.parameters.update(self._parameters)
        await self._link.ask("ConsoleConfigure", request)

    async def _listen(self, call: Any, console: Console) -> None:
        import grpc

        why = "the other server has ended it"
        try:
            async for piece in call:
                console.heard(piece.data)
        except grpc.aio.AioRpcError as exc:
            why = exc.details() or why
        finally:
            call.cancel()
        self._listening = None
        console.lost(f"{self._link.where}: {why}")


class RemoteVolume:
    """A volume there."""

    exhaustive = True

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    async def targets(self) -> tuple[Target, ...]:
        """What it has there. Raises as there."""
        found = await self._link.ask("VolumeInfo", self._link.wire.VolumeRequest(volume=self._number))
        self.exhaustive = found.exhaustive
        return tuple(read_target(one) for one in found.target)

    async def open(self, name: str, length_bytes: int | None) -> OpenTarget:
        """Use a target there. Raises as there."""
        wire = self._link.wire
        call = self._link.start("VolumeIo")
        with translated():
            target = wire.VolumeIoTarget(volume=self._number, target=name, length=length_bytes)
            await call.write(wire.VolumeIoRequest(target=target))
            reply = await call.read()
        return _RemoteTarget(call, wire, read_target(reply.target.target))

    async def commit(self) -> None:
        """Raises as there."""
        await self._link.ask("VolumeCommit", self._link.wire.VolumeRequest(volume=self._number))

    async def erase(self, name: str) -> None:
        """Raises as there."""
        request = self._link.wire.VolumeEraseRequest(volume=self._number, target=name)
        await self._link.ask("VolumeErase", request)


class _RemoteTarget:
    """A target in use there."""

    def __init__(self, call: Any, wire: Wire, target: Target) -> None:
        self.target = target
        self._call = call
        self._wire = wire

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Raises as there."""
        request = self._wire.VolumeIoRead(length=length_bytes, offset=offset_bytes)
        reply = await self._turn(self._wire.VolumeIoRequest(read=request))
        return bytes(reply.read.data)

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Raises as there, and Failed when less was written."""
        request = self._wire.VolumeIoWrite(data=data, offset=offset_bytes)
        reply = await self._turn(self._wire.VolumeIoRequest(write=request))
        if reply.write.written != len(data):
            raise Failed(f"the other server wrote {reply.write.written} of {len(data)} bytes")

    async def flush(self) -> None:
        """Raises as there."""
        await self._turn(self._wire.VolumeIoRequest(flush=self._wire.VolumeIoFlush()))

    async def shutdown(self) -> None:
        """Raises as there."""
        await self._turn(self._wire.VolumeIoRequest(shutdown=self._wire.VolumeIoShutdown()))

    async def close(self) -> None:
        """Nothing more comes; without a shutdown before, that is a cancel there too."""
        self._call.cancel()

    async def _turn(self, request: Any) -> Any:
        import grpc

        with translated():
            try:
                await self._call.write(request)
                reply = await self._call.read()
            except asyncio.InvalidStateError:
                reply = grpc.aio.EOF
            if reply is grpc.aio.EOF:
                raise CLASSES.get((await self._call.code()).name, Gone)(
                    await self._call.details() or "it has ended"
                )
            return reply


class RemoteDevice:
    """A device there; the items in its slots are ours of them.

    Args:
        link: to the server.
        number: its own there.
        ours: a type and a number there to our number of it, None while we have none.
        changed: tells when ``ours`` has: a state may name what comes here only a moment later.
    """

    def __init__(
        self, link: Link, number: int, ours: Callable[[ItemType, int], int | None], changed: Signal
    ) -> None:
        self._link = link
        self._number = number
        self._ours = ours
        self._changed = changed

    async def watch(self) -> AsyncGenerator[DeviceState, None]:
        """As there. Raises as there."""
        request = self._link.wire.DeviceRequest(device=self._number)
        newest: Any = None

        async def follow() -> None:
            nonlocal newest
            async for state in self._link.stream("DeviceInfo", request):
                newest = state
                self._changed.tell()

        following = asyncio.ensure_future(follow())
        following.add_done_callback(lambda _: self._changed.tell())
        told, count = None, self._changed.count
        try:
            while True:
                if newest is not None and (now := self._state(newest)) != told:
                    told = now
                    yield now
                    continue
                if following.done():
                    following.result()
                    raise Gone(f"{self._link.where}: the other server has ended it")
                count = await self._changed.after(count)
        finally:
            following.cancel()

    async def change_mode(self, name: str) -> None:
        """As there. Raises as there."""
        request = self._link.wire.DeviceModeRequest(device=self._number, mode=name)
        await self._link.ask("DeviceChangeMode", request)

    def _state(self, given: Any) -> DeviceState:
        return DeviceState(
            tuple(self._slot(ItemType.CONSOLE, one) for one in given.consoles),
            tuple(self._slot(ItemType.VOLUME, one) for one in given.volumes),
            tuple(
                ModeState(one.name, one.depends if one.HasField("depends") else None, one.available)
                for one in given.modes
            ),
            given.current_mode if given.HasField("current_mode") else None,
        )

    def _slot(self, kind: ItemType, one: Any) -> Slot:
        return Slot(one.name, self._ours(kind, one.id) if one.HasField("id") else None)


def read_target(one: Any) -> Target:
    """A target, as the wire has it."""
    return Target(
        one.name,
        one.readable,
        one.writable,
        one.seekable,
        one.size if one.HasField("size") else None,
        one.blocksize if one.HasField("blocksize") and one.blocksize else None,
    )


@asynccontextmanager
async def linked(uri: str, token: str, wire: Wire, ca: bytes | None = None) -> AsyncIterator[Link]:
    """A connection to another server, for the length of a ``with``."""
    import grpc

    scheme, _, host = uri.partition("://")
    if scheme == "https":
        channel = grpc.aio.secure_channel(host, grpc.ssl_channel_credentials(ca), options=KEEPALIVE)
    else:
        channel = grpc.aio.insecure_channel(host, options=KEEPALIVE)
    try:
        yield Link(channel, wire, token, uri)
    finally:
        await channel.close()
