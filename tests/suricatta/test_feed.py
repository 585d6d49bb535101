"""Bytes on their way: the end is held back until all of it is what was promised."""

import hashlib
import random
from pathlib import Path

import pytest

from swagent.errors import Cancelled, HashError, SizeError, SwagentError
from swagent.suricatta.feed import BLOCK_BYTES, Cached, Vouched

DATA = random.Random(5).randbytes(3 * BLOCK_BYTES + 17)


class Memory:
    """A stream of bytes, as from a server."""

    name = "memory"

    def __init__(self, data: bytes, *, piece_bytes: int = 50_000, told: bool = True) -> None:
        self._data = data
        self._piece_bytes = piece_bytes
        self.position = 0
        self.size_bytes = len(data) if told else None
        self.seeks: list[int] = []

    def readinto(self, buffer: memoryview) -> int:
        n = min(len(buffer), self._piece_bytes, len(self._data) - self.position)
        buffer[:n] = self._data[self.position : self.position + n]
        self.position += n
        return n

    def seek(self, position: int) -> None:
        self.seeks.append(position)
        self.position = position


def sha256(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest()}


def read(vouched: Vouched, piece_bytes: int = 99_999) -> bytes:
    buffer = memoryview(bytearray(piece_bytes))
    found = bytearray()
    while n := vouched.readinto(buffer):
        found += buffer[:n]
        assert vouched.is_over is (len(found) == len(DATA)) or len(found) > len(DATA)
    assert vouched.readinto(buffer) == 0
    return bytes(found)


@pytest.mark.parametrize(
    "size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, len(DATA)]
)
@pytest.mark.parametrize("piece", [1000, BLOCK_BYTES, 10 * BLOCK_BYTES])
def test_what_is_promised_comes_whole(size: int, piece: int) -> None:
    data = DATA[:size]
    vouched = Vouched(Memory(data), length_bytes=size, hashes=sha256(data), go_on=lambda: None)
    buffer = memoryview(bytearray(piece))
    found = bytearray()
    while n := vouched.readinto(buffer):
        found += buffer[:n]
    assert found == data and vouched.is_over


def test_without_promises_everything_passes() -> None:
    assert read(Vouched(Memory(DATA, told=False), length_bytes=None, hashes={}, go_on=lambda: None)) == DATA


@pytest.mark.parametrize(
    ("length", "hashes", "error"),
    [
        (len(DATA), {"sha256": "0" * 64}, HashError),
        (None, {"sha1": "0" * 40}, HashError),
        (None, {"md5": "0" * 32, "sha256": "0" * 64}, HashError),
        (len(DATA) - 1, {}, SizeError),
        (len(DATA) + 1, {}, SizeError),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_what_is_not_as_promised_is_never_whole(
    length: int | None, hashes: dict[str, str], error: type[SwagentError], told: bool
) -> None:
    vouched = Vouched(Memory(DATA, told=told), length_bytes=length, hashes=hashes, go_on=lambda: None)
    buffer = memoryview(bytearray(10_000))
    given = 0
    with pytest.raises(error):
        while n := vouched.readinto(buffer):
            given += n
    assert given < len(DATA) and not vouched.is_over


def test_it_can_be_stopped_until_the_end_is_given() -> None:
    asked = [0]

    def go_on() -> None:
        asked[0] += 1
        if asked[0] == 5:  # blocks 1 to 4, then once more behind the verdict
            raise Cancelled("enough")

    vouched = Vouched(Memory(DATA), length_bytes=len(DATA), hashes=sha256(DATA), go_on=go_on)
    given = 0
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with pytest.raises(Cancelled):
        while n := vouched.readinto(buffer):
            given += n
    assert given == 3 * BLOCK_BYTES


def test_a_front_that_is_here_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "front"
    path.write_bytes(DATA[:400_000])
    stream = Memory(DATA)
    vouched = Vouched(
        Cached(str(path), stream), length_bytes=len(DATA), hashes=sha256(DATA), go_on=lambda: None
    )
    assert read(vouched) == DATA
    assert stream.seeks == [400_000]
    assert (
        read(
            Vouched(
                Cached(str(tmp_path / "no"), Memory(DATA)), length_bytes=None, hashes={}, go_on=lambda: None
            )
        )
        == DATA
    )
