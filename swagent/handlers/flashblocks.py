"""Writing raw flash: a stream of erase blocks onto those blocks of a device that are good (handlers §2.9)."""

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import DeviceError, PreflightRefused, SwagentError
from swagent.model import Artifact, Reader

from .api import Context

if TYPE_CHECKING:
    from swagent.hw.mtd import Flash

WORN_LEAST = 4
WORN_SHARE = 50
"""So many blocks, or one in so many, may be given up in one update: more is no wear, but a device that fails."""

_WORN = (errno.EIO, errno.EBADMSG)


class Block(NamedTuple):
    """What goes into one erase block: whole pages, and the spare areas of all of them or of none."""

    data: bytes
    oob: bytes = b""


def number_of(art: Artifact, ctx: Context) -> int:
    """The MTD that an entry names, by ``mtdname`` or ``device``.

    Raises:
        PreflightRefused: it names none.
        DeviceError: there is no such MTD.
    """
    device = art.mtdname or art.device
    if not device:
        raise PreflightRefused(f"{art.type} needs the attribute device or mtdname")
    return ctx.hw.mtd_number(device)


def judge(number: int, flash: "Flash", ctx: Context, *, allow_mounted: bool = False) -> None:
    """Whether a device may be written now.

    Raises:
        PreflightRefused: it is read-only or in use.
    """
    if flash.read_only:
        raise PreflightRefused(
            f"/dev/mtd{number} is read-only", hint="the device tree or mtdparts may say so"
        )
    why = "" if allow_mounted else ctx.hw.flash_in_use(number)
    if why:
        raise PreflightRefused(why, hint="write to the other copy, or unmount or detach it first")


def good_blocks(flash: "Flash", start: int = 0) -> Iterator[int]:
    """Where the good blocks begin, from the block at ``start`` on."""
    for at in range(start, flash.size_bytes - flash.erase_bytes + 1, flash.erase_bytes):
        if not flash.is_bad(at):
            yield at


def pieces(data: Reader, n_bytes: int, head: bytes = b"") -> Iterator[bytes]:
    """All of ``head`` and ``data`` in pieces of ``n_bytes``, the last one shorter."""
    buffer = bytearray(head)
    room = memoryview(bytearray(n_bytes))
    while n := data.readinto(room[: n_bytes - len(buffer)]):
        buffer += room[:n]
        if len(buffer) == n_bytes:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def padded(data: bytes, flash: "Flash") -> bytes:
    """Filled up to whole pages with what erased flash holds."""
    return data + b"\xff" * (-len(data) % flash.write_bytes)


