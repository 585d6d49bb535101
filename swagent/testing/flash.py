"""Raw flash in memory, with the manners of the real: only erasing sets bits, blocks go bad, pages are written whole."""

import errno
from collections.abc import Collection

from swagent.errors import DeviceError
from swagent.hw.mtd import NAND, NANDS, NOR


class FakeFlash:
    """A ``swagent.hw.mtd.Flash``.

    Args:
        kind: MTD type; ``NOR`` takes single bytes, others pages.
        blocks: how many erase blocks.
        erase_bytes: of a block.
        bad: indexes of blocks that are marked as bad.
        protected: whether it can be locked; all blocks are, then.

    Attributes:
        content: all bytes.
        spare: the spare areas of all pages, NAND only.
        log: what was done, as ``("erase", 0x2000)``.
        breaks_after: so many further erases and writes succeed, then all fail; None for no end.
        worn: indexes of blocks that cannot be erased any more.
        weak: indexes of blocks that cannot be written any more.
        forgetful: indexes of blocks that give back something else than was written.
        read_only: see ``Flash.read_only``.
        opened: how often it is open now.
    """

    def __init__(
        self,
        kind: int = NAND,
        *,
        blocks: int = 8,
        erase_bytes: int = 4096,
        bad: Collection[int] = (),
        protected: bool = False,
    ) -> None:
        self.kind = kind
        self.erase_bytes = erase_bytes
        self.write_bytes = 1 if kind == NOR else 512
        self.oob_bytes = 16 if kind in NANDS else 0
        self.size_bytes = blocks * erase_bytes
        self.content = bytearray(b"\xff" * self.size_bytes)
        self.spare = bytearray(b"\xff" * (self.size_bytes // self.write_bytes * self.oob_bytes))
        self.log: list[tuple[str, int]] = []
        self.breaks_after: int | None = None
        self.worn: Collection[int] = ()
        self.weak: Collection[int] = ()
        self.forgetful: Collection[int] = ()
        self.read_only = False
        self.opened = 0
        self.bad = set(bad)
        self._locked = set(range(blocks)) if protected else None

    def open(self, *, writable: bool, raw: bool) -> None:
        """Note that somebody has it."""
        if writable and self.read_only:
            raise _failed(errno.EACCES, "it is read-only")
        self.opened += 1

    def is_bad(self, at: int) -> bool:
        """See ``Flash.is_bad``."""
        return at // self.erase_bytes in self.bad

    def mark_bad(self, at: int) -> None:
        """See ``Flash.mark_bad``."""
        self._check(at, self.erase_bytes)
        self.log.append(("mark", at))
        self.bad.add(at // self.erase_bytes)

    def read(self, at: int, n_bytes: int) -> bytes:
        """See ``Flash.read``."""
        self._check(at, n_bytes)
        data = bytes(self.content[at : at + n_bytes])
        return data[:-1] + b"?" if at // self.erase_bytes in self.forgetful else data

    def read_oob(self, at: int) -> bytes:
        """See ``Flash.read_oob``."""
        self._check(at, self.write_bytes)
        begin = at // self.write_bytes * self.oob_bytes
        return bytes(self.spare[begin : begin + self.oob_bytes])

    def erase(self, at: int) -> None:
        """See ``Flash.erase``."""
        self._check(at, self.erase_bytes)
        if at % self.erase_bytes:
            raise _failed(errno.EINVAL, "no erase block begins there")
        self._change("erase", at, self.worn)
        self.content[at : at + self.erase_bytes] = b"\xff" * self.erase_bytes
        begin, end = (byte // self.write_bytes * self.oob_bytes for byte in (at, at + self.erase_bytes))
        self.spare[begin:end] = b"\xff" * (end - begin)

    def write(self, at: int, data: bytes, oob: bytes = b"") -> None:
        """See ``Flash.write``. On NAND it is an error to write a page twice."""
        self._check(at, len(data))
        if at % self.write_bytes or len(data) % self.write_bytes:
            raise _failed(errno.EINVAL, "no whole pages")
        if oob and (len(data), len(oob)) != (self.write_bytes, self.oob_bytes):
            raise _failed(errno.EINVAL, "no page with its spare area")
        self._change("write", at, self.weak)
        old = self.content[at : at + len(data)]
        if self.kind in NANDS and old.strip(b"\xff"):
            raise _failed(errno.EIO, "the page is not erased")
        self.content[at : at + len(data)] = bytes(a & b for a, b in zip(old, data, strict=True))
        begin = at // self.write_bytes * self.oob_bytes
        self.spare[begin : begin + len(oob)] = oob

    def is_locked(self, at: int, n_bytes: int) -> bool:
        """See ``Flash.is_locked``."""
        return bool(self._locked and self._locked & self._blocks(at, n_bytes))

    def unlock(self, at: int, n_bytes: int) -> bool:
        """See ``Flash.unlock``."""
        if self._locked is None:
            return False
        self._locked -= self._blocks(at, n_bytes)
        return True

    def lock(self, at: int, n_bytes: int) -> None:
        """See ``Flash.lock``."""
        if self._locked is None:
            raise _failed(errno.EOPNOTSUPP, "it cannot be locked")
        self._locked |= self._blocks(at, n_bytes)

    def close(self) -> None:
        """See ``Flash.close``; it can be opened again."""
        self.opened -= 1

    def _blocks(self, at: int, n_bytes: int) -> set[int]:
        return set(range(at // self.erase_bytes, (at + n_bytes) // self.erase_bytes))

    def _check(self, at: int, n_bytes: int) -> None:
        if at < 0 or at + n_bytes > self.size_bytes:
            raise _failed(errno.EINVAL, "that is beyond the device")

    def _change(self, verb: str, at: int, failing: Collection[int]) -> None:
        block = at // self.erase_bytes
        if block in self.bad:
            raise _failed(errno.EIO, f"block {block} is bad")
        if self._locked is not None and block in self._locked:
            raise _failed(errno.EROFS, f"block {block} is locked")
        if block in failing:
            raise _failed(errno.EIO, f"block {block} is worn out")
        if self.breaks_after is not None:
            if self.breaks_after == 0:
                raise _failed(errno.EIO, "the flash is broken")
            self.breaks_after -= 1
        self.log.append((verb, at))


def _failed(number: int, why: str) -> DeviceError:
    return DeviceError(f"fake flash: {why}", path="fake flash", errno=number)
