"""``ubipartition`` and ``ubiswap``: which UBI volumes there are, and what they are called (handlers §2.8)."""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import DeviceError, PreflightRefused
from swagent.model import Artifact, Kind, Needs, Phase

from . import ubidevice
from .api import Context, handler
from .beforehand import refusing
from .options import Numbered
from .ubidevice import lebs_for

if TYPE_CHECKING:
    from swagent.hw.ubi import Volume

PAIRS_MAX = 16


@handler("ubipartition", kinds=Kind.PARTITION, data=False, attributes=("device",))
class UbiPartition:
    """Make, resize or remove (``size`` 0) the UBI volume ``name`` on the MTD ``device``; ``data`` may be "static".

    Nothing happens to a volume that is as it should be. One that grows keeps what it holds; one that shrinks, or
    changes its type, is made anew, with the id it had.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            always_remove: make the volume anew even if it is as it should be.
        """

        always_remove: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the device is there and has room, for all such entries of this update."""
        from swagent.hw.ubi import NAME_BYTES_MAX

        with refusing(art):
            if art.size_bytes is None:
                raise PreflightRefused("its size is missing", hint="0 removes the volume")
            if not 0 < len(art.volume.encode()) <= NAME_BYTES_MAX:
                raise PreflightRefused(f"{art.volume[:40]!r} is no name for a UBI volume")
            _judge_room(art, opt, ctx)
        return Needs(target=f"the UBI volume {art.volume} on {art.device}")

    def apply(self, art: Artifact, opt: Options, ctx: Context) -> None:
        """Make it so."""
        ubi = ctx.hw.ubi
        size_bytes = art.size_bytes or 0
        device = ubidevice.device_of(art, ctx, may_format=bool(size_bytes))
        volume = ubidevice.find(art.volume, art, ctx)
        if device is None or (volume is None and not size_bytes):
            ctx.log("info", f"there is no UBI volume {art.volume}, and none is wanted")
            return
        lebs = lebs_for(size_bytes, device.leb_bytes)
        if volume is not None and size_bytes:
            if _stays(volume, lebs, art, opt):
                ctx.log("debug", f"the UBI volume {art.volume} is as it should be")
                return
            if _grows(volume, lebs, art, opt):
                ubi.resize(volume, lebs * device.leb_bytes)
                return
        if volume is not None:
            ubi.remove(volume)
        if size_bytes:
            ubi.create(
                device.number,
                art.volume,
                lebs * device.leb_bytes,
                static=_static(art),
                volume_id=volume.id if volume is not None else None,
            )


@handler("ubiswap", kinds=Kind.SCRIPT, data=False, switches=True)
class UbiSwap:
    """Swap the names of pairs of UBI volumes, all in one step, when everything else is installed.

    After a power cut all pairs are swapped, or none. ``device`` is their MTD; left out, they are looked for on all.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            swap: the two names of a pair, from swap-0 on.
        """

        swap: Numbered

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether all are there, or will be."""
        with refusing(art):
            names = [name for pair in _pairs(opt) for name in pair]
            found = {name: ubidevice.find(name, art, ctx) for name in names}
            missing = [
                name
                for name, volume in found.items()
                if volume is None and ubidevice.promised(name, art, ctx) is None
            ]
            if missing:
                raise PreflightRefused(
                    f"there is no UBI volume {', '.join(missing)}", hint="`ubinfo -a` lists what there is"
                )
            _one_device([volume for volume in found.values() if volume is not None])
        return Needs(target=f"the names of {len(names)} UBI volumes")

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Swap, behind everything else."""
        if phase is not Phase.POSTINSTALL:
            return
        names: dict[int, str] = {}
        volumes = []
        for pair in _pairs(opt):
            first, second = (_there(name, art, ctx) for name in pair)
            names |= {first.id: second.name, second.id: first.name}
            volumes += [first, second]
        _one_device(volumes)
        ctx.hw.ubi.rename(volumes[0].ubi, names)


def _pairs(opt: UbiSwap.Options) -> list[tuple[str, str]]:
    names = [name for pair in opt.swap.values() for name in pair]
    if any(len(pair) != 2 for pair in opt.swap.values()):
        raise PreflightRefused(
            "a swap needs two names of volumes", hint='such as swap-0 = ["rootfs_a", "rootfs_b"]'
        )
    if len(names) > 2 * PAIRS_MAX or len(set(names)) < len(names):
        raise PreflightRefused(f"{PAIRS_MAX} pairs can be swapped at once, and each volume once only")
    return [(pair[0], pair[1]) for pair in opt.swap.values()]


def _there(name: str, art: Artifact, ctx: Context) -> "Volume":
    volume = ubidevice.find(name, art, ctx)
    if volume is None:
        raise DeviceError(f"there is no UBI volume {name}", path=name)
    return volume


def _one_device(volumes: "list[Volume]") -> None:
    if len({volume.ubi for volume in volumes}) > 1:
        paths = ", ".join(volume.path for volume in volumes)
        raise PreflightRefused(f"volumes of several UBI devices cannot be swapped in one step: {paths}")


def _judge_room(art: Artifact, opt: UbiPartition.Options, ctx: Context) -> None:
    """Whether there is room when this entry's turn comes, and whether a volume that must go may go.

    Raises:
        PreflightRefused: there is not, or it may not.
        DeviceError: the device is not there, or cannot be asked.
    """
    device = ubidevice.device_of(art, ctx)
    if device is None:
        return  # no UBI yet: attaching an empty MTD formats it, and the kernel will tell
    free = device.free_lebs
    for entry in (*ctx.partitions, art):
        if entry.type != art.type or ctx.hw.mtd_number(entry.device) != device.mtd:
            continue
        lebs = lebs_for(entry.size_bytes, device.leb_bytes) if entry.size_bytes else 0
        volume = ubidevice.find(entry.volume, entry, ctx)
        free -= lebs - (volume.lebs if volume is not None else 0)
        if entry is not art:
            continue
        if free < 0:
            raise PreflightRefused(
                f"UBI on {art.device} has {-free} blocks of {device.leb_bytes} bytes too few for it"
            )
        if volume is not None and not _stays(volume, lebs, art, opt) and (why := ctx.hw.ubi.in_use(volume)):
            raise PreflightRefused(why, hint="unmount it first")
        return


def _static(art: Artifact) -> bool:
    return art.data == "static"


def _stays(volume: "Volume", lebs: int, art: Artifact, opt: UbiPartition.Options) -> bool:
    return (volume.lebs, volume.static) == (lebs, _static(art)) and not opt.always_remove


def _grows(volume: "Volume", lebs: int, art: Artifact, opt: UbiPartition.Options) -> bool:
    return lebs > volume.lebs and volume.static == _static(art) and not opt.always_remove
