"""``swagent lab serve``: the server."""

import sys
from contextlib import suppress

from .options import Args, Command, Option

COMMAND = Command(
    name="lab serve",
    summary="serve the boards of a configuration to Boardswarm's clients; ends with SIGTERM",
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

    from swagent.lab.config import read_config
    from swagent.lab.server import LabServer, needs_grpc

    from .units import clean

    def log(text: str) -> None:
        sys.stderr.write(clean(text) + "\n")

    needs_grpc()
    config = read_config(args.arguments[0])
    for sentence in config.ignored:
        log(f"warning: {sentence}")
    server = LabServer(config, listen=args.get("listen") or "", legacy=args.on("legacy-volume-io"), log=log)
    if args.on("check"):
        server.forget()
        print(
            f"{args.arguments[0]} is right: {len(config.devices)} devices, {len(config.providers)} providers."
        )
        return 0

    async def serve() -> None:
        task = asyncio.ensure_future(server.run(lambda: log(f"serving on {server.address}")))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(serve())
    return 0
