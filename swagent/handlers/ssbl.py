"""``ssblswitch``: which of two copies of a second-stage boot loader is started, on NOR (handlers §2.11).

An admin record at the start of each of two MTDs says where a copy lies and how old the record is; the younger is in
force. The mark that makes a record valid is written last, over erased bits: after a power cut the old one is in force.
"""

import struct
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import DeviceError, PreflightRefused
from swagent.model import Artifact, Kind, Needs, Phase
from swagent.sizes import parse_size

from .api import Context, handler
from .beforehand import refusing
from .flashblocks import good_blocks, judge

if TYPE_CHECKING:
    from swagent.hw.mtd import Flash

_RECORD = struct.Struct("=III")  # mark and age, where the image begins, its size
_MARK = 0xE776DF70
_AGE_MASK = 0x7
_AGES = 3


class _Copy(NamedTuple):
    """One of the two, as the properties name it."""

    mtd: int
    image_offset: int
    image_bytes: int


@handler("ssblswitch", kinds=Kind.SCRIPT, data=False, switches=True)
class SsblSwitch:
    """Put the copy that is not in force into force, when everything else is installed.

    All properties have two values, one for each copy.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            device: the MTDs of the two admin records.
            imageoffs: where the images begin.
            imagesize: how large they are.
            offset: where the records are; only the start of the MTD is supported, 0.
        """

        device: tuple[str, ...]
        imageoffs: tuple[str, ...]
        imagesize: tuple[str, ...]
        offset: tuple[str, ...] = ("0", "0")

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether both devices are there, and are NOR."""
        with refusing(art):
            copies = _copies(opt, ctx)
            for copy in copies:
                flash = ctx.hw.flash(copy.mtd)
                try:
                    judge(copy.mtd, flash, ctx)
                    if flash.write_bytes != 1:
                        raise PreflightRefused(
                            f"/dev/mtd{copy.mtd} is no NOR: a record cannot be marked as valid in place"
                        )
                finally:
                    flash.close()
        return Needs(target=" or ".join(f"/dev/mtd{copy.mtd}" for copy in copies))

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Write the record of the copy that is not in force."""
        if phase is not Phase.POSTINSTALL:
            return
        copies = _copies(opt, ctx)
        ages = [_age(copy, ctx) for copy in copies]
        target = _not_in_force(ages)
        active_age = ages[1 - target]
        age = ((0 if active_age is None else active_age) + 1) % _AGES
        copy = copies[target]
        flash = ctx.hw.flash(copy.mtd, writable=True)
        try:
            judge(copy.mtd, flash, ctx)
            _write(flash, copy, age)
        finally:
            flash.close()
        ctx.log("info", f"the boot loader described on /dev/mtd{copy.mtd} is in force from the next boot on")


def _copies(opt: SsblSwitch.Options, ctx: Context) -> list[_Copy]:
    for name, values in opt._asdict().items():
        if len(values) != 2:
            raise PreflightRefused(f"the property {name} has {len(values)} values, not two")
    try:
        offsets, begins, sizes = (
            [parse_size(text) for text in values] for values in (opt.offset, opt.imageoffs, opt.imagesize)
        )
    except ValueError as exc:
        raise PreflightRefused(str(exc)) from exc
    if any(offsets):
        raise PreflightRefused("a record lies at the start of its MTD: offset must be 0")
    if max(*begins, *sizes) > 0xFFFFFFFF:
        raise PreflightRefused("imageoffs and imagesize have 32 bits")
    mtds = [ctx.hw.mtd_number(device) for device in opt.device]
    if mtds[0] == mtds[1]:
        raise PreflightRefused("both records would lie on one MTD")
    return [_Copy(*values) for values in zip(mtds, begins, sizes, strict=True)]


def _age(copy: _Copy, ctx: Context) -> int | None:
    """Of the record on a device, None when there is none that is valid."""
    flash = ctx.hw.flash(copy.mtd)
    try:
        word, _, _ = _RECORD.unpack(flash.read(0, _RECORD.size))
    finally:
        flash.close()
    return (word & _AGE_MASK) % _AGES if word & ~_AGE_MASK == _MARK else None


def _not_in_force(ages: list[int | None]) -> int:
    """Index of the one to write: the first that is not valid, else the older; ages count 0, 1, 2, 0..."""
    first, second = ages
    if first is None:
        return 0
    if second is None:
        return 1
    return 0 if (second - first) % _AGES == 1 else 1


def _write(flash: "Flash", copy: _Copy, age: int) -> None:
    for at in good_blocks(flash):
        if flash.is_locked(at, flash.erase_bytes):
            flash.unlock(at, flash.erase_bytes)
        flash.erase(at)
    flash.write(0, _RECORD.pack(~_AGE_MASK & 0xFFFFFFFF | age, copy.image_offset, copy.image_bytes))
    flash.write(0, struct.pack("=I", _MARK | age))
    wanted = _RECORD.pack(_MARK | age, copy.image_offset, copy.image_bytes)
    if flash.read(0, _RECORD.size) != wanted:
        raise DeviceError(
            f"/dev/mtd{copy.mtd} does not give back the record that was written to it",
            path=f"/dev/mtd{copy.mtd}",
        )
