"""Finding UBI devices and volumes as sw-description names them, attaching what is not attached yet (handlers §2.8)."""

from typing import TYPE_CHECKING

from swagent.errors import DeviceError, PreflightRefused
from swagent.model import Artifact

from .api import Context

if TYPE_CHECKING:
    from swagent.hw.mtd import Flash
    from swagent.hw.ubi import UbiDevice, Volume

_MAGIC = b"UBI#"
_BLOCKS_LOOKED_AT = 8
_UBI_VOLUME_AS_MTD = 7


def device_of(art: Artifact, ctx: Context, *, may_format: bool = False) -> "UbiDevice | None":
    """The UBI device on the MTD that an entry names; it is attached if it is not.

    Args:
        art: its ``device``: ``mtd4``, ``/dev/mtd4``, a link to that, or the name of a partition.
        ctx: what to look at.
        may_format: attach an MTD that holds no UBI too; an empty one is formatted by that.

    Returns:
        None when it holds no UBI, and that is to stay so.

    Raises:
        DeviceError: there is no such MTD, or it cannot be attached.
        PreflightRefused: it is one that must be left alone.
    """
    number = ctx.hw.mtd_number(art.device)
    if number in ctx.hw.mtd_denied:
        raise PreflightRefused(f"mtd{number} must be left alone: it is in the list of -b or mtd-blacklist")
    for device in ctx.hw.ubi.devices():
        if device.mtd == number:
            return device
    return _attach(number, ctx) if may_format or _holds_ubi(number, ctx) else None


def find(name: str, art: Artifact, ctx: Context) -> "Volume | None":
    """The volume of this name on the device that an entry names, or anywhere when it names none.

    Raises:
        DeviceError: the device is not there, or several have a volume of this name.
        PreflightRefused: the device must be left alone.
    """
    if art.device:
        device = device_of(art, ctx)
        devices = [device] if device else []
    else:
        _attach_all(ctx)
        devices = [one for one in ctx.hw.ubi.devices() if one.mtd not in ctx.hw.mtd_denied]
    found = [volume for one in devices for volume in ctx.hw.ubi.volumes(one.number) if volume.name == name]
    if len(found) > 1:
        raise DeviceError(
            f"several UBI devices have a volume {name}: {', '.join(volume.path for volume in found)}",
            path=name,
            hint="name the one that is meant with the attribute device",
        )
    return found[0] if found else None


def promised(name: str, art: Artifact, ctx: Context) -> Artifact | None:
    """The partition entry of this update that makes, resizes or removes a volume before images are installed."""
    for entry in ctx.partitions:
        if entry.type != "ubipartition" or entry.volume != name:
            continue
        if not art.device or ctx.hw.mtd_number(entry.device) == ctx.hw.mtd_number(art.device):
            return entry
    return None


def lebs_for(size_bytes: int, leb_bytes: int) -> int:
    """How many logical erase blocks so many bytes take, one at least."""
    return max(1, -(-size_bytes // leb_bytes))


def _attach_all(ctx: Context) -> None:
    """Attach every MTD that holds UBI, but those that must be left alone."""
    attached = {device.mtd for device in ctx.hw.ubi.devices()}
    for number in ctx.hw.mtd_numbers():
        if number in attached or number in ctx.hw.mtd_denied:
            continue
        try:
            if _holds_ubi(number, ctx):
                _attach(number, ctx)
        except DeviceError as exc:  # it may be of no concern; if it is, its volume will be missed
            ctx.log("warn", exc.message)


def _attach(number: int, ctx: Context) -> "UbiDevice":
    device = ctx.hw.ubi.attach(number)
    ctx.log("info", f"attached mtd{number} as ubi{device.number}")
    return device


def _holds_ubi(number: int, ctx: Context) -> bool:
    """Whether one of the first good blocks begins as those of UBI do."""
    flash = ctx.hw.flash(number)
    try:
        return flash.kind != _UBI_VOLUME_AS_MTD and _begins_as_ubi(flash)
    finally:
        flash.close()


def _begins_as_ubi(flash: "Flash") -> bool:
    from .flashblocks import good_blocks

    for _, at in zip(range(_BLOCKS_LOOKED_AT), good_blocks(flash), strict=False):
        if flash.read(at, max(len(_MAGIC), flash.write_bytes))[: len(_MAGIC)] == _MAGIC:
            return True
    return False
