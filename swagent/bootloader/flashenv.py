"""Where a copy of U-Boot's environment lies on raw flash, and how it is read and written there.

A copy begins at its offset and takes the good blocks that follow, within ``envsectors`` sectors: bad blocks are skipped
(handlers §4.1). What else lies in its blocks is kept, though a power cut between erasing and writing can cost it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from swagent.errors import BootEnvError, DeviceError
from swagent.hw.mtd import MLC_NAND, NAND, NOR, Flash, Mtd

from .fwenv import Place

FLAGS_AT = 4
OBSOLETE = b"\0"

OpenFlash = Callable[[str, bool], Flash]
"""Opens the flash device of a path, for writing too or not; raises DeviceError."""


def open_mtd(path: str, writable: bool) -> Flash:
    """The real device."""
    return Mtd(path, writable=writable)


class _Piece(NamedTuple):
    """What of a copy lies in one erase block."""

    block: int
    offset: int
    size_bytes: int


class FlashCopies:
    """The one or two copies of an environment on raw flash.

    Args:
        places: where they are, from fw_env.config.
        open_flash: opens a device, the kernel's if not given.

    Raises:
        BootEnvError: the copies lie on flash of different kinds, or overlap, or a device cannot be opened.

    Attributes:
        by_mark: the flags say 1 for the copy in force and 0 for the other, as on NOR, and do not count.
    """

    def __init__(self, places: tuple[Place, ...], open_flash: OpenFlash | None = None) -> None:
        self._places = places
        self._open = open_flash or open_mtd
        self.by_mark = self._check() == {NOR}

    def _check(self) -> set[int]:
        """The kinds of flash, one."""
        kinds = set()
        ranges = []
        for place in self._places:
            with self._opened(place, writable=False) as flash:
                kinds.add(flash.kind)
                start, end = _range(flash, place)
                ranges.append((os.path.realpath(place.device), _down(start, flash), -_down(-end, flash)))
        if len(kinds) > 1:
            raise BootEnvError("the two copies of the boot environment lie on flash of different kinds")
        (device, start, end), (other, other_start, other_end) = ranges[0], ranges[-1]
        if len(ranges) == 2 and device == other and start < other_end and other_start < end:
            raise BootEnvError(
                f"the two copies of the boot environment share an erase block of {device}",
                hint="correct fw_env.config: each copy needs blocks of its own",
            )
        return kinds

    def read_all(self) -> list[bytes]:
        """All copies as stored, in their order."""
        return [self._read(index) for index in range(len(self._places))]

    def sync(self, index: int) -> None:
        """Nothing to do: the kernel keeps nothing back for an MTD."""

    def _read(self, index: int) -> bytes:
        """A copy; empty when it cannot be read or has too few good blocks: U-Boot could not read it either."""
        place = self._places[index]
        with self._opened(place, writable=False) as flash:
            pieces = _pieces(flash, place)
            try:
                return b"".join(flash.read(p.block + p.offset, p.size_bytes) for p in pieces)
            except DeviceError:
                return b""

    def write(self, index: int, raw: bytes) -> None:
        """Write a copy and read it back.

        Raises:
            BootEnvError: it cannot be written; what lay there may be gone.
        """
        place = self._places[index]
        with self._opened(place, writable=True) as flash:
            pieces = _pieces(flash, place)
            if not pieces:
                raise BootEnvError(
                    f"{place.device} has too many bad blocks at {place.offset_bytes:#x} for the boot environment",
                    hint="give it more envsectors, in U-Boot and in fw_env.config",
                )
            # the checksum last: what fails before it leaves no copy that happens to be valid
            at = len(raw)
            for piece in reversed(pieces):
                _write_piece(flash, piece, raw[at - piece.size_bytes : at])
                at -= piece.size_bytes
            back = b"".join(flash.read(p.block + p.offset, p.size_bytes) for p in pieces)
        if back != raw:
            raise BootEnvError(
                f"{place.device} does not give back the boot environment that was written to it",
                hint="the flash may be worn out or write-protected",
            )

    def make_obsolete(self, index: int) -> None:
        """On NOR: set the flags of a copy to 0, which needs no erase.

        Raises:
            BootEnvError: they are not 0 now.
        """
        place = self._places[index]
        with self._opened(place, writable=True) as flash:
            start, _ = _range(flash, place)
            block = _down(start, flash)
            try:
                with _unlocked(flash, block):
                    flash.write(start + FLAGS_AT, OBSOLETE)
            except DeviceError:
                if flash.read(start + FLAGS_AT, 1) != OBSOLETE:  # only what is there counts
                    raise
            if flash.read(start + FLAGS_AT, 1) != OBSOLETE:
                raise BootEnvError(f"{place.device} does not keep the mark of an obsolete boot environment")

    @contextmanager
    def _opened(self, place: Place, *, writable: bool) -> Iterator[Flash]:
        try:
            flash = self._open(place.device, writable)
            try:
                yield flash
            finally:
                flash.close()
        except DeviceError as exc:
            raise BootEnvError(f"the boot environment: {exc.message}", hint=exc.hint) from exc


def _range(flash: Flash, place: Place) -> tuple[int, int]:
    """First byte of a copy, and the end of the sectors that it may use."""
    start = place.offset_bytes if place.offset_bytes >= 0 else flash.size_bytes + place.offset_bytes
    sector_bytes = place.sector_bytes or flash.erase_bytes
    sectors = place.sectors or -(-place.size_bytes // sector_bytes)
    end = start + sectors * sector_bytes
    if place.size_bytes > end - start:
        raise BootEnvError(
            f"a boot environment of {place.size_bytes:#x} bytes is larger than its {sectors} sectors of "
            f"{sector_bytes:#x} bytes",
            hint="correct fw_env.config",
        )
    if start < 0 or end > flash.size_bytes:
        raise BootEnvError(
            f"the sectors of the boot environment at {place.offset_bytes:#x} do not lie within {place.device}, "
            f"which has {flash.size_bytes:#x} bytes"
        )
    if flash.kind in (NAND, MLC_NAND) and start % flash.erase_bytes:
        raise BootEnvError(
            f"the boot environment on {place.device} does not begin with a block of {flash.erase_bytes:#x} bytes",
            hint="correct its offset in fw_env.config",
        )
    return start, end


def _down(at: int, flash: Flash) -> int:
    return at // flash.erase_bytes * flash.erase_bytes


def _pieces(flash: Flash, place: Place) -> list[_Piece]:
    """The parts of a copy, bad blocks left out; none when the good ones do not suffice."""
    start, end = _range(flash, place)
    pieces = []
    missing_bytes = place.size_bytes
    block = _down(start, flash)
    while missing_bytes and block < end:
        if not flash.is_bad(block):
            offset = max(start - block, 0)
            size = min(missing_bytes, flash.erase_bytes - offset, end - block - offset)
            pieces.append(_Piece(block, offset, size))
            missing_bytes -= size
        block += flash.erase_bytes
    return [] if missing_bytes else pieces


def _write_piece(flash: Flash, piece: _Piece, data: bytes) -> None:
    content = bytearray(flash.read(piece.block, flash.erase_bytes))
    content[piece.offset : piece.offset + piece.size_bytes] = data
    # erased bytes at the end need no writing; pages are written whole
    used_bytes = len(content.rstrip(b"\xff"))
    used_bytes = -(-used_bytes // flash.write_bytes) * flash.write_bytes
    with _unlocked(flash, piece.block):
        flash.erase(piece.block)
        flash.write(piece.block, bytes(content[:used_bytes]))


@contextmanager
def _unlocked(flash: Flash, block: int) -> Iterator[None]:
    protected = flash.unlock(block, flash.erase_bytes)
    try:
        yield
    finally:
        if protected:
            flash.lock(block, flash.erase_bytes)
