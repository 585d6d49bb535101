"""Scripts that change which partition boots: ``toggleboot``, ``gptswap``, ``emmc_boot``, ``emmc_boot_toggle``.

They act in POSTINSTALL alone, behind all other scripts, when everything that was written is durable, and before the
boot environment: after a failure nothing has been switched. A power cut right behind one of them boots the new system,
whose markers in the boot environment still say "in progress".
"""

import os
from typing import Any, NamedTuple

from swagent.errors import DescriptionError, DeviceError
from swagent.hw import emmc, gpt
from swagent.model import Artifact, Kind, Needs, Phase

from .api import Context, handler
from .beforehand import coming_disk, refusing
from .options import NoOptions, Numbered


@handler(
    "toggleboot",
    kinds=Kind.SCRIPT,
    streams=False,
    data=False,
    attributes=("device",),
    overwrites=False,
    switches=True,
)
class ToggleBoot:
    """Mark one partition of the DOS disk ``device`` as active, and no other. One sector is written: old or new."""

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            partition: its number, 1 to 4.
        """

        partition: int

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether there is such a partition, or will be."""
        with refusing(art):
            if not 1 <= opt.partition <= 4:
                raise DescriptionError(f"partition is {opt.partition}, not 1 to 4")
            if not coming_disk(ctx, art.device):
                ctx.hw.disk(art.device, ctx.log).is_active(opt.partition)
        return Needs(target=art.device, reboot=True)

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Switch, unless it is active already.

        Raises:
            DeviceError: there is no such partition, or it cannot be written.
        """
        if phase is not Phase.POSTINSTALL:
            return
        disk = ctx.hw.disk(art.device, ctx.log)
        if not disk.is_active(opt.partition):
            disk.activate(opt.partition)


@handler(
    "gptswap",
    kinds=Kind.SCRIPT,
    streams=False,
    data=False,
    attributes=("device",),
    overwrites=False,
    switches=True,
)
class GptSwap:
    """Exchange the names of partitions of the GPT disk ``device``, for boot loaders and ``root=PARTLABEL=``.

    Nothing but the names changes, so the disk may be in use; the kernel goes on with the old names until the next boot.
    All pairs are one change: it is made in the backup of the table, then in the other copy, each with its checksums. A
    power cut leaves one valid copy at least; firmware reads the first while that is valid, so the old names count until
    the new ones are complete. A name that is missing, or there twice, is an error (SWUpdate calls it success).
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            swap: two names, from swap-0 on.
            nolock: do not ask others (udev) by flock to keep away from the disk.
            noinuse: accepted, without effect, as the disk may always be in use.
        """

        swap: Numbered
        nolock: bool = False
        noinuse: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether all names are there, or will be."""
        with refusing(art):
            coming = [
                gpt.Named(number, part.name) for number, part in enumerate(coming_disk(ctx, art.device), 1)
            ]
            there = coming or ctx.hw.disk(art.device, ctx.log).named()
            gpt.swaps(there, _pairs(opt.swap), art.device)
        return Needs(target=art.device, reboot=True)

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Exchange them.

        Raises:
            DeviceError: a name is missing, or the table cannot be written.
        """
        if phase is Phase.POSTINSTALL:
            ctx.hw.disk(art.device, ctx.log).swap_names(_pairs(opt.swap), lock=not opt.nolock)


@handler(
    "emmc_boot",
    kinds=Kind.SCRIPT,
    streams=False,
    data=False,
    attributes=("device",),
    overwrites=False,
    switches=True,
)
class EmmcBoot:
    """Boot the eMMC from the boot partition ``device`` (``/dev/mmcblkNboot0`` or 1). One command: old or new."""

    Options = NoOptions

    def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
        """Whether it is a boot partition of an eMMC that answers."""
        with refusing(art):
            device, _ = _boot_partition(art.device)
            ctx.hw.emmc(device).boot_partition()
        return Needs(target=art.device, reboot=True)

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Switch, unless it boots from there already.

        Raises:
            DeviceError: the eMMC does not do so.
        """
        if phase is Phase.POSTINSTALL:
            device, number = _boot_partition(art.device)
            _boot_from(number, device, ctx)


@handler(
    "emmc_boot_toggle", kinds=Kind.SCRIPT, streams=False, data=False, attributes=("device",), overwrites=False,
    switches=True,
)  # fmt: skip
class EmmcBootToggle:
    """Boot the eMMC ``device`` from its other boot partition. One command: old or new.

    An eMMC that boots from its user area is left alone, with a warning; one that boots from nowhere is an error.
    SWUpdate toggles after a failed update too, and so boots what failed; here only an update that succeeds does.
    """

    Options = NoOptions

    def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
        """Whether it boots from a boot partition."""
        with refusing(art):
            _active(_whole(art.device), ctx)
        return Needs(target=art.device, reboot=True)

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Switch.

        Raises:
            DeviceError: the eMMC does not do so, or boots from nowhere.
        """
        if phase is not Phase.POSTINSTALL:
            return
        device = _whole(art.device)
        active = _active(device, ctx)
        if active == emmc.USER_AREA:
            ctx.log("warn", f"{device} boots from its user area, and is left to it")
        else:
            _boot_from(1 - active, device, ctx)


def _pairs(swap: Numbered) -> list[tuple[str, str]]:
    pairs = []
    for number, names in swap.items():
        if len(names) != 2 or names[0] == names[1]:
            raise DescriptionError(f"swap-{number} has {len(names)} names, not two different ones")
        pairs.append((names[0], names[1]))
    return pairs


def _boot_partition(path: str) -> tuple[str, int]:
    device, number = emmc.device_of(path)
    if number is None or not os.path.exists(path):
        raise DeviceError(
            f"{path} is no boot partition of an eMMC", path=path, hint="/dev/mmcblkNboot0 or boot1"
        )
    return device, number


def _whole(path: str) -> str:
    device, number = emmc.device_of(path)
    if number is not None:
        raise DeviceError(f"{path} is a boot partition, not the eMMC", path=path, hint=f"it is {device}")
    return device


def _active(device: str, ctx: Context) -> int:
    active = ctx.hw.emmc(device).boot_partition()
    if active is None:
        raise DeviceError(
            f"{device} boots from no partition",
            path=device,
            hint="`mmc bootpart enable` chooses one; or emmc_boot",
        )
    return active


def _boot_from(number: int, device: str, ctx: Context) -> None:
    selector = ctx.hw.emmc(device)
    if selector.boot_partition() != number:
        selector.boot_from(number)
        ctx.log("info", f"{device} boots from boot{number} from now on")
