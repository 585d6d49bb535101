"""``swagent web``: the web server, a process of its own in front of the daemon. `swagent daemon -w` starts it too."""

import os
import sys

from .install import HOW, OUT, WEB_OPTION, settings_of
from .options import Args, Command, Option

WHERE = "where the daemon listens"
COMMAND = Command(
    "web",
    "Serve the web page, and SWUpdate's REST and WebSocket, in front of a daemon; ends with SIGTERM. Needs no rights "
    "but those to use the daemon's sockets.",
    "web:run",
    options=(
        Option(
            "file", "f", "FILE", "settings file, default /etc/swupdate.cfg; the group webserver counts", HOW
        ),
        WEB_OPTION,
        Option("control", "", "PATH", "control socket, default RUNTIME_DIRECTORY/sockinstctrl", WHERE),
        Option("progress", "", "PATH", "progress socket as of SWUpdate 2025.12", WHERE),
        Option("events", "", "PATH", "socket that tells the same as --json", WHERE),
        Option("verbose", "v", help="all log lines", group=OUT),
        Option(
            "loglevel", "l", "0..5", "how much to log: 1 errors, 2 warnings, 3 infos, 4 traces, 5 all", OUT
        ),
    ),
    examples=(
        "swagent web -f /etc/swupdate.cfg",
        "swagent web -w '-p 8443 --auth-domain Update --global-auth-file /etc/swupdate.passwd -s -C web.pem'",
    ),
)


def run(args: Args) -> int:
    """Serve until SIGTERM."""
    import asyncio
    import signal

    from swagent.ipc.places import CONTROL, EVENTS, PROGRESS, socket_path
    from swagent.web.daemon import Daemon
    from swagent.web.options import web_options
    from swagent.web.server import WebServer

    from .daemon import log_writer

    settings, _ = settings_of(args)
    options = web_options(settings.webserver)
    log = log_writer(sys.stdout, sys.stderr, settings.loglevel, os.environ)

    def path(key: str, usual: str) -> str:
        told = settings.daemon.get(key, ())
        return told[0] if told else socket_path(usual, os.environ)

    daemon = Daemon(
        path("control-socket", CONTROL), path("progress-socket", PROGRESS), path("event-socket", EVENTS)
    )
    server = WebServer(options, daemon, log)
    scheme = "https" if options.certificate else "http"

    async def serve() -> None:
        serving = asyncio.ensure_future(
            server.run(lambda port: log("info", f"the page is at {scheme}://{options.host or '*'}:{port}/"))
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()

    asyncio.run(serve())
    return 0
