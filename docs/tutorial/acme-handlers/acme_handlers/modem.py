"""``acme-modem``: firmware for the modem, written by its vendor's tool."""

import os
from typing import NamedTuple

from swagent.errors import HandlerError, PreflightRefused
from swagent.handlers.api import Context, chunks, handler
from swagent.model import Artifact, Data, Kind, Needs

FIRMWARE_BYTES_MAX = 8 * 1024 * 1024


@handler("acme-modem", kinds=Kind.IMAGE)
class Modem:
    """Write firmware to one of the modem's two banks."""

    class Options(NamedTuple):
        """Its properties in sw-description.

        Attributes:
            bank: where to write, 0 or 1.
            tool: the vendor's program.
            time_limit: seconds that it may take.
        """

        bank: int
        tool: str = "/usr/sbin/modem-flash"
        time_limit: int = 120

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Look, and change nothing: whatever can be refused is refused here, before the first write of the update."""
        if opt.bank not in (0, 1):
            raise PreflightRefused(f"{art.label}: the modem has no bank {opt.bank}", hint="bank is 0 or 1")
        if not os.access(opt.tool, os.X_OK):
            raise PreflightRefused(f"{opt.tool} is not there", hint="is the package modem-tools installed?")
        if art.size_bytes is not None and art.size_bytes > FIRMWARE_BYTES_MAX:
            raise PreflightRefused(f"{art.label} has {art.size_bytes} bytes, a bank {FIRMWARE_BYTES_MAX}")
        return Needs(target=f"modem bank {opt.bank}", write_bytes=art.size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Do it: read ``data`` to its end, and return when the firmware is safely in the modem."""
        argv = [opt.tool, "--bank", str(opt.bank)]
        status = ctx.hw.run(argv, log=ctx.log, stdin=data, deadline_s=opt.time_limit)
        if status != 0:
            raise HandlerError(
                f"{opt.tool} ended with status {status}", artifact=art.label, hint="its output is in the log"
            )
        for _ in chunks(data):  # whatever the tool did not read: the verdict on the bytes comes at their end
            ctx.checkpoint()
