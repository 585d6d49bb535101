"""``raw``: an image onto a block device or slot file."""

from typing import NamedTuple

from swagent.errors import DeviceError, PreflightRefused, SizeError, SwagentError
from swagent.model import Artifact, Data, Kind, Needs

from . import readback
from .api import Context, handler
from .beforehand import coming_node
from .options import plain_size


@handler("raw", kinds=Kind.IMAGE | Kind.FILE, attributes=("device",), reads_back=True)
class Raw:
    """Write an image to ``device`` from ``offset`` on. The target must exist, must not be mounted, and must hold it."""

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            allow_mounted: write the device even while it is mounted or otherwise in use.
        """

        allow_mounted: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the target is there, free and large enough."""
        size_bytes = plain_size(art)
        needs = Needs(target=art.device, write_bytes=size_bytes)
        if not art.device:
            raise PreflightRefused(f"{art.where or art.label}: {art.type} needs the attribute device")
        coming = coming_node(ctx, art.device)
        try:
            capacity = coming.size_bytes if coming else ctx.hw.capacity_bytes(art.device)
            busy = "" if opt.allow_mounted or coming else ctx.hw.in_use(art.device)
        except DeviceError as exc:
            if not art.installed_directly:
                # partitions and pre-install scripts come first and may make it (LVM, dm-crypt, a loop device)
                ctx.log("warn", f"{exc.message}; it must be there when {art.label} is installed")
                return needs
            raise PreflightRefused(
                exc.message,
                artifact=art.label,
                handler=art.type,
                hint=exc.hint or "check the attribute device",
            ) from exc
        if busy:
            raise PreflightRefused(
                busy,
                artifact=art.label,
                handler=art.type,
                hint="write to the other copy, or unmount it first; the property allow-mounted overrules this",
            )
        if capacity is not None and art.offset_bytes + (size_bytes or 0) > capacity:
            raise PreflightRefused(
                f"{art.label} has {size_bytes or 'some'} bytes for {art.device} from {art.offset_bytes} on, which "
                f"holds only {capacity}",
                artifact=art.label,
                handler=art.type,
            )
        return needs

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Write all of it and make it durable; what lies behind it in the target stays as it is."""
        target = ctx.hw.image_target(
            art.device, offset_bytes=art.offset_bytes, allow_mounted=opt.allow_mounted
        )
        try:
            limit, size_bytes = target.sink.limit_bytes, data.size_bytes
            if limit is not None and size_bytes is not None and size_bytes > limit:
                raise SizeError(
                    f"{art.label} has {size_bytes} bytes, {art.device} holds {limit} from {art.offset_bytes} on",
                    artifact=art.label,
                    handler=art.type,
                )
            expected = readback.Expected(art, data, ctx)
            n_bytes = data.pour(target.sink)
            expected.compare(target.sink.fd, n_bytes, art.offset_bytes, art.device)
            target.close()
        except SwagentError as exc:
            exc.artifact = exc.artifact or art.label
            exc.handler = exc.handler or art.type
            raise
        finally:
            target.abandon()
