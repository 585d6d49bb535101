"""Files and streams give the same bytes; what cannot be read is an error; a stalled stream can be left."""

import os
import tempfile
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, Cancelled, DeviceError
from swagent.stream import source
from swagent.stream.source import FileSource, StreamSource, open_source, read_all

from .sources import BytesReader, file_source, stream_source

DATA = bytes(range(256)) * 2500  # five windows


def fill(origin: FileSource | StreamSource, n_bytes: int) -> bytes:
    buffer = memoryview(bytearray(n_bytes))
    return bytes(buffer[: origin.readinto(buffer)])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "seek"]), st.integers(0, 3000) | st.integers(0, 2 * source.WINDOW_BYTES)
    ),
    max_size=20,
)


@settings(deadline=None)  # other work on the machine must not fail a test
@given(STEPS)
def test_reads_and_seeks_of_a_file(steps: list[tuple[str, int]]) -> None:
    with file_source(DATA) as origin:
        assert origin.size_bytes == len(DATA)
        at = 0
        for what, number in steps:
            if what == "seek":
                at = number * 3
                origin.seek(at)
            else:
                assert fill(origin, number) == DATA[at : at + number]
                at = min(at + number, max(at, len(DATA)))
            assert origin.position == at


@settings(deadline=None)  # other work on the machine must not fail a test
@given(STEPS, st.sampled_from([1000, 65536]))
def test_reads_and_seeks_of_a_stream(steps: list[tuple[str, int]], piece_bytes: int) -> None:
    with stream_source(DATA, piece_bytes=piece_bytes) as origin:
        at = 0
        for what, number in steps:
            if what == "seek":
                at += number
                if at > len(DATA):
                    with pytest.raises(ArchiveError, match="ends at byte"):
                        origin.seek(at)
                    return
                origin.seek(at)
            else:
                assert fill(origin, number) == DATA[at : at + number]
                at = min(at + number, len(DATA))
            assert origin.position == at


def test_a_stream_cannot_go_back() -> None:
    with stream_source(DATA) as origin:
        assert fill(origin, 100) == DATA[:100]
        origin.seek(50)
        assert fill(origin, 10) == DATA[100:110]


def test_the_kind_fits_the_descriptor() -> None:
    with tempfile.TemporaryFile() as file:
        assert isinstance(open_source(file.fileno(), "f"), FileSource)
    reading, writing = os.pipe()
    assert isinstance(open_source(reading, "p"), StreamSource)
    os.close(reading)
    os.close(writing)


def test_what_cannot_be_read_is_a_device_error() -> None:
    reading, writing = os.pipe()
    with pytest.raises(DeviceError, match="the wrong end"):
        fill(StreamSource(writing, "the wrong end"), 10)
    os.close(reading)
    os.close(writing)
    fd = os.open("/", os.O_RDONLY)
    folder = FileSource(fd, "a folder")
    with pytest.raises(DeviceError, match="a folder"):
        fill(folder, 10)
    os.close(fd)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_stalled_stream_can_be_left(blocking: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, blocking)
    os.write(writing, b"half")
    origin = StreamSource(reading, "stalled")
    asked = 0

    def stop_soon() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Cancelled("stopped")

    origin.attend(waiting=stop_soon, tell=lambda level, line: None)
    begun_s = time.monotonic()
    with pytest.raises(Cancelled):
        fill(origin, 8)
    assert time.monotonic() - begun_s < 2
    os.close(reading)
    os.close(writing)


def test_a_slow_stream_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def bring() -> None:
        os.write(writing, b"late")
        os.close(writing)

    late = threading.Timer(0.25, bring)
    late.start()
    assert fill(StreamSource(reading, "slow"), 100) == b"late"
    late.join()
    os.close(reading)


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=300), st.integers(0, 300), st.integers(1, 64))
def test_read_all_is_bounded(data: bytes, most: int, chunk_bytes: int) -> None:
    reader = BytesReader(data, chunk_bytes)
    if len(data) <= most:
        assert read_all(reader, most, what="it") == data
    else:
        with pytest.raises(ArchiveError, match="it is longer than"):
            read_all(reader, most, what="it")
