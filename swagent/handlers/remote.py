"""``remote``: an image is installed by another program on the unit, which is reached over ZeroMQ."""

import os
import socket
from typing import NamedTuple

from swagent.errors import DescriptionError, PreflightRefused, SettingsError
from swagent.model import Artifact, Compression, Data, Kind, Needs

from .api import Context, handler, held_back
from .options import plain_size

PREFLIGHT_S = 2.0


@handler("remote", kinds=Kind.IMAGE, attributes=("data",))
class Remote:
    """Hand the plain bytes of an image to the program whose socket is ``data``, below TMPDIR or /tmp.

    The last bytes are handed over once all are verified: a program that counts them never completes a wrong image.
    """

    class Options(NamedTuple):
        """How long the program may take.

        Attributes:
            reply_timeout: milliseconds for its answers, until one of them (``ACK:ms``) says otherwise.
            deadline: seconds for all its answers together.
            plain_size: announce how many bytes will be sent, not how many the member has (which SWUpdate does).
        """

        reply_timeout: int = 2000
        deadline: int = 3600
        plain_size: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether a program listens there."""
        from swagent.remote.protocol import address, require_library

        require_library()
        path = socket_path(art.data)
        try:
            address(path)
        except SettingsError as exc:
            raise PreflightRefused(exc.message, hint=exc.hint) from exc
        changes = bool(art.cipher) or art.compression is not Compression.NONE
        if changes and opt.plain_size and plain_size(art) is None:
            raise PreflightRefused(
                f"{art.where or art.label}: plain-size needs decompressed-size or decrypted-size"
            )
        if changes and not opt.plain_size:
            ctx.log(
                "warn",
                f"{art.label}: the program is told the size as stored, and cannot tell when all plain bytes have "
                "come; see the property plain-size",
            )
        why = _why_not_there(path)
        if why and art.installed_directly:
            raise PreflightRefused(
                f"{path}: {why}",
                hint="start the program that installs it; data is the name of its socket in TMPDIR or /tmp",
            )
        if why:  # a pre-install script may start it
            ctx.log("warn", f"{path}: {why}; it must be there when {art.label} is installed")
        return Needs(target=f"ipc://{path}", write_bytes=art.size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Hand it over.

        Raises:
            HandlerError: the program refuses.
            DeadlineError: it takes too long, or has gone.
            TransportError: it answers with nonsense.
        """
        from swagent.remote import Sender
        from swagent.remote.protocol import CHUNK_BYTES_MAX

        size_bytes = data.size_bytes if opt.plain_size else data.stored_bytes
        if size_bytes is None:
            raise DescriptionError(f"{art.where or art.label}: its size is unknown")
        with Sender(
            socket_path(art.data),
            reply_ms=opt.reply_timeout,
            budget_s=opt.deadline,
            waiting=ctx.checkpoint,
        ) as program:
            program.begin(size_bytes)
            for chunk in held_back(data, CHUNK_BYTES_MAX):
                program.send(chunk)


def socket_path(name: str) -> str:
    """Where a program's socket is: in TMPDIR, as SWUpdate has it today; else in /tmp, where it was before."""
    usual = f"{(os.environ.get('TMPDIR', '') or '/tmp').rstrip('/')}/{name}"  # noqa: S108 - SWUpdate's rule
    former = f"/tmp/{name}"  # noqa: S108 - SWUpdate's former rule
    return former if not os.path.exists(usual) and os.path.exists(former) else usual


def _why_not_there(path: str) -> str:
    """Why nobody can be reached there; "" when somebody listens."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(PREFLIGHT_S)
        probe.connect(path)
    except OSError as exc:
        return f"nobody listens there ({exc.strerror or exc})"
    finally:
        probe.close()
    return ""