class BlockWriter:
    """Puts blocks onto a device, one behind the other; one that wears out is marked and its content goes to the next.

    Args:
        flash: open for writing.
        start: where the first block may go.
        path: what to call the device.
        ctx: for the log.
        verify: read each block back.
        raw: it was opened past the error correction: a bit in 512 bytes may differ then, and spare areas hold what was
            written.
    """

    def __init__(
        self, flash: "Flash", start: int, *, path: str, ctx: Context, verify: bool, raw: bool = False
    ) -> None:
        from swagent.hw.mtd import NANDS

        self._flash = flash
        self._at = start
        self._path = path
        self._ctx = ctx
        self._verify = verify
        self._raw = raw
        self._nand = flash.kind in NANDS
        self._worn = 0

    @property
    def at(self) -> int:
        """Where the next block may go."""
        return self._at

    def put(self, block: Block) -> None:
        """Erase the next good block and write it.

        Raises:
            DeviceError: it failed in another way than by wear, or there is no good block left.
        """
        while True:
            at = next(good_blocks(self._flash, self._at), None)
            if at is None:
                raise DeviceError(
                    f"{self._path} has no good blocks left", path=self._path, errno=errno.ENOSPC
                )
            self._at = at + self._flash.erase_bytes
            try:
                self._put_at(at, block)
                return
            except DeviceError as exc:
                if not self._nand or exc.errno not in _WORN:
                    raise
                self._give_up(at, exc)

    def erase_rest(self) -> None:
        """Erase all good blocks behind the last one that was written."""
        for at in good_blocks(self._flash, self._at):
            try:
                self._flash.erase(at)
            except DeviceError as exc:
                if not self._nand or exc.errno not in _WORN:
                    raise
                self._give_up(at, exc)

    def _put_at(self, at: int, block: Block) -> None:
        flash = self._flash
        locked = flash.is_locked(at, flash.erase_bytes)
        if locked:
            flash.unlock(at, flash.erase_bytes)
        try:
            if self._nand or _used(flash.read(at, flash.erase_bytes)):
                flash.erase(at)
            if block.oob:
                self._write_pages(at, block)
            else:
                for begin, end in _runs(block.data, flash.write_bytes if self._nand else len(block.data)):
                    flash.write(at + begin, block.data[begin:end])
            if self._verify:
                self._read_back(at, block)
        finally:
            if locked:
                self._lock_again(at)

    def _write_pages(self, at: int, block: Block) -> None:
        page, spare = self._flash.write_bytes, self._flash.oob_bytes
        for number in range(len(block.data) // page):
            data = block.data[number * page : (number + 1) * page]
            oob = block.oob[number * spare : (number + 1) * spare]
            if _used(data) or _used(oob):
                self._flash.write(at + number * page, data, oob)

    def _read_back(self, at: int, block: Block) -> None:
        flash, bits = self._flash, int(self._raw)
        same = _alike(flash.read(at, len(block.data)), block.data, bits)
        if same and self._raw and block.oob:
            pages = range(at, at + len(block.data), flash.write_bytes)
            same = _alike(b"".join(flash.read_oob(page) for page in pages), block.oob, bits)
        if not same:
            raise DeviceError(
                f"{self._path} reads back differently than it was written, in the block at {at:#x}",
                path=self._path,
                errno=errno.EBADMSG,
                hint="the flash is worn out or fails: see dmesg",
            )

    def _give_up(self, at: int, exc: DeviceError) -> None:
        """Mark a block as bad, unless so many fail that it cannot be the blocks."""
        flash = self._flash
        self._worn += 1
        if self._worn > max(WORN_LEAST, flash.size_bytes // flash.erase_bytes // WORN_SHARE):
            raise DeviceError(
                f"{self._path}: {self._worn} blocks failed in this update, the last one at {at:#x}: {exc.message}",
                path=self._path,
                errno=exc.errno,
                hint="so many do not wear out at once: the controller, its supply or its driver may fail; see dmesg",
            ) from exc
        self._ctx.log("warn", f"{exc.message}: the block at {at:#x} is marked as bad")
        try:
            flash.erase(at)  # nobody must take what is left in it for data
        except DeviceError:
            self._ctx.log("debug", f"the bad block at {at:#x} cannot be erased either")
        flash.mark_bad(at)

    def _lock_again(self, at: int) -> None:
        try:
            self._flash.lock(at, self._flash.erase_bytes)
        except SwagentError as exc:
            self._ctx.log("warn", f"{exc.message}: the block at {at:#x} stays unlocked until the next boot")


def _used(data: bytes) -> bool:
    return data.count(0xFF) != len(data)


def _alike(found: bytes, wanted: bytes, bits: int) -> bool:
    """Whether so many bits at most differ in any 512 bytes."""
    return found == wanted or all(
        (int.from_bytes(found[at : at + 512]) ^ int.from_bytes(wanted[at : at + 512])).bit_count() <= bits
        for at in range(0, len(wanted), 512)
    )


def _runs(data: bytes, page_bytes: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the runs of pages that are not blank: erased pages need no writing."""
    begin = None
    for at in range(0, len(data), page_bytes):
        if _used(data[at : at + page_bytes]):
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, len(data)
