"""The door for browsers and for programs that speak SWUpdate's REST."""

import asyncio
import signal
from functools import partial

from swagent.settings import layer
from swagent.web.daemon import Daemon
from swagent.web.options import from_words, web_options
from swagent.web.server import WebServer

from .doors import Call, Serve

STOP_CHECK_S = 0.5


def begin(call: Call) -> Serve:
    """Read passwords and keys, open the port.

    Raises:
        SettingsError: they cannot be used, or nothing says who may log in.
        DeviceError: the port cannot be opened.
    """
    given = {f"webserver.{key}": value for key, value in from_words(call.words).items()}
    options = web_options(layer(call.settings, given, origins="-w").webserver)
    server = WebServer(options, Daemon(call.control, call.progress, call.events), call.log)
    call.log("info", f"the page is at {server.listen()}")
    return partial(asyncio.run, _serve(server, call))


async def _serve(server: WebServer, call: Call) -> None:
    serving = asyncio.create_task(server.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    while not call.stopped():
        done, _ = await asyncio.wait({serving}, timeout=STOP_CHECK_S)
        if done:
            break
    serving.cancel()
    await asyncio.wait({serving})
    if not serving.cancelled():
        serving.result()
