"""``flash-hamming1``: a boot loader for the boot ROM of TI's OMAP and AM3xxx (handlers §2.10).

The ROM corrects one bit in 512 bytes by a Hamming code of its own, in the spare area; newer kernels protect NAND by
something stronger, so data and code are written past it.
"""

from typing import TYPE_CHECKING

from swagent.errors import PreflightRefused
from swagent.model import Artifact, Data, Kind, Needs

from . import readback
from .api import Context, handler
from .beforehand import refusing
from .flashblocks import Block, BlockWriter, good_blocks, judge, number_of, padded, pieces
from .options import NoOptions, plain_size

if TYPE_CHECKING:
    from swagent.hw.mtd import Flash

SUBPAGE_BYTES = 512
CODE_AT = 2
"""Where in the spare area the codes begin; before it is the mark of a bad block."""


@handler("flash-hamming1", kinds=Kind.IMAGE | Kind.FILE, reads_back_unasked=True)
class FlashHamming:
    """Write an image to the start of the MTD ``device`` or ``mtdname`` with 1-bit Hamming codes; erase all the rest.

    Where the MTD is no NAND (OneNAND), every page is written twice instead, as the boot ROM wants it there.
    """

    Options = NoOptions

    def preflight(self, art: Artifact, opt: NoOptions, ctx: Context) -> Needs:
        """Whether the device is there, free, and has good blocks enough."""
        size_bytes = plain_size(art)
        with refusing(art):
            number = number_of(art, ctx)
            flash = ctx.hw.flash(number)
            try:
                judge(number, flash, ctx)
                _judge_room(number, flash, art, size_bytes or 0)
            finally:
                flash.close()
        return Needs(target=f"/dev/mtd{number}", write_bytes=size_bytes)

    def install(self, art: Artifact, opt: NoOptions, data: Data, ctx: Context) -> None:
        """Write pages and codes, and erase what lies behind."""
        number = number_of(art, ctx)
        nand = _is_nand(number, ctx)
        flash = ctx.hw.flash(number, writable=True, raw=nand)
        try:
            judge(number, flash, ctx)
            _judge_room(number, flash, art, data.size_bytes or 0)
            verify = readback.wanted(art, always=ctx.verify_write, unasked=True)
            writer = BlockWriter(flash, 0, path=f"/dev/mtd{number}", ctx=ctx, verify=verify, raw=nand)
            for piece in pieces(data, flash.erase_bytes if nand else flash.erase_bytes // 2):
                writer.put(_with_codes(padded(piece, flash), flash) if nand else _twice(piece, flash))
            writer.erase_rest()
        finally:
            flash.close()


def code(subpage: bytes) -> bytes:
    """The 3 bytes for 512: parities over the bits whose address has a bit set (odd), and over the others (even)."""
    column = row = 0
    for index, byte in enumerate(subpage):
        column ^= byte
        if byte.bit_count() & 1:
            row ^= index
    odd = row << 3
    for bit, mask in enumerate((0xAA, 0xCC, 0xF0)):
        odd |= ((column & mask).bit_count() & 1) << bit
    even = odd ^ (0xFFF if column.bit_count() & 1 else 0)
    return bytes((even & 0xFF, odd & 0xFF, even >> 8 | odd >> 8 << 4))


def _with_codes(data: bytes, flash: "Flash") -> Block:
    oob = bytearray()
    for page in range(0, len(data), flash.write_bytes):
        subpages = range(page, page + flash.write_bytes, SUBPAGE_BYTES)
        codes = b"".join(code(data[at : at + SUBPAGE_BYTES]) for at in subpages)
        oob += (b"\xff" * CODE_AT + codes).ljust(flash.oob_bytes, b"\xff")
    return Block(data, bytes(oob))


def _twice(data: bytes, flash: "Flash") -> Block:
    data = padded(data, flash)
    pages = (data[at : at + flash.write_bytes] for at in range(0, len(data), flash.write_bytes))
    return Block(b"".join(page * 2 for page in pages))


def _is_nand(number: int, ctx: Context) -> bool:
    from swagent.hw.mtd import NANDS

    flash = ctx.hw.flash(number)
    try:
        return flash.kind in NANDS
    finally:
        flash.close()


def _judge_room(number: int, flash: "Flash", art: Artifact, size_bytes: int) -> None:
    """Whether the good blocks hold the image, and the spare areas its codes.

    Raises:
        PreflightRefused: they do not, or pages are no multiple of what a code is made for.
    """
    from swagent.hw.mtd import NANDS

    path = f"/dev/mtd{number}"
    room_bytes = sum(flash.erase_bytes for _ in good_blocks(flash))
    codes_bytes = flash.write_bytes // SUBPAGE_BYTES * 3
    why = ""
    if art.offset_bytes:
        why = "the boot ROM reads from the start: flash-hamming1 has no offset"
    elif flash.write_bytes % SUBPAGE_BYTES:
        why = f"{path} has pages of {flash.write_bytes} bytes, no multiple of {SUBPAGE_BYTES}"
    elif flash.kind in NANDS and flash.oob_bytes < CODE_AT + codes_bytes:
        why = (
            f"the spare areas of {path} have {flash.oob_bytes} bytes, the codes need {CODE_AT + codes_bytes}"
        )
    elif size_bytes > (room_bytes if flash.kind in NANDS else room_bytes // 2):
        why = f"{art.label} has {size_bytes} bytes, more than the good blocks of {path} hold"
    if why:
        raise PreflightRefused(why)
