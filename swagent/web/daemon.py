"""The installer in its own process, over the daemon's sockets."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

from swagent.errors import NotAcknowledged, TransportError
from swagent.ipc import ChildCommand, ControlClient, Message, Notification, Origin, Progress, Type
from swagent.ipc.messages import MESSAGE_BYTES, PROGRESS_ACK, PROGRESS_BYTES, unpack, unpack_progress

from .link import Facts

LINE_BYTES_MAX = 4 * 1024 * 1024
PIECE_BYTES = 64 * 1024
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
        self._drains: set[asyncio.Task[None]] = set()

    async def install(self, name: str, *, decides: bool) -> socket.socket:
        """A connection that takes the bytes of an update; what comes back on it is told on the other sockets too."""
        order: dict[str, object] = {"do": "install", "name": name, "origin": "webserver", "info": name}
        if decides:
            order["ask"] = ["user-data"]
        with await asyncio.to_thread(self._client.ours, order) as connection:
            ours, kept = (socket.socket(fileno=os.dup(connection.fileno())) for _ in range(2))
        for each in (ours, kept):
            each.setblocking(False)
        task = asyncio.create_task(_drain(kept))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)
        return ours

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

    async def answer(self, question: str, answer: str) -> None:
        """Answer a question of the update that runs."""
        await asyncio.to_thread(
            self._client.ask_ours, {"do": "answer", "question": question, "answer": answer}
        )

    async def fetch(self, url: str) -> None:
        """Tell the downloader."""
        order = json.dumps({"url": url}).encode()
        number = ChildCommand.SET_DOWNLOAD_URL
        await asyncio.to_thread(self._client.command, Origin.DOWNLOADER, number, order)

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


async def _drain(sock: socket.socket) -> None:
    """Read until the daemon hangs up: an update may have questions for as long as somebody holds its connection."""
    with sock, suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(sock, PIECE_BYTES):
            pass


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
