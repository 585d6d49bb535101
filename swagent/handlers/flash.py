"""``flash``: an image onto raw flash, block by block, past the bad ones (handlers §2.9)."""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import PreflightRefused, SizeError
from swagent.model import Artifact, Data, Kind, Needs

from . import readback
from .api import Context, handler
from .beforehand import refusing, size_told
from .flashblocks import Block, BlockWriter, good_blocks, judge, number_of, padded, pieces

if TYPE_CHECKING:
    from swagent.hw.mtd import Flash


@handler("flash", kinds=Kind.IMAGE | Kind.FILE, reads_back_unasked=True)
class FlashImage:
    """Write an image to the MTD ``device`` or ``mtdname`` from ``offset`` on, and read it back.

    Bad blocks are skipped; one of NAND that fails is marked as bad, and its content goes to the next. Blocks are
    erased as they are reached: what lies behind the image in the last one is lost.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            noecc: NAND only; the image has the bits of the chip, past the error correction.
            oob: NAND only; behind each page of the image follows its spare area.
            allow_mounted: write the device even while something is mounted from it.
        """

        noecc: bool = False
        oob: bool = False
        allow_mounted: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the device is there, free, and has good blocks enough."""
        with refusing(art):
            size_bytes = size_told(art)
            number = number_of(art, ctx)
            flash = ctx.hw.flash(number)
            try:
                judge(number, flash, ctx, allow_mounted=opt.allow_mounted)
                _judge_room(number, flash, art, opt, size_bytes or 0)
            finally:
                flash.close()
        return Needs(target=f"/dev/mtd{number}", write_bytes=size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Write it block by block."""
        number = number_of(art, ctx)
        path = f"/dev/mtd{number}"
        flash = ctx.hw.flash(number, writable=True, raw=opt.noecc)
        try:
            judge(number, flash, ctx, allow_mounted=opt.allow_mounted)
            room_bytes = _judge_room(number, flash, art, opt, data.size_bytes or 0)
            verify = readback.wanted(art, always=ctx.verify_write, unasked=True)
            into_block = art.offset_bytes % flash.erase_bytes
            start = art.offset_bytes - into_block
            writer = BlockWriter(flash, start, path=path, ctx=ctx, verify=verify, raw=opt.noecc)
            head = flash.read(start, into_block) if into_block else b""
            block_bytes = flash.erase_bytes
            if opt.oob:
                block_bytes += flash.erase_bytes // flash.write_bytes * flash.oob_bytes
            written_bytes = 0
            for piece in pieces(data, block_bytes, head):
                written_bytes += len(piece)
                if written_bytes - len(head) > room_bytes:  # its size was not known, or not the truth
                    raise SizeError(
                        f"{art.label} is larger than {path}, which holds {room_bytes} bytes of it"
                    )
                writer.put(_apart(piece, flash) if opt.oob else Block(padded(piece, flash)))
        finally:
            flash.close()


def _judge_room(number: int, flash: "Flash", art: Artifact, opt: FlashImage.Options, size_bytes: int) -> int:
    """How many bytes of an image the good blocks hold, from its offset on.

    Raises:
        PreflightRefused: fewer than it has; or this device cannot be written in that way.
    """
    from swagent.hw.mtd import NANDS

    path = f"/dev/mtd{number}"
    into_block = art.offset_bytes % flash.erase_bytes
    start = art.offset_bytes - into_block
    room_bytes = max(0, sum(flash.erase_bytes for _ in good_blocks(flash, start)) - into_block)
    if opt.oob and flash.write_bytes:
        room_bytes = room_bytes // flash.write_bytes * (flash.write_bytes + flash.oob_bytes)
    why = ""
    if (opt.oob or opt.noecc) and flash.kind not in NANDS:
        why = f"{path} is no NAND: it has neither spare areas (oob) nor error correction (noecc)"
    elif opt.oob and into_block:
        why = f"with the property oob, offset must be a multiple of {flash.erase_bytes}"
    elif into_block and start < flash.size_bytes and flash.is_bad(start):
        why = f"the block of {path} that offset lies in is bad, and offset does not begin it"
    elif size_bytes > room_bytes or start >= flash.size_bytes:
        why = (
            f"{art.label} has {size_bytes} bytes, the good blocks of {path} from {art.offset_bytes:#x} on hold "
            f"{room_bytes}"
        )
    if why:
        raise PreflightRefused(why)
    return room_bytes


def _apart(piece: bytes, flash: "Flash") -> Block:
    """Pages and their spare areas, which follow each other in an image."""
    unit = flash.write_bytes + flash.oob_bytes
    piece += b"\xff" * (-len(piece) % unit)
    units = [piece[at : at + unit] for at in range(0, len(piece), unit)]
    return Block(
        b"".join(one[: flash.write_bytes] for one in units),
        b"".join(one[flash.write_bytes :] for one in units),
    )
