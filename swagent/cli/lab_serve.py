"""``swagent lab serve``: the server."""

import sys
from contextlib import suppress

from .options import Args, Command, Option

COMMAND = Command(
    name="lab serve",
    summary="serve the boards of a configuration to Boardswarm's clients; SIGHUP reads it again, SIGTERM ends",
    target="lab_serve:run",
    arguments=("CONFIG",),
    options=(
        Option("listen", "l", "ADDRESS", "where to listen instead, as 0.0.0.0 or [::1]:6683"),
        Option(
            "legacy-volume-io",
            help="speak the wire of release 0.0.1 (2023), which clients of today do not know",
        ),
        Option("check", help="read the configuration, say what is wrong with it, and end"),
    ),
    examples=(
        "swagent lab serve lab.yaml",
        "swagent lab serve lab.yaml --listen 0.0.0.0",
        "swagent lab serve lab.yaml --check",
    ),
)


def run(args: Args) -> int:
    """Serve until somebody wants the end."""
    import asyncio
    import signal

    from swagent.errors import SwagentError
    from swagent.lab.config import read_config
    from swagent.lab.server import LabServer, needs_grpc

    from .units import clean

    def log(text: str) -> None:
        sys.stderr.write(clean(text) + "\n")

    needs_grpc()
    path = args.arguments[0]
    config = read_config(path)
    for sentence in config.ignored:
        log(f"warning: {sentence}")
    server = LabServer(config, listen=args.get("listen") or "", legacy=args.on("legacy-volume-io"), log=log)
    if args.on("check"):
        server.forget()
        print(f"{path} is right: {len(config.devices)} devices, {len(config.providers)} providers.")
        return 0

    async def serve() -> None:
        loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        async def reload() -> None:
            try:
                config = read_config(path)
                for sentence in config.ignored:
                    log(f"warning: {sentence}")
                await server.reload(config)
                log(f"{path} is read again")
            except SwagentError as exc:
                log(f"the configuration stays as it was: {exc.message}")

        def begin() -> None:
            reloads.add(loop.create_task(reload()))  # the loop itself holds no task

        def started() -> None:
            loop.add_signal_handler(signal.SIGHUP, begin)
            log(f"serving on {server.address}")

        task = asyncio.ensure_future(server.run(started))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(serve())
    return 0
