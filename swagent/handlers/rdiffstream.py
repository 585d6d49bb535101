"""The delta stream of librsync, as ``rdiff delta`` writes it: literal bytes, and copies from a base (handlers §2.20).

A delta carries no digest of its base, so that patching another base gives other bytes: whoever knows what must come out
should say so.
"""

import struct
from hashlib import sha256

from swagent.errors import ArchiveError, HashError
from swagent.model import Reader

from .basefile import BaseFile

MAGIC = 0x72730236
BUFFER_BYTES = 64 * 1024

_END = 0x00
_LITERAL_MAX = 0x40
_LITERAL_SIZED = 0x41
_COPY = 0x45
_COPY_LAST = 0x54
_NUMBERS = [struct.Struct(">" + code) for code in "BHIQ"]


class PatchedReader:
    """The new file; a ``model.Reader``. Reads the delta in order and the base anywhere; its memory does not grow.

    Args:
        delta: is read to its end, where the verdict on it is.
        base: what was there before.
        base_bytes: how many bytes of it there are.
        name: what messages call the delta.
        result_sha256: digest that the new file must have, None when nobody says; judged before its last bytes are given
            out.
    """

    def __init__(
        self,
        delta: Reader,
        base: BaseFile,
        base_bytes: int,
        name: str,
        result_sha256: bytes | None = None,
    ) -> None:
        self._delta = delta
        self._base = base
        self._base_bytes = base_bytes
        self._name = name
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._at = self._end = 0
        self._literal_left = 0
        self._copy_from = self._copy_left = 0
        self._begun = self._ended = False
        self._expected = result_sha256
        self._hash = sha256() if result_sha256 is not None else None

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` unless the new file ends first.

        Raises:
            ArchiveError: the delta is none, is cut short, or copies from outside of the base.
            DeviceError, SizeError: the base cannot be read.
            HashError: the new file is not what it must be.
            VerificationError: the delta is not what was promised, whatever it says.
        """
        try:
            return self._fill(buffer)
        except ArchiveError:
            while self._delta.readinto(self._buffer):
                pass
            raise

    def _fill(self, buffer: memoryview) -> int:
        if not self._begun:
            self._begun = True
            if self._number(2) != MAGIC:
                raise self._error("is no delta of librsync", "make it with `rdiff delta`")
        done = 0
        while done < len(buffer) and not self._ended:
            if self._literal_left:
                n = self._take_literal(buffer[done:])
                self._literal_left -= n
            elif self._copy_left:
                n = self._base.read_at(self._copy_from, buffer[done : done + self._copy_left])
                self._copy_from += n
                self._copy_left -= n
            else:
                self._next_command()
                continue
            done += n
        if self._hash is not None:
            self._hash.update(buffer[:done])
            if self._ended and self._hash.digest() != self._expected:
                raise HashError(
                    f"{self._name} makes another file of {self._base.path} than it should: sha256 is "
                    f"{self._hash.hexdigest()}, expected {(self._expected or b'').hex()}",
                    artifact=self._name,
                    hint="the base is not the version that the delta was made for",
                )
        return done

    def _next_command(self) -> None:
        code = self._number(0)
        if code == _END:
            if self._more():
                raise self._error("goes on behind its end")
            self._ended = True
        elif code <= _LITERAL_MAX:
            self._literal_left = code
        elif code < _COPY:
            self._literal_left = self._number(code - _LITERAL_SIZED)
            if not self._literal_left:
                raise self._error("is malformed: it has a literal of no bytes")
        elif code <= _COPY_LAST:
            width, length_width = divmod(code - _COPY, 4)
            self._copy_from, self._copy_left = self._number(width), self._number(length_width)
            if not self._copy_left or self._copy_from + self._copy_left > self._base_bytes:
                raise self._error(
                    f"copies {self._copy_left} bytes from {self._copy_from} on, and {self._base.path} has "
                    f"{self._base_bytes}",
                    "it was made for another base",
                )
        else:
            raise self._error(f"is malformed: there is no command {code:#04x}")

    def _number(self, width: int) -> int:
        """An unsigned number of 1, 2, 4 or 8 bytes."""
        form = _NUMBERS[width]
        if self._end - self._at >= form.size:
            number = form.unpack_from(self._buffer, self._at)[0]
            self._at += form.size
            return int(number)
        piece = bytearray(form.size)
        done = 0
        while done < form.size:
            done += self._take_literal(memoryview(piece)[done:], form.size - done)
        return int(form.unpack(piece)[0])

    def _take_literal(self, target: memoryview, most: int = 0) -> int:
        """At least one byte of the delta."""
        if not self._more():
            raise self._error("is cut short: its end command is missing", "build or fetch the image again")
        n = min(len(target), most or self._literal_left, self._end - self._at)
        target[:n] = self._buffer[self._at : self._at + n]
        self._at += n
        return n

    def _more(self) -> bool:
        """Whether the delta has another byte; at its end, its verdict is raised here."""
        if self._at == self._end:
            self._at, self._end = 0, self._delta.readinto(self._buffer)
        return self._end > 0

    def _error(self, what: str, hint: str = "") -> ArchiveError:
        return ArchiveError(f"{self._name} {what}", artifact=self._name, hint=hint)
