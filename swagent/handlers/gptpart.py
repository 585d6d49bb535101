"""``gptpart``: an image onto a partition that is known by its name."""

from typing import TypeVar

from swagent.errors import DeviceError
from swagent.model import Artifact, Data, Kind, Needs

from .api import Context, handler
from .beforehand import coming_disk, refusing
from .raw import Raw

T = TypeVar("T")


@handler("gptpart", kinds=Kind.IMAGE, attributes=("device", "volume"), reads_back=True, overwrites=False)
class GptPart:
    """Write an image to the partition named ``volume`` of the GPT disk ``device``; from then on it is ``raw``.

    The name is looked up on the disk itself, when the image is installed: after ``diskpart``, before ``gptswap``. Two
    partitions of one name are an error.
    """

    Options = Raw.Options

    def preflight(self, art: Artifact, opt: Raw.Options, ctx: Context) -> Needs:
        """Whether there is, or will be, such a partition, and the image fits it."""
        with refusing(art):
            coming = coming_disk(ctx, art.device)
            if coming:
                node = _the_one([part.node for part in coming if part.name == art.volume], art)
            else:
                node = _node(art, ctx)
        needs: Needs = Raw().preflight(art._replace(device=node), opt, ctx)
        return needs

    def install(self, art: Artifact, opt: Raw.Options, data: Data, ctx: Context) -> None:
        """Find the partition, and write the image as ``raw`` does.

        Raises:
            DeviceError: there is no such partition, or it cannot be written.
        """
        Raw().install(art._replace(device=_node(art, ctx)), opt, data, ctx)


def _node(art: Artifact, ctx: Context) -> str:
    disk = ctx.hw.disk(art.device, ctx.log)
    return disk.node(_the_one([part.number for part in disk.named() if part.name == art.volume], art))


def _the_one(found: list[T], art: Artifact) -> T:
    if len(found) != 1:
        count = f"{len(found)} partitions" if found else "no partition"
        raise DeviceError(f"{art.device} has {count} named {art.volume!r}", path=art.device)
    return found[0]
