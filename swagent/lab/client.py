"""A client of any Boardswarm server: blocking, as command lines and tests want it (boardswarm §5)."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from swagent.errors import SettingsError

from . import errors
from .items import ItemType
from .remote import KEEPALIVE, error_of, read_target
from .service import REPLAY, REPLAY_FIRST, REPLAY_ONLY
from .volumes import Target
from .wire import EXTRA_SERVICE, SERVICE, Method, Wire, extra, head

PIECE_BYTES = 3 * 1024 * 1024
READ_BYTES = 1024 * 1024
_BLOCK_BYTES = 4096
_REFUSED_S = 0.5
"""How long an error may come behind the metadata of a call."""


class ItemInfo(NamedTuple):
    """An item, as a list has it."""

    number: int
    name: str
    instance: str | None


class DeviceInfo(NamedTuple):
    """A device: names to numbers of consoles and volumes, None where nothing fills the slot.

    Attributes:
        modes: name to the mode it depends on, and whether it can be entered.
        mode: the present one, None when nobody knows.
    """

    consoles: Mapping[str, int | None]
    volumes: Mapping[str, int | None]
    modes: Mapping[str, tuple[str | None, bool]]
    mode: str | None


class LabClient:
    """A connection to one server; use it with ``with``.

    Args:
        uri: ``http://host:port`` for cleartext, ``https://…`` for TLS.
        token: a JSON Web Token, "" for none, or what gives the one that counts now.
        ca: PEM of the authorities to believe, None for the system's.

    Raises:
        SettingsError: ``uri`` is none of these.
    """

    def __init__(self, uri: str, token: str | Callable[[], str] = "", *, ca: bytes | None = None) -> None:
        from .server import needs_grpc

        needs_grpc()
        import grpc

        self._wire = head()
        scheme, host = address_of(uri)
        self._token = token
        options = [("grpc.max_receive_message_length", 16 * 1024 * 1024), *KEEPALIVE]
        if scheme == "https":
            self._channel = grpc.secure_channel(host, grpc.ssl_channel_credentials(ca), options)
        else:
            self._channel = grpc.insecure_channel(host, options)
        self._calls = {method.name: self._call(method, self._wire, SERVICE) for method in self._wire.methods}
        self._calls |= {method.name: self._call(method, extra(), EXTRA_SERVICE) for method in extra().methods}

    def __enter__(self) -> "LabClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self._channel.close()

    # -- items

    def logins(self) -> list[tuple[str, str, str]]:
        """The server's issuers: description, address, client."""
        with _translated():
            found = self._unary("LoginInfo", self._wire.message("google.protobuf.Empty")())
        return [(one.description, one.oidc.url, one.oidc.clientId) for one in found.info]

    def items(self, kind: ItemType) -> list[ItemInfo]:
        """The items of a type."""
        return _items(self._unary("List", self._wire.ItemTypeRequest(type=int(kind))))

    def find(self, kind: ItemType, word: str) -> int:
        """The number of an item: a number is one itself, else ``name`` or ``name@instance``.

        Raises:
            LabError: there is none, or more than one.
        """
        if word.isascii() and word.isdecimal():
            return int(word)
        name, _, instance = word.partition("@")
        fitting = [
            item for item in self.items(kind) if item.name == name and (item.instance or "") == instance
        ]
        if not fitting:
            raise errors.NotThere(
                f"there is no {kind.name.lower()} {word!r}", hint="`swagent lab list` shows them"
            )
        if len(fitting) > 1:
            numbers = ", ".join(str(item.number) for item in fitting)
            raise errors.NotNow(
                f"{len(fitting)} are called {word!r}", hint=f"say which by its number: {numbers}"
            )
        return fitting[0].number

    def monitor(self, kind: ItemType) -> Iterator[tuple[list[ItemInfo], int | None]]:
        """What is there, then what comes (items) and what goes (a number), until the server ends it."""
        with _translated():
            for event in self._stream("Monitor", self._wire.ItemTypeRequest(type=int(kind))):
                if event.WhichOneof("event") == "remove":
                    yield [], event.remove
                else:
                    yield _items(event.add), None

    def properties(self, kind: ItemType, number: int) -> dict[str, str]:
        """The properties of an item, sorted."""
        found = self._unary("ItemProperties", self._wire.ItemPropertiesRequest(type=int(kind), item=number))
        return dict(sorted((one.key, one.value) for one in found.property))

    # -- devices

    def device(self, number: int) -> Iterator[DeviceInfo]:
        """How a device is, and again after each change."""
        with _translated():
            for state in self._stream("DeviceInfo", self._wire.DeviceRequest(device=number)):
                yield DeviceInfo(
                    {one.name: one.id if one.HasField("id") else None for one in state.consoles},
                    {one.name: one.id if one.HasField("id") else None for one in state.volumes},
                    {
                        one.name: (one.depends if one.HasField("depends") else None, one.available)
                        for one in state.modes
                    },
                    state.current_mode if state.HasField("current_mode") else None,
                )

    def change_mode(self, device: int, mode: str) -> None:
        """Have a device go through the steps of a mode; returns when it has."""
        self._unary("DeviceChangeMode", self._wire.DeviceModeRequest(device=device, mode=mode))

    def lease(
        self, device: int, *, seconds: float, reason: str = "", force: bool = False
    ) -> tuple[str, str, float]:
        """Have a device for a while: owner, reason, and the end in seconds since the epoch.

        Raises:
            LabError: it is somebody else's, or this server has no leases (NotSupported).
        """
        request = extra().LeaseRequest(device=device, seconds=seconds, reason=reason, force=force)
        found = self._unary("Lease", request)
        return found.owner, found.reason, found.until

    def release(self, device: int, *, force: bool = False) -> None:
        """Give a device back. Raises as ``lease``."""
        self._unary("Release", extra().ReleaseRequest(device=device, force=force))

    def change_actuator(self, actuator: int, parameters: Mapping[str, object]) -> None:
        """Switch an actuator."""
        request = self._wire.ActuatorModeRequest(actuator=actuator)
        request.parameters.update(parameters)
        self._unary("ActuatorChangeMode", request)

    # -- consoles

    def configure(self, console: int, parameters: Mapping[str, object]) -> None:
        """Set parameters of a console."""
        request = self._wire.ConsoleConfigureRequest(console=console)
        request.parameters.update(parameters)
        self._unary("ConsoleConfigure", request)

    def output(
        self, console: int, *, replay: bool = False, begun: Callable[[], None] = lambda: None
    ) -> Iterator[bytes]:
        """What a board says, with ``replay`` from before too; ``begun`` is called when the server listens for us."""
        request = self._wire.ConsoleOutputRequest(console=console)
        with _translated():
            call = self._stream("ConsoleStreamOutput", request, [(REPLAY, REPLAY_FIRST)] if replay else [])
            call.initial_metadata()
            begun()
            for piece in call:
                yield piece.data

    def remembered(self, console: int) -> Iterator[bytes]:
        """What a board said before, as far as the server remembers.

        Raises:
            LabError: the server does not remember (NotSupported), or the console cannot be watched.
        """
        request = self._wire.ConsoleOutputRequest(console=console)
        with _translated():
            call = self._stream("ConsoleStreamOutput", request, [(REPLAY, REPLAY_ONLY)])
            if (REPLAY, REPLAY_ONLY) not in [(key, value) for key, value in call.initial_metadata()]:
                ended = threading.Event()
                if call.add_callback(ended.set) and not ended.wait(_REFUSED_S):
                    call.cancel()
                    raise errors.NotSupported("this server does not remember what boards said")
            for piece in call:
                yield piece.data

    def type(self, console: int, pieces: Iterable[bytes]) -> None:
        """Type all of these; returns when the last one is with the board."""

        def requests() -> Iterator[Any]:
            yield self._wire.ConsoleInputRequest(console=console)
            for piece in pieces:
                yield self._wire.ConsoleInputRequest(data=piece)

        self._unary("ConsoleStreamInput", requests())

    # -- volumes

    def targets(self, volume: int) -> tuple[list[Target], bool]:
        """The targets of a volume, and whether these are all."""
        found = self._unary("VolumeInfo", self._wire.VolumeRequest(volume=volume))
        return [read_target(one) for one in found.target], found.exhaustive

    def commit(self, volume: int) -> None:
        """Have the board use what was written."""
        self._unary("VolumeCommit", self._wire.VolumeRequest(volume=volume))

    def erase(self, volume: int, target: str) -> None:
        """Erase a target."""
        self._unary("VolumeErase", self._wire.VolumeEraseRequest(volume=volume, target=target))

    def write(
        self,
        volume: int,
        target: str,
        data: BinaryIO,
        *,
        length_bytes: int | None = None,
        offset_bytes: int = 0,
        progress: Callable[[int], None] = lambda n_bytes: None,
    ) -> int:
        """Write to a target, from ``offset_bytes`` on, and finish; how many bytes it was.

        Args:
            volume: its number.
            target: its name.
            data: what to write.
            length_bytes: how many there are, None when nobody knows.
            offset_bytes: where the first byte goes.
            progress: told of each piece that the server has written.

        Raises:
            LabError: it cannot be written; nothing may be believed of the target then.
        """
        return self.write_pieces(
            volume, target, _in_order(data, offset_bytes), length_bytes=length_bytes, progress=progress
        )

    def write_pieces(
        self,
        volume: int,
        target: str,
        pieces: Iterable[tuple[int, bytes]],
        *,
        length_bytes: int | None = None,
        progress: Callable[[int], None] = lambda n_bytes: None,
    ) -> int:
        """As ``write``, of pieces that each say where they go; those that follow each other go together."""
        with self._io(volume, target, length_bytes) as (found, ask, replies):
            if not found.writable:
                raise errors.NotSupported(f"{target!r} cannot be written")
            block_bytes = found.block_bytes or _BLOCK_BYTES
            waiting = done = expected = 0

            def take() -> None:
                nonlocal waiting, done
                written = next(replies).write.written
                waiting -= 1
                done += written
                progress(written)

            for offset, data in _gathered(pieces, max(PIECE_BYTES // block_bytes, 1) * block_bytes):
                if offset != expected and not found.seekable:
                    raise errors.NotSupported(f"{target!r} can only be written from its first byte on")
                ask(self._wire.VolumeIoRequest(write=self._wire.VolumeIoWrite(data=data, offset=offset)))
                expected = offset + len(data)
                waiting += 1
                if waiting > 2:
                    take()
            while waiting:
                take()
            ask(self._wire.VolumeIoRequest(shutdown=self._wire.VolumeIoShutdown()))
            next(replies)
            return done

    def read(
        self,
        volume: int,
        target: str,
        out: BinaryIO,
        *,
        length_bytes: int | None = None,
        offset_bytes: int = 0,
        progress: Callable[[int], None] = lambda n_bytes: None,
    ) -> int:
        """Read from a target to its end, or at most ``length_bytes``; how many bytes it was.

        Raises:
            LabError: it cannot be read.
        """
        with self._io(volume, target, None) as (found, ask, replies):
            if not found.readable or (offset_bytes and not found.seekable):
                raise errors.NotSupported(
                    f"{target!r} cannot be read {'there' if found.readable else ''}".rstrip()
                )
            done = 0
            while length_bytes is None or done < length_bytes:
                wanted = READ_BYTES if length_bytes is None else min(READ_BYTES, length_bytes - done)
                request = self._wire.VolumeIoRead(length=wanted, offset=offset_bytes + done)
                ask(self._wire.VolumeIoRequest(read=request))
                data = next(replies).read.data
                if not data:
                    break
                out.write(data)
                done += len(data)
                progress(len(data))
            return done

    @contextmanager
    def _io(
        self, volume: int, target: str, length_bytes: int | None
    ) -> Iterator[tuple[Target, Callable[[Any], None], Iterator[Any]]]:
        """A target in use: what it is, what sends a request, and the replies in order."""
        wire = self._wire
        asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        asked.put(
            wire.VolumeIoRequest(
                target=wire.VolumeIoTarget(volume=volume, target=target, length=length_bytes)
            )
        )
        with _translated():
            call = self._calls["VolumeIo"](iter(asked.get, None), metadata=self._metadata)
            ended = threading.Event()
            try:
                yield read_target(next(call).target.target), asked.put, call
                asked.put(None)
                for _ in call:  # the server lets go of the target, and its last word counts
                    pass
                ended.set()
            finally:
                asked.put(None)
                if not ended.is_set():
                    call.cancel()

    # -- calls

    def _call(self, method: Method, wire: Wire, service: str) -> Any:
        makers = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
            (True, True): self._channel.stream_stream,
        }
        return makers[method.streams_requests, method.streams_replies](
            f"/{service}/{method.name}",
            request_serializer=wire.message(method.request).SerializeToString,
            response_deserializer=wire.message(method.reply).FromString,
        )

    @property
    def _metadata(self) -> list[tuple[str, str]]:
        token = self._token if isinstance(self._token, str) else self._token()
        return [("authorization", f"Bearer {token.strip()}")] if token else []

    def _unary(self, name: str, request: Any) -> Any:
        with _translated():
            return self._calls[name](request, metadata=self._metadata)

    def _stream(self, name: str, request: Any, more: list[tuple[str, str]] | None = None) -> Any:
        return self._calls[name](request, metadata=[*self._metadata, *(more or [])])


def read_token(path: str) -> str:
    """The token in the first line of a file.

    Raises:
        SettingsError: it cannot be read, or holds none.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            token = file.readline(64 * 1024).strip()
    except OSError as exc:
        raise SettingsError(f"cannot read the token {path}: {exc.strerror}") from exc
    if len(token) < 16:
        raise SettingsError(f"there is no token in {path}")
    return token


@contextmanager
def _translated() -> Iterator[None]:
    import grpc

    try:
        yield
    except grpc.RpcError as exc:
        raise error_of(exc) from exc
    except StopIteration as exc:
        raise errors.Gone("the server ended the call too early") from exc


def _in_order(data: BinaryIO, offset_bytes: int) -> Iterator[tuple[int, bytes]]:
    """A file's bytes, and where each piece goes."""
    while piece := data.read(PIECE_BYTES):
        yield offset_bytes, piece
        offset_bytes += len(piece)


def _gathered(pieces: Iterable[tuple[int, bytes]], n_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The same, with what follows each other in pieces of ``n_bytes``; pipes and maps give small ones."""
    begin, kept = 0, bytearray()
    for offset, data in pieces:
        if not kept and len(data) == n_bytes:
            yield offset, data  # nothing is copied
            continue
        if kept and offset != begin + len(kept):
            yield begin, bytes(kept)
            kept.clear()
        if not kept:
            begin = offset
        kept += data
        while len(kept) >= n_bytes:
            with memoryview(kept) as view:
                whole = bytes(view[:n_bytes])
            yield begin, whole
            del kept[:n_bytes]
            begin += n_bytes
    if kept:
        yield begin, bytes(kept)


def _items(given: Any) -> list[ItemInfo]:
    return [
        ItemInfo(one.id, one.name, one.instance if one.HasField("instance") else None) for one in given.item
    ]


def address_of(uri: str) -> tuple[str, str]:
    """Scheme, and host with port, of a server.

    Raises:
        SettingsError: it is no address of one.
    """
    scheme, separator, host = uri.partition("://")
    host = host.rstrip("/")
    if not separator or scheme not in ("http", "https") or not host or "/" in host:
        raise SettingsError(
            f"{uri[:80]!r} is no address of a lab", hint="write http://host:6683 or https://host"
        )
    return scheme, host


def size_of(file: BinaryIO) -> int | None:
    """How many bytes a file has, None of what is not seekable."""
    try:
        return os.fstat(file.fileno()).st_size if file.seekable() else None
    except OSError:
        return None
