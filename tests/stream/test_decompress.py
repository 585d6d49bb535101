"""Decompressors against the programs that compress, and against streams that end early or are none."""

import gzip
import lzma
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError
from swagent.model import Compression
from swagent.stream import decompress
from swagent.stream.decompress import Decompressor
from tests.faults.images import half_noise, zstd
from tests.programs import need

COMPRESSORS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.ZLIB: lambda plain: gzip.compress(plain, mtime=0),
    Compression.ZSTD: zstd,
    Compression.XZ: lzma.compress,
}
PROGRAMS = {Compression.ZLIB: "gzip", Compression.ZSTD: "zstd", Compression.XZ: "xz"}
KINDS = list(COMPRESSORS)
PLAIN = half_noise(700_000) + bytes(3_000_000)


def plain_of(kind: Compression, stored: bytes, piece_bytes: int = 10_000) -> bytes:
    decoder = Decompressor(kind, "member")
    found = bytearray()
    for start in range(0, len(stored), piece_bytes):
        for piece in decoder.push(memoryview(stored)[start : start + piece_bytes]):
            assert len(piece) <= decompress.OUTPUT_BYTES
            found += piece
    decoder.finish()
    return bytes(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["-1", "-9"])
def test_what_the_programs_write(kind: Compression, level: str) -> None:
    need(PROGRAMS[kind])
    argv = [PROGRAMS[kind], level, "-c"]
    stored = subprocess.run(argv, input=PLAIN, capture_output=True, check=True).stdout
    assert plain_of(kind, stored) == PLAIN


@pytest.mark.parametrize("options", [["--ultra", "-22"], ["--long=27", "-3"], ["--no-check"]])
def test_windows_of_zstd(options: list[str]) -> None:
    need("zstd")
    argv = ["zstd", *options, "-c"]
    stored = subprocess.run(argv, input=PLAIN, capture_output=True, check=True).stdout
    assert plain_of(Compression.ZSTD, stored) == PLAIN


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(1, 300))
def test_several_streams_are_one(kind: Compression, plains: list[bytes], piece_bytes: int) -> None:
    stored = b"".join(COMPRESSORS[kind](plain) for plain in plains)
    assert plain_of(kind, stored, piece_bytes) == b"".join(plains)


def test_padding_between_xz_streams() -> None:
    stored = lzma.compress(b"one") + bytes(8) + lzma.compress(b"two") + bytes(4)
    assert plain_of(Compression.XZ, stored) == b"onetwo"


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(kind: Compression) -> None:
    stored = COMPRESSORS[kind](half_noise(300))
    for end in range(len(stored)):
        with pytest.raises(ArchiveError, match="member ends in the middle of its"):
            plain_of(kind, stored[:end])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"x", b"not a stream at all, and long enough to tell"])
def test_garbage_behind_a_stream(kind: Compression, tail: bytes) -> None:
    with pytest.raises(ArchiveError):
        plain_of(kind, COMPRESSORS[kind](b"plain") + tail)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(min_size=1, max_size=200))
def test_no_stream_at_all(kind: Compression, data: bytes) -> None:
    with pytest.raises(ArchiveError, match="member"):
        plain_of(kind, b"\xff" + data)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_harmless(kind: Compression, at: int, bit: int) -> None:
    plain = half_noise(600)
    stored = bytearray(COMPRESSORS[kind](plain))
    stored[at % len(stored)] ^= 1 << bit
    try:
        found = plain_of(kind, bytes(stored))
    except ArchiveError:
        return
    # a header's time or name, or a hint
    assert found == plain


def test_a_window_beyond_all_bounds_is_refused() -> None:
    """xz with a dictionary of 1.5 GiB: refused by its header, before memory is taken for it."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1536 << 20, "mode": lzma.MODE_FAST,
                "mf": lzma.MF_HC3, "nice_len": 16}]  # fmt: skip
    try:
        stored = lzma.compress(b"small", filters=filters)
    except MemoryError:
        pytest.skip("needs 3 GiB of memory to make the sample")
    with pytest.raises(ArchiveError):
        plain_of(Compression.XZ, stored)


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=3000), st.integers(1, 500), st.integers(0, 50))
def test_zlib_does_as_well_as_isal(plain: bytes, piece_bytes: int, cut: int) -> None:
    """The engine of the standard library, where isal is not installed."""
    stored = gzip.compress(plain * 5, mtime=0) + gzip.compress(plain, mtime=0)
    stored = stored[: len(stored) - cut]
    decoder = Decompressor(Compression.ZLIB, "member")
    import zlib

    decoder._new, decoder._error = decompress._Zlib, zlib.error  # as it is where isal is missing
    decoder._engine = decompress._Zlib()
    found = bytearray()
    try:
        for start in range(0, len(stored), piece_bytes):
            for piece in decoder.push(memoryview(stored)[start : start + piece_bytes]):
                found += piece
        decoder.finish()
    except ArchiveError:
        assert cut
        return
    assert cut in (0, len(gzip.compress(plain, mtime=0)))
    assert bytes(found) == (plain * 6 if not cut else plain * 5)
