"""An image's bytes against its signed facts: exact length, every hash, not too slowly (Standard §5.4.3.4)."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from swagent.crypto.digest import same
from swagent.model import Reader

from .errors import InvalidTarget, TargetHashMismatch

if TYPE_CHECKING:
    from hashlib import _Hash

from swagent.errors import EndlessDataError, SlowRetrievalError

_ALGORITHMS = {
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha512-224": "sha512_224",
    "sha512-256": "sha512_256",
}
SLOW_BYTES_PER_S = 8192.0
SLOW_GRACE_S = 3.0


class JudgedImage:
    """A ``Reader`` around another that gives out at most the promised bytes and judges them with the last read.

    Args:
        source: where the image comes from.
        path: its name.
        length_bytes: exactly how many there must be.
        hashes: algorithm to hex; all of them are computed.
        repository: for messages.

    Raises:
        InvalidTarget: a hash is of a kind that cannot be computed here, or there is none.
    """

    def __init__(
        self, source: Reader, path: str, length_bytes: int, hashes: Mapping[str, str], *, repository: str = ""
    ) -> None:
        import hashlib

        self._source = source
        self._path = path
        self._length_bytes = length_bytes
        self._expected = hashes
        self._repository = repository
        self._done_bytes = 0
        unknown = [algorithm for algorithm in hashes if algorithm not in _ALGORITHMS]
        if unknown or not hashes:
            raise InvalidTarget(
                f"{path} has a hash that cannot be checked here" if unknown else f"{path} has no hash",
                repository=repository,
                role="targets",
                expected=", ".join(_ALGORITHMS),
                found=", ".join(unknown)[:60] or "none",
            )
        self._running: dict[str, _Hash] = {name: hashlib.new(_ALGORITHMS[name]) for name in hashes}

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer``; 0 at the end, and only when the image is what was promised.

        Raises:
            EndlessDataError: there is more than promised; nothing of it was given out.
            TargetHashMismatch: there is less, or a hash is another.
        """
        left = self._length_bytes - self._done_bytes
        if not left:
            self._judge()
            return 0
        n = self._source.readinto(buffer[: min(len(buffer), left)])
        if not n:
            raise TargetHashMismatch(
                f"{self._path} ends after {self._done_bytes} bytes",
                repository=self._repository,
                artifact=self._path,
                expected=f"{self._length_bytes} bytes",
                found=f"{self._done_bytes} bytes",
            )
        for running in self._running.values():
            running.update(buffer[:n])
        self._done_bytes += n
        return n

    def _judge(self) -> None:
        if self._source.readinto(memoryview(bytearray(1))):
            raise EndlessDataError(
                f"{self._path} goes on behind its end",
                repository=self._repository,
                artifact=self._path,
                expected=f"{self._length_bytes} bytes",
                found="more",
            )
        for algorithm, running in self._running.items():
            found = running.hexdigest()
            if not same(found.encode(), self._expected[algorithm].encode()):
                raise TargetHashMismatch(
                    f"{self._path} is not the image that was signed: its {algorithm} is another",
                    repository=self._repository,
                    artifact=self._path,
                    expected=self._expected[algorithm],
                    found=found,
                )


class WatchedSpeed:
    """A ``Reader`` around another that gives up when bytes come too slowly; how fast they are taken does not count.

    Args:
        source: where they come from.
        what: for messages.
        monotonic_s: the clock.
        least_bytes_per_s: what the average must reach, after ``grace_s``.
    """

    def __init__(
        self,
        source: Reader,
        what: str,
        monotonic_s: Callable[[], float],
        *,
        least_bytes_per_s: float = SLOW_BYTES_PER_S,
        grace_s: float = SLOW_GRACE_S,
    ) -> None:
        self._source = source
        self._what = what
        self._monotonic_s = monotonic_s
        self._least_bytes_per_s = least_bytes_per_s
        self._grace_s = grace_s
        self._waited_s = 0.0
        self._done_bytes = 0

    def readinto(self, buffer: memoryview) -> int:
        """As the source's.

        Raises:
            SlowRetrievalError: it was too slow so far.
        """
        begun_s = self._monotonic_s()
        n = self._source.readinto(buffer)
        self._done_bytes += n
        self._waited_s += self._monotonic_s() - begun_s
        waited_s = self._waited_s
        if n and waited_s > self._grace_s and self._done_bytes < self._least_bytes_per_s * waited_s:
            raise SlowRetrievalError(
                f"{self._what} comes too slowly",
                artifact=self._what,
                expected=f"{self._least_bytes_per_s:.0f} bytes a second",
                found=f"{self._done_bytes / waited_s:.0f} bytes a second",
            )
        return n
