"""An installer that only counts, for faults and speed; and a web server in front of it."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from swagent.errors import NotAcknowledged, SwagentError, TransportError
from swagent.ipc import Notification, Progress
from swagent.web.link import Facts
from swagent.web.options import WebOptions
from swagent.web.server import IDLE_S, WebServer

News = TypeVar("News")
OPEN = WebOptions(host="127.0.0.1", port=0, anonymous=True)


class Double:
    """Plays the installer.

    Attributes:
        refusal: what an install is refused with.
        leaves_at: it stops reading after so many bytes.
        uploads: name, number of bytes and SHA-256 of each that ended.
        restarts: how often the command for after an update was run.
    """

    def __init__(self) -> None:
        self.refusal: SwagentError | None = None
        self.leaves_at: int | None = None
        self.away = False
        self.post_update_works = True
        self.uploads: list[tuple[str, int, str]] = []
        self.restarts = 0
        self.answers: list[str] = []
        self.fetched: list[str] = []
        self.asked: list[tuple[str, bytes]] = []
        self.facts: Facts | SwagentError = {}
        self.ended = asyncio.Event()
        self._progress: asyncio.Queue[Progress] = asyncio.Queue()
        self._notices: asyncio.Queue[Notification] = asyncio.Queue()
        self._events: asyncio.Queue[Facts] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def install(self, name: str, *, decides: bool) -> socket.socket:
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        task = asyncio.create_task(self._read(name, theirs))
        self._tasks.add(task)
        return ours

    async def _read(self, name: str, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        total, digest = 0, hashlib.sha256()
        with sock:
            while piece := await loop.sock_recv(sock, 256 * 1024):
                total += len(piece)
                digest.update(piece)
                if self.leaves_at is not None and total >= self.leaves_at:
                    break
        self.uploads.append((name, total, digest.hexdigest()))
        self.ended.set()

    async def post_update(self) -> bool:
        self.restarts += 1
        return self.post_update_works

    async def cancel(self) -> None:
        raise NotAcknowledged("no update can be cancelled now")

    async def answer(self, question: str, answer: str) -> None:
        if question != "q1":
            raise NotAcknowledged("there is no such question, or it has been answered")
        self.answers.append(answer)

    async def fetch(self, url: str) -> None:
        if not url:
            raise NotAcknowledged("there is no such child process")
        self.fetched.append(url)

    async def ask(self, question: str, data: bytes = b"") -> Facts:
        self.asked.append((question, data))
        if isinstance(self.facts, SwagentError):
            raise self.facts
        return self.facts

    def say(self, *news: Progress | Notification | Facts) -> None:
        """Tell whoever follows."""
        for each in news:
            if isinstance(each, Progress):
                self._progress.put_nowait(each)
            elif isinstance(each, Notification):
                self._notices.put_nowait(each)
            else:
                self._events.put_nowait(each)

    async def progress(self) -> AsyncIterator[Progress]:
        while True:
            yield await self._next(self._progress)

    async def notices(self) -> AsyncIterator[Notification]:
        while True:
            yield await self._next(self._notices)

    async def events(self, connected: Callable[[], None]) -> AsyncIterator[Facts]:
        connected()
        while True:
            yield await self._next(self._events)

    async def _next(self, queue: "asyncio.Queue[News]") -> News:
        if self.away:
            raise TransportError("nobody is there")
        return await queue.get()


@asynccontextmanager
async def serving(
    double: Double, options: WebOptions = OPEN, *, idle_s: float = IDLE_S
) -> AsyncIterator[str]:
    """A web server in front of the double; its address. Nothing may have gone wrong in it."""
    wrong: list[str] = []

    def log(level: str, line: str) -> None:
        if level == "error":
            wrong.append(line)

    server = WebServer(options, double, log, idle_s=idle_s)
    address = server.listen()
    running = asyncio.create_task(server.run())
    try:
        yield address.rstrip("/")
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert not wrong, "\n".join(wrong)
