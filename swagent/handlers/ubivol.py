"""``ubivol``: an image into a UBI volume, which can take the name of another one afterwards (handlers §2.8)."""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import DeviceError, PreflightRefused, SizeError
from swagent.model import Artifact, Data, Kind, Needs

from . import readback, ubidevice
from .api import Context, chunks, handler
from .beforehand import refusing, size_told
from .ubidevice import lebs_for

if TYPE_CHECKING:
    from swagent.hw.ubi import OpenVolume, Volume

_READ_BYTES = 256 * 1024


@handler("ubivol", kinds=Kind.IMAGE, attributes=("volume",), reads_back_unasked=True)
class UbiVolume:
    """Write an image into the UBI volume ``volume`` and read it back; ``device`` is the MTD, any one if left out.

    The kernel marks a volume whose update has begun; the mark goes with the last bytes, which are written when the
    whole image has proved right. Until then nobody can read the volume, so nothing half-written is ever booted.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            replaces: a volume that is in force until now; the two swap names in one step after success.
            auto_resize: make or resize the volume as the image needs it; device must be given.
            always_remove: with auto-resize, make the volume anew even if its size is right.
        """

        replaces: str | None = None
        auto_resize: bool = False
        always_remove: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the volume is there or can be made, is free, and holds the image."""
        with refusing(art):
            size_bytes = size_told(art)
            where = _judge(art, opt, ctx, size_bytes or 0)
        return Needs(target=where, write_bytes=size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Update the volume, read it back, swap names."""
        size_bytes = data.size_bytes
        if size_bytes is None:
            raise SizeError(f"{art.label}: UBI must know beforehand how large the image is")
        _judge(art, opt, ctx, size_bytes)
        volume = _fit(art, opt, ctx, size_bytes) if opt.auto_resize else ubidevice.find(art.volume, art, ctx)
        if volume is None or size_bytes > volume.size_bytes:
            raise DeviceError(
                f"the UBI volume {art.volume} is not what it was promised to be", path=art.volume
            )
        expected = readback.Expected(art, data, ctx, unasked=True)
        opened = ctx.hw.ubi.open(volume, writable=True)
        try:
            _update(opened, data, size_bytes, art)
        finally:
            opened.close()
        if expected.wanted:
            _compare(expected, volume, size_bytes, ctx)
        if opt.replaces:
            _replace(volume, opt.replaces, ctx)


def _judge(art: Artifact, opt: UbiVolume.Options, ctx: Context, size_bytes: int) -> str:
    """Whether an image of this size can be written; tells where.

    Raises:
        PreflightRefused: it cannot.
        DeviceError: a device is not there, or cannot be asked.
    """
    from swagent.hw.ubi import NAME_BYTES_MAX

    why, hint = "", ""
    if opt.replaces == art.volume:
        why = f"the volume {art.volume} cannot replace itself"
    elif opt.replaces and len(opt.replaces.encode()) > NAME_BYTES_MAX:
        why = f"{opt.replaces[:40]}... is no name for a UBI volume"
    elif opt.auto_resize and not art.device:
        why = "auto-resize needs the attribute device"
    if why:
        raise PreflightRefused(why)
    volume = ubidevice.find(art.volume, art, ctx)
    room_bytes = _room_bytes(art, opt, ctx, volume)
    if room_bytes is None:
        why = f"there is no UBI volume {art.volume}"
        hint = "make it with an entry of partitions, or with the property auto-resize; `ubinfo -a` lists what there is"
    elif size_bytes > room_bytes:
        why = f"{art.label} has {size_bytes} bytes, the UBI volume {art.volume} can have {room_bytes}"
    elif volume is not None:
        why = ctx.hw.ubi.in_use(volume)
        hint = "write to the other copy, or unmount it first"
    if why:
        raise PreflightRefused(why, hint=hint)
    return f"{volume.path} ({volume.name})" if volume is not None else f"the new UBI volume {art.volume}"


