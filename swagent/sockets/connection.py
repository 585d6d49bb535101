"""An update that comes over a connection: where it ends, what was promised of it, and how long it may be silent."""

import hashlib
from collections.abc import Callable, Mapping

from swagent.errors import DeadlineError, HashError, SizeError, UsageError
from swagent.stream.source import WAIT_MS, StreamSource

END_QUIET_S = 1.0
"""After the archive's end mark nothing for so long is the end, as SWUpdate has it: its clients may wait for a verdict
before they hang up (runtime interfaces §2.5)."""
SILENCE_S = 300.0
_END_MARK = b"TRAILER!!!"
_TAIL_BYTES = 4096


class ConnectionSource(StreamSource):
    """The bytes that a client sends behind its request.

    Args:
        fd: of the connection; the caller keeps it open.
        name: how messages call it.
        length_bytes: where it ends, None for the archive's own end.
        hashes: algorithm to hex digest, of all of it.
        silence_s: how long nothing may come.
        on_bytes: called with the number of bytes that have come so far.

    Raises:
        UsageError: a hash is none that is known.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        *,
        length_bytes: int | None = None,
        hashes: Mapping[str, str] | None = None,
        silence_s: float = SILENCE_S,
        on_bytes: Callable[[int], None] = lambda n: None,
    ) -> None:
        super().__init__(fd, name)
        self.size_bytes = length_bytes
        self._came_bytes = 0
        self._tail = b""
        self._quiet_s = 0.0
        self._silence_s = silence_s
        self._on_bytes = on_bytes
        self._promised = dict(hashes or {})
        try:
            self._hashers = {name: hashlib.new(name) for name in self._promised if _is_strong(name)}
        except ValueError as exc:
            raise UsageError(f"{name}: {exc}") from exc
        if self._promised and not self._hashers:
            raise UsageError(f"{name}: no hash that is worth checking among {', '.join(self._promised)}")

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """As its parent; silence has an end."""

        def wait() -> None:
            waiting()
            self._quiet_s += WAIT_MS / 1000
            if self._quiet_s >= self._silence_s:
                raise DeadlineError(
                    f"{self.name}: nothing came for {self._silence_s:g} s after byte {self._came_bytes}"
                )

        super().attend(waiting=wait, tell=tell)

    def _read(self, buffer: memoryview) -> int:
        self._quiet_s = 0.0
        if self.size_bytes is not None:
            buffer = buffer[: self.size_bytes - self._came_bytes]
            if not buffer:
                self._judge()
                return 0
        elif self._seems_complete() and not self._poll.poll(int(END_QUIET_S * 1000)):
            self._judge()
            return 0
        n = super()._read(buffer)
        self._came_bytes += n
        for hasher in self._hashers.values():
            hasher.update(buffer[:n])
        if self.size_bytes is None:
            self._tail = (self._tail + bytes(buffer[max(0, n - _TAIL_BYTES) : n]))[-_TAIL_BYTES:]
        if n:
            self._on_bytes(self._came_bytes)
        elif self.size_bytes is not None:
            raise SizeError(
                f"{self.name} ends after {self._came_bytes} of {self.size_bytes} bytes", hint="send it again"
            )
        else:
            self._judge()
        return n

    def _seems_complete(self) -> bool:
        return self._tail[-1:] == b"\0" and self._tail.rstrip(b"\0").endswith(_END_MARK)

    def _judge(self) -> None:
        for name, hasher in self._hashers.items():
            found, promised = hasher.hexdigest(), self._promised[name].lower()
            if found != promised:
                raise HashError(f"{self.name} is not what was promised: {name} {found}, expected {promised}")


def _is_strong(algorithm: str) -> bool:
    return algorithm in ("sha256", "sha384", "sha512")
