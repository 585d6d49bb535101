"""``swuforward``: an image that is an update itself, for other devices that run SWUpdate's web server."""

from typing import TYPE_CHECKING, NamedTuple

from swagent.clock import SystemClock
from swagent.errors import DescriptionError, PreflightRefused, UsageError
from swagent.model import Artifact, Compression, Data, Kind, Needs

from .api import Context, handler, held_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from swagent.net.device import Device
    from swagent.net.status import State

PIECE_BYTES = 128 * 1024


@handler("swuforward", kinds=Kind.IMAGE)
class SwuForward:
    """Send an update (``.swu``) on to all devices in ``url`` at once; it succeeds when all of them have installed it.

    A device that fails, or is too slow, is dropped, and the others go on; the error names each that did not install.
    The last bytes are sent once all are verified, so that no device completes a wrong update.
    """

    class Options(NamedTuple):
        """Where to, and how long it may take.

        Attributes:
            url: address of a device's web server, such as ``http://panel:8080``, or a list of them; may hold ``user:password@``.
            timeout: seconds in which a device must connect, and take each 128 KiB.
            deadline: seconds that others may have to wait for a device in all, its verdict included.
            cafile: authorities that the devices' certificates must come from, on this unit; else those of the setting forward-cafile, else the system's.
            sslcert: certificate to show to the devices, PEM, on this unit; else that of the setting forward-sslcert.
            sslkey: its key, if that is in another file.
            parser_function: Lua function of the embedded script that reads the devices' messages: from the text of one to 2 (goes on), 3 (success), anything else (failure).
        """  # noqa: E501 - the page of handlers takes one line each

        url: tuple[str, ...]
        timeout: int = 60
        deadline: int = 3600
        cafile: str = ""
        sslcert: str = ""
        sslkey: str = ""
        parser_function: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the entry makes sense; connects to nobody."""
        if art.cipher or art.compression is not Compression.NONE:
            raise _refused(art, "what is forwarded must be stored as it is: neither encrypted nor compressed")
        if opt.parser_function and not ctx.lua.shared().knows(opt.parser_function):
            raise _refused(art, f"the embedded script has no function {opt.parser_function!r}")
        try:
            devices = _devices(opt, 1, ctx)
        except UsageError as exc:
            raise _refused(art, f"property url: {exc.message}") from exc
        names = [device.name for device in devices]
        if len(set(names)) < len(names):
            raise _refused(art, "a device is named twice in url")
        return Needs(target=" ".join(names), write_bytes=art.size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Send it on, and wait for all verdicts.

        Raises:
            HandlerError: a device did not install it.
            DescriptionError: nobody knows how long it is.
        """
        from swagent.net.fanout import FanOut

        size_bytes = data.size_bytes
        if not size_bytes:
            why = "is empty" if size_bytes == 0 else "has no known size, and the devices must be told it"
            raise DescriptionError(f"{art.where or art.label} {why}")
        devices = _devices(opt, size_bytes, ctx)
        fleet = FanOut(
            devices,
            timeout_s=opt.timeout,
            deadline_s=opt.deadline,
            waiting=ctx.checkpoint,
            clock=SystemClock(),
            log=ctx.log,
        )
        try:
            fleet.open()
            for piece in held_back(data, PIECE_BYTES):
                fleet.send(piece)
            fleet.finish()
        finally:
            fleet.close()


def _devices(opt: SwuForward.Options, size_bytes: int, ctx: Context) -> "list[Device]":
    from swagent.net import HttpOptions
    from swagent.net.address import read_address
    from swagent.net.device import Device, require_libraries
    from swagent.net.status import read_message
    from swagent.net.tls import client_context

    require_libraries()
    addresses = [read_address(url) for url in opt.url]
    tls = None
    if any(address.scheme == "https" for address in addresses):
        own = (opt.sslcert, opt.sslkey) if opt.sslcert else (ctx.tls.certificate, ctx.tls.key)
        tls = client_context(HttpOptions(opt.cafile or ctx.tls.authorities, *own))
    read = _parser(opt.parser_function, ctx) if opt.parser_function else read_message
    return [
        Device(address, tls if address.scheme == "https" else None, size_bytes, ctx.log, read)
        for address in addresses
    ]


def _parser(function: str, ctx: Context) -> "Callable[[bytes], State]":
    from swagent.net.status import FAILURE, SUCCESS, State

    lua = ctx.lua.shared()

    def read(message: bytes) -> State:
        results = lua.call(function, message.decode(errors="replace"))
        code = results[0] if results else None  # SWUpdate's RECOVERY_STATUS
        return State("RUN" if code == 2 else SUCCESS if code == 3 else FAILURE)

    return read


def _refused(art: Artifact, why: str) -> PreflightRefused:
    return PreflightRefused(f"{art.where or art.label}: {why}")
