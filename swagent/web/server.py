"""The web server: who asks what, and what is answered."""

import asyncio
import contextlib
import json
import logging
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from swagent.clock import SystemClock
from swagent.errors import DeviceError, SwagentError, TransportError
from swagent.ipc import Notification, Progress
from swagent.net.tls import server_context

from . import classic
from .board import Board
from .files import Folder, Page
from .guard import Guard
from .link import Facts, Installer
from .listeners import Listeners
from .options import WebOptions
from .upload import InstallerLeft, Upload, begin

IMAGE_HEAD_BYTES_MAX = 9 * 1024 * 1024
"""Of a file, to see what is in it: sw-description and its signature, with the usual limit of each."""
IMAGE_HEAD_S = 60
HEAD_STEP = 16
"""How much more of a file is asked for when its head was too short."""
VERDICT_S = 3
IDLE_S = 30
"""How long a connection may be silent before its first request, and between two."""
CONNECTIONS_MAX = 256
BACKLOG = 128
SHUTDOWN_S = 2
RETRY_S = (0.2, 5.0)
TELL_S = 0.2
_ASKING_MAX = 2
_T = TypeVar("_T")


class WebServer:
    """Serves one device.

    Args:
        options: how.
        installer: whom it serves.
        log: hears of what goes wrong: level and line.
        idle_s: how long a connection may last without a whole request's head.

    Raises:
        SettingsError: passwords, tokens or a certificate cannot be used.
    """

    def __init__(
        self,
        options: WebOptions,
        installer: Installer,
        log: Callable[[str, str], None],
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        self._options = options
        self._idle_s = idle_s
        self._installer = installer
        self._log = log
        self._clock = SystemClock()
        self._guard = Guard(options, self._clock.monotonic_s)
        self._files: Page | Folder = Folder(options.root, listing=options.listing) if options.root else Page()
        self._tls = (
            server_context(
                options.certificate,
                options.key,
                options.client_ca,
                required=not (options.passwords or options.tokens or options.anonymous),
            )
            if options.certificate
            else None
        )
        self._classic, self._page = Listeners(), Listeners()
        self._translator = classic.Translator()
        self._board = Board()
        self._here = False
        self._upload: Upload | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self._told_s = 0.0
        self._verdict = asyncio.Event()
        self._verdict_text = ""
        self._asking = asyncio.Semaphore(_ASKING_MAX)
        self._tasks: set[asyncio.Task[object]] = set()

    def listen(self) -> str:
        """Open the port, which may take rights that are dropped before the first byte is read; returns the address.

        Raises:
            DeviceError: it cannot be opened.
        """
        host, port = self._options.host, self._options.port
        v6 = ":" in host or (not host and socket.has_dualstack_ipv6())
        try:
            self._socket = socket.create_server(
                (host, port),
                family=socket.AF_INET6 if v6 else socket.AF_INET,
                backlog=BACKLOG,
                dualstack_ipv6=v6 and not host,
            )
        except OSError as exc:
            place = f"{host or '*'}:{port}"
            raise DeviceError(
                f"cannot listen at {place}: {exc.strerror}", path=place, errno=exc.errno
            ) from exc
        self._socket.setblocking(False)
        shown = f"[{host}]" if ":" in host else host or "*"
        return f"http{'s' if self._tls else ''}://{shown}:{self._socket.getsockname()[1]}/"

    async def run(self) -> None:
        """Serve at the open port until cancelled."""
        for name in ("aiohttp.access", "aiohttp.server", "aiohttp.web", "aiohttp.websocket", "asyncio"):
            logging.getLogger(name).handlers = [_Forward(self._log)]
            logging.getLogger(name).propagate = False
        warnings.filterwarnings(
            "ignore", module="aiohttp"
        )  # what it thinks of headers, kept for each of them
        app = web.Application(middlewares=[self._guard.middleware], client_max_size=64 * 1024)
        app.on_response_prepare.append(self._guard.on_prepare)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=self._idle_s,
            lingering_time=SHUTDOWN_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        limited = _limited(cast(web.Server, runner.server), self._log)
        server = await asyncio.get_running_loop().create_server(limited, sock=self._socket, ssl=self._tls)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(self._installer.progress, self._take_progress))
                group.create_task(self._follow(self._installer.notices, self._take_notice))
                group.create_task(self._follow(self._events, self._take_event))
        finally:
            server.close()
            self._classic.close()
            self._page.close()
            await runner.cleanup()

    # -- news

    async def _follow(self, source: Callable[[], AsyncIterator[_T]], take: Callable[[_T], None]) -> None:
        """Hand on what an installer says; when it goes away, wait for it to come back."""
        wait_s = RETRY_S[0]
        while True:
            try:
                async for news in source():
                    wait_s = RETRY_S[0]
                    take(news)
            except TransportError as exc:
                self._log("debug", exc.message)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_S[1])

    async def _events(self) -> AsyncIterator[Facts]:
        try:
            async for event in self._installer.events(partial(self._set_here, True)):
                yield event
        finally:
            self._set_here(False)

    def _take_progress(self, news: Progress) -> None:
        for frame in self._translator.frames(news):
            self._classic.tell(frame)
        ours = news.origin == classic.WEBSERVER
        if news.status == classic.SUCCESS and ours and self._options.post_update:
            self._spawn(self._post_update())

    def _take_notice(self, notice: Notification) -> None:
        self._classic.tell(classic.message(notice))

    def _take_event(self, event: Facts) -> None:
        self._board.pin(event)
        self._page.tell(json.dumps(event))
        if event.get("event") == "update.started":
            self._await_verdict()
        elif event.get("event") == "update.verdict":
            error = event.get("error")
            self._verdict_text = str(error.get("message", "")) if isinstance(error, dict) else ""
            self._verdict.set()

    def _set_here(self, here: bool) -> None:
        if here is not self._here:
            self._here = here
            self._page.tell(json.dumps({"page": "installer", "here": here}))

    async def _post_update(self) -> bool:
        try:
            return await self._installer.post_update()
        except SwagentError as exc:
            self._log("warn", exc.message)
            return False

    def _spawn(self, work: Coroutine[None, None, object]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- requests

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """By the end of the path: SWUpdate's server is asked below any folder too."""
        path = request.path
        if "Sec-WebSocket-Key" in request.headers and request.method == "GET":
            if path.endswith("/api/events"):
                return await self._page.attend(request, [self._snapshot()])
            return await self._classic.attend(request)
        for end, method, answer in (
            ("/upload", "POST", self._take_upload),
            ("/restart", "POST", self._restart),
            ("/api/image", "POST", self._look),
            ("/api/cancel", "POST", self._cancel),
            ("/api/answer", "POST", self._answer_question),
            ("/api/fetch", "POST", self._fetch),
            ("/api/device", "GET", self._device),
        ):
            if path.endswith(end):
                if request.method != method:
                    raise web.HTTPMethodNotAllowed(request.method, [method], text="Method Not Allowed\n")
                return await answer(request)
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"], text="Method Not Allowed\n")
        response = await self._files.answer(request)
        if response.content_type == "text/html":
            self._guard.welcome(request, response)
        return response

    async def _take_upload(self, request: web.Request) -> web.StreamResponse:
        try:
            upload = await begin(
                request, silence_s=self._options.silence_s, max_bytes=self._options.upload_max_bytes
            )
            to = await self._installer.install(upload.name, decides=request.query.get("decides") == "yes")
        except SwagentError as exc:
            self._log("warn", f"an upload was not taken: {exc.message}")
            why = f"{exc.message}\n" + (f"{exc.hint}\n" if exc.hint else "")
            return web.Response(status=500, text=f"Failed to queue command\n{why}")
        self._upload = upload
        self._await_verdict()
        forwarding = self._forwarding = asyncio.create_task(self._forward(upload, to))
        try:
            await forwarding
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                forwarding.cancel()
                raise
            return web.Response(status=409, text="The update was cancelled.\n")
        except InstallerLeft:
            return web.Response(status=422, text=f"{await self._reason()}\n")
        except TransportError as exc:
            self._log("warn", f"{upload.name}: {exc.message} after {upload.done_bytes} bytes")
            return web.Response(status=400)  # nobody reads it
        finally:
            if self._upload is upload:  # else the next one has begun
                self._upload = self._forwarding = None
                self._tell_upload()
        response = web.Response(text=f"Ok, {upload.name} - {upload.done_bytes} bytes.\r\n")
        response.force_close()
        return response

    async def _forward(self, upload: Upload, to: socket.socket) -> None:
        with to:
            self._tell_upload()
            try:
                await upload.forward(
                    to,
                    silence_s=self._options.silence_s,
                    max_bytes=self._options.upload_max_bytes,
                    tell=self._tell_progress,
                )
            finally:  # early, when it was cut: then the archive has no end
                with contextlib.suppress(OSError):
                    to.shutdown(socket.SHUT_WR)

    def _await_verdict(self) -> None:
        self._verdict.clear()
        self._verdict_text = ""

    async def _reason(self) -> str:
        """Why the installer stopped reading."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERDICT_S):
                await self._verdict.wait()
        return f"Installation failed: {self._verdict_text}" if self._verdict_text else "Installation failed"

    def _tell_progress(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._tell_upload()

    def _tell_upload(self) -> None:
        self._page.tell(json.dumps({"page": "upload", "upload": self._upload_facts()}))

    def _upload_facts(self) -> Facts | None:
        upload = self._upload
        if upload is None:
            return None
        return {"name": upload.name, "bytes": upload.done_bytes, "total": upload.total_bytes}

    async def _restart(self, request: web.Request) -> web.StreamResponse:
        if await self._post_update():
            return web.Response(status=201, text="Device will reboot now.\n")
        return web.Response(status=500, text="Failed to queue command\n")

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._installer.cancel()
        except SwagentError as exc:
            if self._forwarding is None:
                return _fault(409, exc.message, exc.hint)
            self._forwarding.cancel()
        return web.json_response({})

    async def _answer_question(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        question, answer = str(form.get("question", "")), str(form.get("answer", ""))
        return await _done(self._installer.answer(question, answer))

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        return await _done(self._installer.fetch(str(form.get("url", ""))))

    async def _device(self, request: web.Request) -> web.StreamResponse:
        facts = await self._ask("device")
        return web.json_response(facts, status=503 if "error" in facts else 200)

    async def _look(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > IMAGE_HEAD_BYTES_MAX:
            return _fault(413, f"the head of a file has at most {IMAGE_HEAD_BYTES_MAX} bytes")
        if self._asking.locked():
            return _fault(503, "others are looking into files just now", "try again in a moment")
        size = request.query.get("size", "")
        async with self._asking:
            head = bytearray()
            try:
                async with asyncio.timeout(IMAGE_HEAD_S):
                    async for piece in request.content.iter_any():
                        head += piece
                        if len(head) > IMAGE_HEAD_BYTES_MAX:
                            return _fault(413, f"the head of a file has at most {IMAGE_HEAD_BYTES_MAX} bytes")
            except TimeoutError:
                return _fault(408, "the file came too slowly")
            facts = await self._ask("image", bytes(head))
        more = size.isascii() and size.isdecimal() and len(size) < 20 and int(size) > len(head)
        if more and facts.get("error", {}).get("class") == "ArchiveError":  # it may be well, and go on
            facts = {"more": HEAD_STEP * len(head)}
        return web.json_response(facts, status=422 if "error" in facts else 200)

    async def _ask(self, question: str, data: bytes = b"") -> Facts:
        try:
            return await self._installer.ask(question, data)
        except SwagentError as exc:
            return {"error": {"class": type(exc).__name__, "message": exc.message, "hint": exc.hint}}

    def _snapshot(self) -> str:
        return json.dumps(
            {
                "page": "snapshot",
                "title": self._options.title,
                "now": self._clock.now_s(),
                "here": self._here,
                "upload": self._upload_facts(),
                "events": self._board.events(),
            }
        )


class _Forward(logging.Handler):
    """Takes what aiohttp logs; the other side causes most of it, so it is no more than a line for those who look."""

    def __init__(self, log: Callable[[str, str], None]) -> None:
        super().__init__()
        self._tell = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        theirs = isinstance(error, (HttpProcessingError, OSError))  # a request that is none, or was cut
        level = "error" if record.levelno >= logging.ERROR and not theirs else "debug"
        self._tell(level, ascii(f"{record.getMessage()}{f': {error!r}' if error else ''}")[1:-1][:400])


async def _done(doing: Awaitable[None]) -> web.Response:
    try:
        await doing
    except SwagentError as exc:
        return _fault(409, exc.message, exc.hint)
    return web.json_response({})


def _fault(status: int, message: str, hint: str = "") -> web.Response:
    return web.json_response({"error": {"message": message, "hint": hint}}, status=status)


def _limited(server: web.Server, log: Callable[[str, str], None]) -> Callable[[], asyncio.BaseProtocol]:
    """Protocols for connections, as long as there are not too many."""

    def factory() -> asyncio.BaseProtocol:
        if len(server.connections) < CONNECTIONS_MAX:
            return server()
        log("debug", "a connection was closed: too many at once")
        return _Closed()

    return factory


class _Closed(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