def _room_bytes(art: Artifact, opt: UbiVolume.Options, ctx: Context, volume: "Volume | None") -> int | None:
    """How much the volume holds, or can, when the image is installed; None when there will be none."""
    if opt.auto_resize:
        device = ubidevice.device_of(art, ctx)
        if device is None:  # an empty MTD, formatted when its turn comes: it will hold less than its size
            return _mtd_bytes(art, ctx)
        return (device.free_lebs + (volume.lebs if volume else 0)) * device.leb_bytes
    entry = ubidevice.promised(art.volume, art, ctx)
    if entry is None:
        return volume.size_bytes if volume is not None else None
    device = ubidevice.device_of(entry, ctx)
    leb_bytes = device.leb_bytes if device is not None else 1
    return lebs_for(entry.size_bytes, leb_bytes) * leb_bytes if entry.size_bytes else None


def _mtd_bytes(art: Artifact, ctx: Context) -> int:
    flash = ctx.hw.flash(ctx.hw.mtd_number(art.device))
    try:
        return flash.size_bytes
    finally:
        flash.close()


def _fit(art: Artifact, opt: UbiVolume.Options, ctx: Context, size_bytes: int) -> "Volume":
    """The volume, made or resized to what the image needs. What it held is lost to the update anyway."""
    ubi = ctx.hw.ubi
    device = ubidevice.device_of(art, ctx, may_format=True)
    if device is None:
        raise DeviceError(f"there is no UBI device on {art.device}", path=art.device)
    static = art.data == "static"
    wanted_bytes = lebs_for(size_bytes, device.leb_bytes) * device.leb_bytes
    volume = ubidevice.find(art.volume, art, ctx)
    if volume is None:
        return ubi.create(device.number, art.volume, wanted_bytes, static=static)
    if volume.static == static and not opt.always_remove:
        if volume.size_bytes == wanted_bytes:
            return volume
        if wanted_bytes > volume.size_bytes or not static:  # the kernel keeps all that a static volume holds
            ubi.resize(volume, wanted_bytes)
            return ubidevice.find(art.volume, art, ctx) or volume
    ubi.remove(volume)
    return ubi.create(device.number, art.volume, wanted_bytes, static=static, volume_id=volume.id)


def _update(opened: "OpenVolume", data: Data, size_bytes: int, art: Artifact) -> None:
    """Write all of it. The last piece waits for the verdicts: without it the kernel's mark stays, and nobody reads."""
    opened.begin_update(size_bytes)
    waiting = b""
    done_bytes = 0
    for piece in chunks(data):
        if waiting:
            opened.write(waiting)
        waiting = bytes(piece)
        done_bytes += len(waiting)
        if done_bytes > size_bytes:
            break
    if done_bytes != size_bytes:
        raise SizeError(f"{art.label} does not have the {size_bytes} bytes that the update was begun with")
    if waiting:
        opened.write(waiting)
    opened.sync()


def _compare(expected: readback.Expected, volume: "Volume", size_bytes: int, ctx: Context) -> None:
    """Read the volume back.

    Raises:
        DeviceError: it gives back something else; an update that never ends sees to it that nobody reads that.
    """
    from swagent.crypto.digest import sha256

    digest = sha256()
    opened = ctx.hw.ubi.open(volume)
    try:
        for at in range(0, size_bytes, _READ_BYTES):
            ctx.checkpoint()
            digest.update(opened.read(at, min(_READ_BYTES, size_bytes - at)))
    finally:
        opened.close()
    try:
        expected.judge(digest.digest(), size_bytes, volume.path)
    except DeviceError:
        spoiled = ctx.hw.ubi.open(volume, writable=True)
        try:
            spoiled.begin_update(size_bytes)
        finally:
            spoiled.close()
        raise


def _replace(volume: "Volume", name: str, ctx: Context) -> None:
    """Swap names with the volume that is called so, or take the name if none is."""
    names = {volume.id: name}
    for other in ctx.hw.ubi.volumes(volume.ubi):
        if other.name == name:
            names[other.id] = volume.name
    ctx.hw.ubi.rename(volume.ubi, names)
    ctx.log("info", f"{volume.path}, which was {volume.name}, is {name} now")
