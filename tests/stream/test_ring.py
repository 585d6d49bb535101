"""Buffers are bounded and come back; threads end, whatever happens."""

import threading
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest

from swagent.errors import ArchiveError
from swagent.stream.ring import HashThread, Producer, Ring, Stopped, gathering
from tests.faults.images import noise


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_a_slot_is_free_when_its_last_user_is_done() -> None:
    ring = Ring(slots=1, slot_bytes=4096)
    slot = ring.take()
    ring.share(slot)
    ring.release(slot)
    waiting = threading.Thread(target=ring.take)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    ring.release(slot)
    waiting.join(5)
    assert not waiting.is_alive()


def test_slots_are_aligned_and_do_not_overlap() -> None:
    ring = Ring(slots=3, slot_bytes=4096)
    slots = [ring.take() for _ in range(3)]
    for index, slot in enumerate(slots):
        slot.view[:] = bytes([index]) * 4096
    assert [set(slot.view) for slot in slots] == [{0}, {1}, {2}]


def test_stop_wakes_all_who_wait() -> None:
    ring = Ring(slots=1, slot_bytes=4096)
    ring.take()
    woken = []

    def wait() -> None:
        try:
            ring.take()
        except Stopped:
            woken.append(1)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    ring.stop()
    for thread in threads:
        thread.join(5)
    assert len(woken) == 3


def test_hashing_in_a_thread() -> None:
    data = noise(100_000)
    digest = sha256()
    hashing = HashThread(digest)
    ring = Ring(slots=2, slot_bytes=4096)
    for start in range(0, len(data), 4096):
        slot = ring.take()
        piece = data[start : start + 4096]
        slot.view[: len(piece)] = piece
        hashing.put(slot, len(piece), ring)
        ring.release(slot)
    hashing.join()
    hashing.join()
    assert digest.digest() == sha256(data).digest()


def test_nothing_to_hash_with() -> None:
    hashing = HashThread(None)
    ring = Ring(slots=1, slot_bytes=4096)
    for _ in range(3):
        slot = ring.take()
        hashing.put(slot, 4096, ring)
        ring.release(slot)
    hashing.join()


@pytest.mark.parametrize("sizes", [[], [1], [4096] * 5, [10_000, 1, 4095, 4097, 3]])
def test_a_producer_gathers_pieces(sizes: list[int]) -> None:
    data = noise(sum(sizes))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(memoryview(data)[at : at + size])
        at += size
    producer = Producer(gathering(iter(pieces)), Ring(slots=2, slot_bytes=4096))
    views = [bytes(view) for view in producer]
    producer.stop()
    assert b"".join(views) == data
    assert all(len(view) == 4096 for view in views[:-1])


def test_an_error_comes_after_what_was_sound() -> None:
    def pieces() -> Iterator[memoryview]:
        yield memoryview(b"sound")
        raise ArchiveError("damaged")

    producer = Producer(gathering(pieces()), Ring(slots=2, slot_bytes=4096))
    found = []
    with pytest.raises(ArchiveError, match="damaged"):
        found += [bytes(view) for view in producer]
    producer.stop()
    assert found == []  # pieces that fill no buffer go with the error: nobody may use them anyway


def test_a_producer_nobody_reads_from_can_be_stopped() -> None:
    produced = 0

    def endless() -> Iterator[memoryview]:
        nonlocal produced
        while True:
            produced += 1
            yield memoryview(bytes(4096))

    producer = Producer(gathering(endless()), Ring(slots=2, slot_bytes=4096))
    time.sleep(0.05)
    producer.stop()
    assert produced <= 3, "a ring of two buffers holds no more"
