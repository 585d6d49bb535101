"""Several members, read as one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import HashError

from .verify import Span, SumReader

if TYPE_CHECKING:
    from hashlib import _Hash


class OpenPart(NamedTuple):
    """A member whose turn has come.

    Attributes:
        sha256: what its bytes must have; None when somebody else judges them.
    """

    name: str
    reader: Span | SumReader
    size_bytes: int
    sha256: bytes | None


class PartsReader:
    """Reads parts one behind the other; each is judged before the next is begun.

    Args:
        parts: opens them, one at a time.
    """

    def __init__(self, parts: Iterator[OpenPart]) -> None:
        self._parts = parts
        self._part: OpenPart | None = None
        self._left_bytes = 0
        self._hash: _Hash | None = None
        self._ended = False

    def readinto(self, buffer: memoryview) -> int:
        """Read on; 0 at the end of the last part.

        Raises:
            HashError: a part is not what sw-description promises.
            ArchiveError: the next one is not there, or another member is.
        """
        while not self._ended:
            if self._part is not None:
                n = self._part.reader.readinto(buffer)
                if n:
                    self._left_bytes -= n
                    if self._hash is not None:
                        self._hash.update(buffer[:n])
                    return n
            self._next()
        return 0

    def skip(self, n_bytes: int) -> None:
        """Pass over bytes; parts that are not read whole are not judged here, so their ``sha256`` must be None."""
        while n_bytes and not self._ended:
            if self._part is None or self._left_bytes == 0:
                self._next()
                continue
            n = min(n_bytes, self._left_bytes)
            assert isinstance(self._part.reader, Span)  # noqa: S101 - nobody skips what is summed
            self._part.reader.skip(n)
            self._left_bytes -= n
            n_bytes -= n

    def _next(self) -> None:
        part, digest = self._part, self._hash
        if part is not None and digest is not None and digest.digest() != part.sha256:
            raise HashError(
                f"{part.name} is not what sw-description promised: sha256 is {digest.hexdigest()}, expected "
                f"{part.sha256.hex() if part.sha256 else 'none'}",
                artifact=part.name,
                hint="fetch the image again; if its own checksum is right, ask who built it",
            )
        self._part = next(self._parts, None)
        self._ended = self._part is None
        self._hash = None
        if self._part is not None:
            self._left_bytes = self._part.size_bytes
            if self._part.sha256 is not None:
                from hashlib import sha256

                self._hash = sha256()
