"""The back office's servers: doors that aiohttp opens, in a thread with a loop of its own.

What is behind a door blocks (databases, files, signatures) and runs in a pool of threads, which is bounded, as are
bodies and the time that they may take.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import DeviceError

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import web

LOOPBACK = "127.0.0.1"
BODY_MAX_BYTES = 3 * 1024 * 1024
BODY_S = 30.0
IDLE_S = 30.0
THREADS = 8
_CLOSING_S = 5.0

Log = Callable[[str, str], None]


class Door(NamedTuple):
    """Where something is served.

    Attributes:
        app: an ``aiohttp.web.Application``.
        port: 0 for any that is free.
        shared: whether other processes may listen at the same port, to share the work.
    """

    app: "web.Application"
    host: str = LOOPBACK
    port: int = 0
    tls: "SSLContext | None" = None
    shared: bool = False


class Service:
    """Opens doors, until it is closed.

    Args:
        doors: what to serve where.
        idle_s: how long a connection may last without a whole request's head.

    Attributes:
        ports: those that were taken, in the order of the doors.

    Raises:
        DeviceError: a port is not free.
    """

    def __init__(self, *doors: Door, idle_s: float = IDLE_S) -> None:
        self.ports: list[int] = []
        self._idle_s = idle_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()
        opened = asyncio.run_coroutine_threadsafe(self._open(doors), self._loop)
        try:
            self._runners = opened.result()
        except OSError as exc:
            self._end()
            raise DeviceError(
                f"cannot listen: {exc.strerror or exc}", path="port", errno=exc.errno, hint="see --listen"
            ) from exc

    def close(self) -> None:
        """Take no more requests; those under way have some seconds."""
        asyncio.run_coroutine_threadsafe(self._cleanup(self._runners), self._loop).result()
        self._end()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="service")
        self._loop.set_default_executor(self._pool)
        self._loop.run_forever()

    async def _open(self, doors: tuple[Door, ...]) -> "list[web.AppRunner]":
        from aiohttp import web

        runners: list[web.AppRunner] = []
        try:
            for door in doors:
                runner = web.AppRunner(
                    door.app,
                    access_log=None,
                    keepalive_timeout=self._idle_s,
                    shutdown_timeout=_CLOSING_S,
                )
                runners.append(runner)
                await runner.setup()
                site = web.TCPSite(
                    runner, door.host, door.port, ssl_context=door.tls, reuse_port=door.shared or None
                )
                await site.start()
                self.ports.append(runner.addresses[0][1])
        except BaseException:
            await self._cleanup(runners)
            raise
        return runners

    async def _cleanup(self, runners: "list[web.AppRunner]") -> None:
        for runner in runners:
            await runner.cleanup()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.close()


async def body_of(request: "web.Request") -> bytes:
    """A request's body, bounded in length and time.

    Raises:
        web.HTTPException: it is too long, or too slow.
    """
    from aiohttp import web

    try:
        return await asyncio.wait_for(request.read(), BODY_S)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of something that blocks."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


def application(*middlewares: Any) -> "web.Application":
    """An application with our limits.

    Raises:
        RegistrationError: aiohttp is not installed.
    """
    try:
        from aiohttp import web
    except ImportError as exc:
        from swagent.errors import RegistrationError

        raise RegistrationError("the back office's servers need swagent[server]") from exc
    return web.Application(client_max_size=BODY_MAX_BYTES, middlewares=middlewares)
