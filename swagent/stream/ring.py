"""Bounded rings of aligned buffers, and the two threads of the pipe. The only module with threads below the doors."""

import mmap
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol


class _Digest(Protocol):
    def update(self, data: memoryview, /) -> None: ...


class Slot:
    """One buffer of a ring: a page-aligned stretch of anonymous memory, and how many still use it."""

    __slots__ = ("lock", "users", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.users = 0
        self.lock = threading.Lock()


class Stopped(Exception):
    """The ring was stopped while somebody waited for a buffer."""


class Ring:
    """A fixed number of buffers, used again and again; whoever wants one waits until one is free."""

    def __init__(self, *, slots: int, slot_bytes: int) -> None:
        memory = memoryview(mmap.mmap(-1, slots * slot_bytes))
        self._free: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        for i in range(slots):
            self._free.put(Slot(memory[i * slot_bytes : (i + 1) * slot_bytes]))

    def take(self) -> Slot:
        """A free buffer, with one user.

        Raises:
            Stopped: ``stop`` was called.
        """
        slot = self._free.get()
        if slot is None:
            self._free.put(None)
            raise Stopped
        slot.users = 1
        return slot

    def share(self, slot: Slot) -> None:
        """One more user."""
        with slot.lock:
            slot.users += 1

    def release(self, slot: Slot) -> None:
        """One user less; the last frees the buffer."""
        with slot.lock:
            slot.users -= 1
            last = slot.users == 0
        if last:
            self._free.put(slot)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        self._free.put(None)


class HashThread:
    """Hashes what it is given, in order; does nothing when there is nothing to hash with."""

    def __init__(self, digest: _Digest | None) -> None:
        self._digest = digest
        self._queue: queue.SimpleQueue[tuple[Slot, int, Ring] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if digest is not None:
            self._thread = threading.Thread(target=self._work, name="hash", daemon=True)
            self._thread.start()

    def put(self, slot: Slot, n_bytes: int, ring: Ring) -> None:
        """Hash the front of a slot, then release it."""
        if self._thread is not None:
            ring.share(slot)
            self._queue.put((slot, n_bytes, ring))

    def join(self) -> None:
        """Wait until everything is hashed."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        assert self._digest is not None  # noqa: S101 - the thread only starts with a digest
        while (work := self._queue.get()) is not None:
            slot, n_bytes, ring = work
            self._digest.update(slot.view[:n_bytes])
            ring.release(slot)


class Producer:
    """Fills a ring's buffers in a thread of its own.

    Iterating gives filled views in order, each valid until the next; what the thread raised is raised at the end.

    Args:
        fill: fills the front of a buffer; returns how many bytes, 0 at the end.
        ring: of the buffers.
        hashing: gets every filled buffer too, if there is one.
    """

    def __init__(
        self, fill: Callable[[memoryview], int], ring: Ring, hashing: HashThread | None = None
    ) -> None:
        self._fill = fill
        self._ring = ring
        self._hashing = hashing
        self._filled: queue.SimpleQueue[tuple[Slot, int] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="produce", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[memoryview]:
        while (filled := self._filled.get()) is not None:
            slot, n_bytes = filled
            yield slot.view[:n_bytes]
            self._ring.release(slot)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Need no more: wakes and ends the thread."""
        self._ring.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            while True:
                slot = self._ring.take()
                n_bytes = self._fill(slot.view)
                if n_bytes == 0:
                    break
                if self._hashing is not None:
                    self._hashing.put(slot, n_bytes, self._ring)  # first: the consumer frees it
                self._filled.put((slot, n_bytes))
        except Stopped:
            pass
        except BaseException as exc:  # noqa: BLE001 - handed to the consumer, which raises it
            self._error = exc
        finally:
            self._filled.put(None)


def gathering(pieces: Iterator[memoryview]) -> Callable[[memoryview], int]:
    """A ``fill`` for ``Producer`` that copies pieces of any length together."""
    rest = memoryview(b"")

    def fill(view: memoryview) -> int:
        nonlocal rest
        at = 0
        while at < len(view):
            if not rest:
                piece = next(pieces, None)
                if piece is None:
                    break
                rest = piece
            n = min(len(rest), len(view) - at)
            view[at : at + n] = rest[:n]
            rest = rest[n:]
            at += n
        return at

    return fill
