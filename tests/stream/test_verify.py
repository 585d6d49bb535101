"""Lengths and cpio sums."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError
from swagent.stream import Span, SumReader, byte_sum, read_all

from .sources import BytesReader, file_source, stream_source


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=3000))
def test_byte_sum_is_the_sum(data: bytes) -> None:
    assert byte_sum(memoryview(data)) == sum(data)


def test_byte_sum_of_the_largest_bytes() -> None:
    assert byte_sum(memoryview(b"\xff" * 100_000)) == 255 * 100_000


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=500), st.integers(0, 600), st.integers(0, 600), st.booleans())
def test_a_span_is_that_stretch_or_an_error(data: bytes, offset: int, size: int, seekable: bool) -> None:
    opened = file_source(data) if seekable else stream_source(data)
    with opened as origin:
        if not seekable:
            if offset > len(data):
                return
            origin.seek(offset)
        span = Span(origin, offset, size, "member")
        if offset + size <= len(data) or size == 0:
            assert read_all(span, size, what="span") == data[offset : offset + size]
        else:
            with pytest.raises(ArchiveError, match="bytes before the end of member"):
                read_all(span, size, what="span")


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=500), st.integers(1, 100), st.integers(-1, 1))
def test_a_wrong_sum_is_told_at_the_end(data: bytes, chunk_bytes: int, error: int) -> None:
    reader = SumReader(BytesReader(data, chunk_bytes), (sum(data) + error) & 0xFFFFFFFF, "member")
    buffer = memoryview(bytearray(64))
    got = b""
    if not error:
        while n := reader.readinto(buffer):
            got += buffer[:n]
    else:
        with pytest.raises(ArchiveError, match="cpio checksum"):
            while n := reader.readinto(buffer):
                got += buffer[:n]
    assert got == data


def test_a_sum_wraps_at_32_bits() -> None:
    data = b"\xff" * 1000

    class Endless:
        """17 million times the same kilobyte; only the sum passes."""

        left = 17_000

        def readinto(self, buffer: memoryview) -> int:
            self.left -= 1
            if self.left < 0:
                return 0
            buffer[: len(data)] = data
            return len(data)

    total = 17_000 * 1000 * 255
    assert total > 0xFFFFFFFF
    reader = SumReader(Endless(), total & 0xFFFFFFFF, "large")
    buffer = memoryview(bytearray(1000))
    while reader.readinto(buffer):
        pass
