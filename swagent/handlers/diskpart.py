"""``diskpart``: a partition table as the description wants it, and the file systems in it."""

import os
from typing import NamedTuple

from swagent.errors import DeviceError, PreflightRefused
from swagent.hw import filesystem, partitions
from swagent.model import Artifact, Kind, Needs

from . import layout
from .api import Coming, Context, handler
from .beforehand import refusing
from .diskformat import prepare
from .options import Numbered


@handler("diskpart", kinds=Kind.PARTITION, streams=False, data=False, attributes=("device",))
class DiskPart:
    """Divide the disk ``device`` by a GPT or DOS partition table, written only where it differs, and make file systems.

    Each ``partition-N`` is a list of ``key=value``: ``size`` (bytes, K, M or G; else the rest of the disk), ``start``
    (first sector; else the next free one), ``name`` and ``partuuid`` (GPT), ``type`` (a GUID, or hexadecimal digits for
    DOS; else Linux), ``flag=boot`` (DOS), ``dostype`` (GPT: also an entry in a hybrid DOS table), ``fstype``,
    ``fslabel`` and ``force`` (a file system, as diskformat makes it).

    Partitions that are there and not listed are removed. UUIDs that are not given stay as they are, and so do names
    that are all there but have changed places (``gptswap``). What lies in a partition that keeps its place stays,
    unless its file system is another one than ``fstype``.

    A power cut leaves the old table or the new one (one of the two copies of a GPT is always valid), perhaps without
    the file systems, or without the hybrid DOS table; installing again completes it.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            labeltype: gpt or dos.
            partition: one partition, from partition-1 on.
            nolock: do not ask others (udev) by flock to keep away from the disk.
            noinuse: write the table even while parts of the disk are in use.
        """

        labeltype: str
        partition: Numbered
        nolock: bool = False
        noinuse: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the disk is there, the layout fits it, and nothing in use would change."""
        with refusing(art):
            wanted = layout.read(opt.partition, opt.labeltype)
            for one in wanted:
                if one.filesystem:
                    filesystem.check(one.filesystem, one.filesystem_label)
            disk = ctx.hw.disk(art.device, ctx.log)
            if not disk.is_device and any(one.filesystem for one in wanted):
                raise PreflightRefused(
                    f"{art.device} is a disk image: file systems cannot be made in it",
                    hint="attach it first: losetup -P",
                )
            old = disk.table()
            new = layout.resolve(wanted, opt.labeltype, disk, old)
            if not partitions.same(old, new):
                _judge_use(art, opt, ctx)
                ctx.coming += _coming(disk, new)
        return Needs(target=art.device)

    def apply(self, art: Artifact, opt: Options, ctx: Context) -> None:
        """Write what differs.

        Raises:
            DeviceError: the table or a file system cannot be written.
            PreflightRefused: the disk is in use.
            SizeError: the layout does not fit.
        """
        wanted = layout.read(opt.partition, opt.labeltype)
        disk = ctx.hw.disk(art.device, ctx.log)
        old = disk.table()
        new = layout.resolve(wanted, opt.labeltype, disk, old)
        stale: list[int] = []
        if partitions.same(old, new):
            ctx.log("info", f"{art.device} is divided as wanted")
        else:
            _judge_use(art, opt, ctx)
            stale = disk.write(new, old=old, lock=not opt.nolock)
            for number in stale:
                ctx.log(
                    "warn", f"partition {number} of {art.device} is in use; it changes with the next boot"
                )
        stayed = _places(old) & _places(new) if old.label == new.label else set()
        kept = {number for number, _, _ in stayed}
        for one in wanted:
            ctx.checkpoint()
            if not one.filesystem:
                continue
            if one.number in stale:
                raise DeviceError(
                    f"partition {one.number} of {art.device} is in use as it was before, so {one.filesystem} "
                    "cannot be made on it",
                    path=art.device,
                    hint="reboot, then install again",
                )
            force = one.force or one.number not in kept
            prepare(disk.node(one.number), one.filesystem, one.filesystem_label, ctx, force=force)


def _judge_use(art: Artifact, opt: DiskPart.Options, ctx: Context) -> None:
    why = ctx.hw.in_use(art.device)
    if not why:
        return
    if not opt.noinuse:
        raise PreflightRefused(
            f"its partitions would change, and {why}", hint="the property noinuse overrules this"
        )
    ctx.log("warn", f"{why}, and its partitions are changed all the same")


def _places(table: partitions.Table) -> set[tuple[int, int, int]]:
    return {(part.number, part.start, part.size) for part in table.partitions}


def _coming(disk: partitions.Disk, table: partitions.Table) -> list[Coming]:
    real = os.path.realpath(disk.path)
    stem = f"{real}p" if real[-1:].isdigit() else real  # the kernel's rule (block/partitions/core.c)
    return [
        Coming(real, part.name, f"{stem}{part.number}", part.size * disk.sector_bytes)
        for part in table.partitions
    ]
