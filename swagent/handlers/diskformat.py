"""``diskformat``: a file system on a device, made where it is not there yet; ``uniqueuuid``: a guard against twins."""

from typing import Literal, NamedTuple

from swagent.errors import DeviceError, PreflightRefused
from swagent.hw import filesystem
from swagent.model import Artifact, Kind, Needs

from .api import Context, handler
from .beforehand import coming_node, refusing


@handler("diskformat", kinds=Kind.PARTITION, streams=False, data=False, attributes=("device",))
class DiskFormat:
    """Make a file system on ``device``, unless it holds one of this kind already: then only its label is set.

    A power cut while it is made leaves none, or one that its fsck refuses; installing again makes it anew if it is not
    recognised. Only empty file systems are made, so nothing but that is lost.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            fstype: vfat, ext2, ext3, ext4 or btrfs.
            fslabel: its label.
            force: make it anew although it is there.
        """

        fstype: str
        fslabel: str = ""
        force: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether its program is there, and the device is free."""
        with refusing(art):
            filesystem.check(opt.fstype, opt.fslabel)
            if coming_node(ctx, art.device) is None:
                try:
                    busy = ctx.hw.in_use(art.device)
                except DeviceError as exc:
                    # a pre-install script may make it
                    ctx.log("warn", f"{exc.message}; it must be there when {art.label} is applied")
                else:
                    if busy and _change(art.device, opt.fstype, opt.fslabel, ctx, force=opt.force):
                        raise PreflightRefused(busy, hint="unmount it first")
        return Needs(target=art.device)

    def apply(self, art: Artifact, opt: Options, ctx: Context) -> None:
        """Make it.

        Raises:
            DeviceError: it cannot be made.
            PreflightRefused: the device is in use.
        """
        prepare(art.device, opt.fstype, opt.fslabel, ctx, force=opt.force)


@handler("uniqueuuid", kinds=Kind.PARTITION, streams=False, data=False)
class UniqueUuid:
    """Refuse the update when a file system on this unit has one of these UUIDs, before an image brings it again.

    Two file systems of one UUID make ``root=UUID=`` a matter of chance. ``device`` is not needed (SWUpdate silently
    ignores an entry without it).
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            fs_uuid: the UUIDs.
        """

        fs_uuid: tuple[str, ...]

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Look at every file system that can be seen; their devices are read, not a cache."""
        with refusing(art):
            _refuse_twins(opt.fs_uuid, ctx)
        return Needs()

    def apply(self, art: Artifact, opt: Options, ctx: Context) -> None:
        """Look again: entries before this one may have made a file system.

        Raises:
            PreflightRefused: one has one of the UUIDs.
        """
        _refuse_twins(opt.fs_uuid, ctx)


def prepare(device: str, kind: str, label: str, ctx: Context, *, force: bool) -> None:
    """Make a file system where it is missing, else see to its label.

    Args:
        device: where.
        kind: what.
        label: its label, "" for any.
        ctx: of this session.
        force: make it anew even if it is there.

    Raises:
        DeviceError: it cannot be made.
        PreflightRefused: the device is in use.
    """
    filesystem.check(kind, label)
    change = _change(device, kind, label, ctx, force=force)
    if not change:
        ctx.log("info", f"{device} holds {kind} already")
        return
    busy = ctx.hw.in_use(device)
    if busy:
        raise PreflightRefused(busy, hint="unmount it first")
    if change == "make":
        ctx.log("info", f"making {kind} on {device}")
        ctx.hw.make_filesystem(device, kind, label, ctx.log)
    else:
        ctx.hw.label_filesystem(device, kind, label, ctx.log)


def _change(device: str, kind: str, label: str, ctx: Context, *, force: bool) -> Literal["make", "label", ""]:
    """What has to be done."""
    there = ctx.hw.filesystem(device, ctx.log)
    if force or there.kind != kind:
        return "make"
    return "" if label in ("", there.label) else "label"


def _refuse_twins(uuids: tuple[str, ...], ctx: Context) -> None:
    there = ctx.hw.filesystem_uuids(ctx.log)
    for uuid in uuids:
        if uuid.lower() in there:
            raise PreflightRefused(
                f"{there[uuid.lower()]} holds a file system with the UUID {uuid}",
                hint="format it first, or give the new one another UUID",
            )
