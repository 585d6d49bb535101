"""Browsers that listen: each has a queue of its own, and one that does not keep up is let go."""

import asyncio
from collections.abc import Iterable

from aiohttp import web

QUEUE_MAX = 4000
LISTENERS_MAX = 100
PING_S = 20
SEND_S = 30
FRAME_BYTES_MAX = 4096


class Listeners:
    """All who get the same frames."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str | None]] = set()

    def tell(self, frame: str) -> None:
        """Queue a frame for everybody; never waits."""
        for queue in list(self._queues):
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)

    def close(self) -> None:
        """Let everybody go."""
        for queue in self._queues:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def attend(self, request: web.Request, first: Iterable[str] = ()) -> web.StreamResponse:
        """Upgrade a request and serve it until it ends; what it sends is thrown away.

        Args:
            request: with ``Sec-WebSocket-Key``.
            first: frames that only this one gets.
        """
        if len(self._queues) >= LISTENERS_MAX:
            raise web.HTTPServiceUnavailable(text="Too many listen already.\n")
        wanted = request.headers.get("Sec-WebSocket-Protocol", "").split(",")[0].strip()
        socket = web.WebSocketResponse(
            heartbeat=PING_S,
            max_msg_size=FRAME_BYTES_MAX,
            compress=False,
            protocols=(wanted,) if wanted.isascii() and wanted.isprintable() and wanted else (),
        )
        queue: asyncio.Queue[str | None] = asyncio.Queue(QUEUE_MAX)
        for frame in first:
            queue.put_nowait(frame)
        self._queues.add(queue)  # now, so that nothing is lost between the two
        try:
            await socket.prepare(request)
            sender = asyncio.create_task(_send(socket, queue))
            try:
                async for _ in socket:
                    pass
            finally:
                sender.cancel()
        finally:
            self._queues.discard(queue)
        return socket


async def _send(socket: web.WebSocketResponse, queue: "asyncio.Queue[str | None]") -> None:
    try:
        while (frame := await queue.get()) is not None:
            async with asyncio.timeout(SEND_S):
                await socket.send_str(frame)
    except (OSError, RuntimeError):  # it is gone; RuntimeError: it is closing. TimeoutError is an OSError
        pass
    await socket.close()
