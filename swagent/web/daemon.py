"""The installer in its own process, over the daemon's sockets."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

from swagent.errors import NotAcknowledged, TransportError
from swagent.ipc import ControlClient, Message, Notification, Origin, Progress, Request, Type
from swagent.ipc.messages import MESSAGE_BYTES, PROGRESS_ACK, PROGRESS_BYTES, unpack, unpack_progress

from .link import Facts

LINE_BYTES_MAX = 4 * 1024 * 1024
REPLY_S = 60.0
RESTART_S = 600.0
_ORDERS = {"device": "state", "image": "inspect"}


class Daemon:
    """An ``Installer``: swagent's daemon.

    Args:
        control: path of its control socket.
        progress: of its progress socket.
        events: of the socket that tells what ``--json`` does.
    """

    def __init__(self, control: str, progress: str, events: str) -> None:
        self._client = ControlClient(control, timeout_s=REPLY_S)
        self._control = control
        self._progress = progress
        self._events = events

    async def install(self, name: str) -> socket.socket:
        """A connection that takes the bytes of an update."""
        request = Request(Origin.WEBSERVER, info=name)
        with await asyncio.to_thread(self._client.install, request) as upload:
            taken = socket.socket(fileno=os.dup(upload.fileno()))
        taken.setblocking(False)
        return taken

    async def post_update(self) -> bool:
        """Have the post-update command run."""
        try:
            await asyncio.to_thread(partial(self._client.post_update, timeout_s=RESTART_S))
        except NotAcknowledged:
            return False
        return True

    async def cancel(self) -> None:
        """Stop the update that runs at its next checkpoint."""
        await asyncio.to_thread(self._client.ask_ours, {"do": "cancel"})

    async def ask(self, question: str, data: bytes = b"") -> Facts:
        """How it stands, or what the update would do whose head is given."""
        return await asyncio.to_thread(self._ask, _ORDERS[question], data)

    def _ask(self, order: str, data: bytes) -> Facts:
        with self._client.ours({"do": order}, patience_s=REPLY_S) as connection:
            if data:
                with suppress(TransportError):  # it may know enough before it has read all
                    connection.send(data)
                    connection.end()
            for answer in connection.events():
                return answer
        raise TransportError("the daemon hung up without an answer")

    async def progress(self) -> AsyncIterator[Progress]:
        """SWUpdate's progress."""
        async for data in _packets(self._progress, PROGRESS_BYTES, greeting=len(PROGRESS_ACK)):
            yield unpack_progress(data)

    async def notices(self) -> AsyncIterator[Notification]:
        """Lines of the log."""
        order = Message(Type.NOTIFY_STREAM).pack()
        async for data in _packets(self._control, MESSAGE_BYTES, order=order, greeting=MESSAGE_BYTES):
            message = unpack(data)
            if message.type == Type.NOTIFY_STREAM:
                yield Notification.unpack(message.body)

    async def events(self, connected: Callable[[], None]) -> AsyncIterator[Facts]:
        """The lines of its event socket."""
        reader, writer = await _connect(self._events)
        try:
            connected()
            while line := await reader.readline():
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event
        except (OSError, ValueError) as exc:  # ValueError: no JSON, or a line too long
            raise TransportError(f"{self._events}: {exc}") from exc
        finally:
            writer.close()


async def _packets(path: str, size: int, *, order: bytes = b"", greeting: int = 0) -> AsyncIterator[bytes]:
    reader, writer = await _connect(path)
    try:
        writer.write(order)
        await reader.readexactly(greeting)
        while True:
            yield await reader.readexactly(size)
    except (OSError, EOFError) as exc:
        raise TransportError(f"{path}: the daemon hung up") from exc
    finally:
        writer.close()


async def _connect(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(path, limit=LINE_BYTES_MAX)
    except OSError as exc:
        raise TransportError(f"cannot connect to {path}: {exc.strerror}") from exc
