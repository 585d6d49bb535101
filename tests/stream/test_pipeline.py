"""``pour`` and ``readinto`` give the same bytes and the same verdicts, in one thread and in several."""

import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, Cancelled, DeviceError, HashError, SizeError, SwagentError
from swagent.model import Compression, Reader, Sink
from swagent.stream import ArtifactData, Codec, Span, SumReader, pipeline
from swagent.stream.decrypt import Decryptor
from tests.faults.images import AES_IV, AES_KEY, encrypted, half_noise, noise, zstd

from .sources import BytesReader, file_source

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def always_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of any size take the way of large ones, in small pieces."""
    monkeypatch.setattr(pipeline, "INLINE_BYTES", -1)
    monkeypatch.setattr(pipeline, "STORED_BYTES", 4096)


def store(plain: bytes, compression: Compression, *, cipher: bool) -> bytes:
    if compression is Compression.ZLIB:
        engine = zlib.compressobj(1, wbits=31)
        plain = engine.compress(plain) + engine.flush()
    elif compression is Compression.ZSTD:
        plain = zstd(plain)
    return encrypted(plain) if cipher else plain


def codec_of(
    stored: bytes,
    compression: Compression,
    *,
    cipher: bool,
    plain_bytes: int | None = None,
    hashed: bool = True,
) -> Codec:
    return Codec(
        "member",
        len(stored),
        sha256(stored).digest() if hashed else None,
        compression,
        (lambda iv: Decryptor(AES_KEY, iv or AES_IV)) if cipher else None,
        plain_bytes,
    )


Outcome = tuple[bytes | None, type[SwagentError] | None, str]


def read(reader: Reader, codec: Codec, chunk_bytes: int) -> Outcome:
    data = ArtifactData(reader, codec)
    buffer = memoryview(bytearray(chunk_bytes))
    found = bytearray()
    try:
        while n := data.readinto(buffer):
            found += buffer[:n]
        assert data.readinto(buffer) == 0
    except SwagentError as exc:
        return None, type(exc), exc.message
    return bytes(found), None, ""


def pour(reader: Reader, codec: Codec) -> Outcome:
    data = ArtifactData(reader, codec)
    with tempfile.TemporaryFile() as file:
        try:
            assert data.pour(Sink(file.fileno())) == os.fstat(file.fileno()).st_size
            assert data.readinto(memoryview(bytearray(10))) == 0
        except SwagentError as exc:
            return None, type(exc), exc.message
        return os.pread(file.fileno(), 10 * MIB, 0), None, ""


COMPRESSIONS = st.sampled_from([Compression.NONE, Compression.ZLIB, Compression.ZSTD])
PLAINS = st.binary(max_size=500) | st.builds(half_noise, st.integers(0, 20_000), st.integers(0, 5))
CHUNKS = st.integers(1, 200) | st.sampled_from([4096, 100_000])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(PLAINS, COMPRESSIONS, st.booleans(), CHUNKS, st.booleans())
def test_sound_members(
    always_threads: None, plain: bytes, compression: Compression, cipher: bool, chunk: int, hashed: bool
) -> None:
    stored = store(plain, compression, cipher=cipher)
    codec = codec_of(stored, compression, cipher=cipher, hashed=hashed)
    assert read(BytesReader(stored, chunk), codec, chunk) == (plain, None, "")
    assert pour(BytesReader(stored, chunk), codec) == (plain, None, "")


DAMAGE = st.sampled_from(["flip", "cut", "overwrite"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    PLAINS.filter(bool),
    COMPRESSIONS,
    st.booleans(),
    DAMAGE,
    st.integers(0),
    st.booleans(),
    st.integers(-1, 1),
    CHUNKS,
)
def test_damaged_members_get_the_same_verdict(
    always_threads: None, plain: bytes, compression: Compression, cipher: bool, damage: str, at: int,
    hashed: bool, off: int, chunk: int,
) -> None:  # fmt: skip
    """Whichever way it is read; and with a digest it is always HashError, whatever the damage does to a decoder."""
    stored = store(plain, compression, cipher=cipher)
    bad = bytearray(stored)
    at %= len(bad)
    if damage == "flip":
        bad[at] ^= 1 << at % 8
    elif damage == "cut":
        del bad[at:]
    else:
        bad[at : at + 50] = bytes(len(bad[at : at + 50]))
    wrong = bytes(bad)
    expanding = compression is not Compression.NONE or cipher
    codec = codec_of(
        stored, compression, cipher=cipher, hashed=hashed, plain_bytes=len(plain) + off if expanding else None
    )._replace(stored_bytes=len(wrong))
    outcome = read(BytesReader(wrong, chunk), codec, chunk)
    # in one thread or in several, of a reader that gives little at once or all
    assert pour(BytesReader(wrong, chunk), codec) == outcome
    assert pour(BytesReader(wrong), codec) == outcome
    assert read(BytesReader(wrong), codec, 100_000) == outcome
    if wrong != stored and hashed:
        assert outcome[1] is HashError
    elif wrong == stored and expanding:
        assert outcome[1] is (SizeError if off else None)


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB, Compression.ZSTD])
@pytest.mark.parametrize("cipher", [False, True])
@pytest.mark.parametrize("size_bytes", [0, 1, 4095, 600_000, 3 * MIB + 17])
def test_real_sizes(compression: Compression, cipher: bool, size_bytes: int) -> None:
    plain = (half_noise(MIB) * 4)[:size_bytes]
    stored = store(plain, compression, cipher=cipher)
    codec = codec_of(stored, compression, cipher=cipher)
    assert pour(BytesReader(stored), codec) == read(BytesReader(stored), codec, 70_000) == (plain, None, "")
    wrong = stored[:-1] + bytes([stored[-1] ^ 1]) if stored else b""
    if stored:
        assert pour(BytesReader(wrong), codec)[1] is read(BytesReader(wrong), codec, 70_000)[1] is HashError


@pytest.mark.parametrize("size_bytes", [1000, MIB])
def test_a_wrong_cpio_sum_without_a_digest(size_bytes: int) -> None:
    data = noise(size_bytes)
    for way in (lambda reader, codec: read(reader, codec, 4096), pour):
        codec = codec_of(data, Compression.NONE, cipher=False, hashed=False)
        assert way(SumReader(BytesReader(data), sum(data), "member"), codec)[0] == data
        assert way(SumReader(BytesReader(data), sum(data) + 1, "member"), codec)[1] is ArchiveError


@pytest.mark.parametrize("size_bytes", [1000, MIB])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB])
def test_an_archive_that_ends_too_early(size_bytes: int, compression: Compression) -> None:
    """That the member is not there is told, not what is missing makes of its digest."""
    stored = store(noise(size_bytes), compression, cipher=False)
    codec = codec_of(stored, compression, cipher=False)
    with file_source(stored[:-10]) as origin:
        first = read(Span(origin, 0, len(stored), "member"), codec, 4096)
        assert first[1] is ArchiveError
        assert pour(Span(origin, 0, len(stored), "member"), codec) == first


def test_nothing_is_given_out_as_the_end_before_the_verdict() -> None:
    """The last plain bytes of a decoded member come after its digest was judged."""
    plain = half_noise(2000)
    stored = bytearray(store(plain, Compression.ZLIB, cipher=True))
    codec = codec_of(bytes(stored), Compression.ZLIB, cipher=True, plain_bytes=len(plain))
    stored[3] ^= 1
    data = ArtifactData(BytesReader(bytes(stored)), codec)
    with pytest.raises(HashError):
        while data.readinto(memoryview(bytearray(100))):
            pass


# -- sinks


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 4097, MIB, 3 * MIB + 1])
@pytest.mark.parametrize("offset_bytes", [0, 512, 4096, 1234])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZSTD])
def test_a_direct_file(tmp_path: Path, size_bytes: int, offset_bytes: int, compression: Compression) -> None:
    """O_DIRECT, with tails and offsets that do not fit its blocks; what lies around stays."""
    path = tmp_path / "target"
    old = b"\xa5" * (4 * MIB)
    path.write_bytes(old)
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError:
        pytest.skip("needs a file system with O_DIRECT")
    plain = (half_noise(MIB) * 4)[:size_bytes]
    stored = store(plain, compression, cipher=False)
    data = ArtifactData(BytesReader(stored), codec_of(stored, compression, cipher=False))
    assert data.pour(Sink(fd, offset_bytes=offset_bytes, alignment_bytes=4096)) == size_bytes
    os.close(fd)
    assert path.read_bytes() == old[:offset_bytes] + plain + old[offset_bytes + size_bytes :]


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZSTD])
@pytest.mark.parametrize("size_bytes", [100, 2 * MIB])
def test_a_pipe_as_sink(compression: Compression, size_bytes: int) -> None:
    plain = half_noise(size_bytes)
    stored = store(plain, compression, cipher=False)
    reading, writing = os.pipe()
    found = bytearray()

    def drink() -> None:
        while piece := os.read(reading, 65536):
            found.extend(piece)

    thread = threading.Thread(target=drink)
    thread.start()
    ArtifactData(BytesReader(stored), codec_of(stored, compression, cipher=False)).pour(
        Sink(writing, seekable=False)
    )
    os.close(writing)
    thread.join()
    os.close(reading)
    assert bytes(found) == plain


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB])
@pytest.mark.parametrize("size_bytes", [1280, 2 * MIB])
@pytest.mark.parametrize("declared", [False, True])
def test_a_sink_that_holds_less(
    tmp_path: Path, compression: Compression, size_bytes: int, declared: bool
) -> None:
    plain = half_noise(size_bytes)
    stored = store(plain, compression, cipher=False)
    known = declared and compression is not Compression.NONE
    codec = codec_of(stored, compression, cipher=False, plain_bytes=size_bytes if known else None)
    with (tmp_path / "target").open("wb") as file:
        with pytest.raises(SizeError):
            ArtifactData(BytesReader(stored), codec).pour(Sink(file.fileno(), limit_bytes=size_bytes - 1))
        assert os.fstat(file.fileno()).st_size < size_bytes
        if known or compression is Compression.NONE:
            assert os.fstat(file.fileno()).st_size == 0, "it was clear beforehand"
        assert (
            ArtifactData(BytesReader(stored), codec).pour(Sink(file.fileno(), limit_bytes=size_bytes))
            == size_bytes
        )


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB])
@pytest.mark.parametrize("size_bytes", [1280, 20 * MIB])
def test_a_sink_that_fails(compression: Compression, size_bytes: int) -> None:
    stored = store((half_noise(MIB) * 20)[:size_bytes], compression, cipher=False)
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(DeviceError, match=r"/dev/full.* No space left") as caught:
        ArtifactData(BytesReader(stored), codec_of(stored, compression, cipher=False)).pour(
            Sink(fd, seekable=False)
        )
    os.close(fd)
    assert caught.value.path == "/dev/full"


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB])
@pytest.mark.parametrize("size_bytes", [1280, 20 * MIB])
def test_stopped_by_whoever_counts(compression: Compression, size_bytes: int) -> None:
    """A cancelled update stops between two pieces, and its threads end."""
    stored = store((half_noise(MIB) * 20)[:size_bytes], compression, cipher=False)
    counted = 0

    def stop(n_bytes: int) -> None:
        nonlocal counted
        counted += n_bytes
        raise Cancelled("stopped")

    with tempfile.TemporaryFile() as file, pytest.raises(Cancelled):
        ArtifactData(BytesReader(stored), codec_of(stored, compression, cipher=False), stop).pour(
            Sink(file.fileno())
        )
    assert 0 < counted <= MIB


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB])
@pytest.mark.parametrize("size_bytes", [0, 1280, 2 * MIB])
def test_all_bytes_are_counted(compression: Compression, size_bytes: int) -> None:
    plain = half_noise(size_bytes)
    stored = store(plain, compression, cipher=False)
    counts: list[int] = []
    with tempfile.TemporaryFile() as file:
        ArtifactData(BytesReader(stored), codec_of(stored, compression, cipher=False), counts.append).pour(
            Sink(file.fileno())
        )
    assert sum(counts) == size_bytes


def test_size_bytes() -> None:
    assert ArtifactData(BytesReader(b""), Codec("m", 5)).size_bytes == 5
    assert ArtifactData(BytesReader(b""), Codec("m", 5, compression=Compression.XZ)).size_bytes is None
    assert (
        ArtifactData(BytesReader(b""), Codec("m", 5, compression=Compression.XZ, plain_bytes=9)).size_bytes
        == 9
    )


def test_room_that_is_there_may_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a declared size: no more than the ratio where room is taken, all of it where it is only overwritten."""
    monkeypatch.setattr(pipeline, "EXPANSION_FLOOR_BYTES", 100_000)
    plain = bytes(3 * MIB)
    stored = store(plain, Compression.ZSTD, cipher=False)
    assert len(stored) * pipeline.EXPANSION_MAX < len(plain)
    codec = codec_of(stored, Compression.ZSTD, cipher=False)
    with (tmp_path / "target").open("wb") as file:
        with pytest.raises(SizeError, match="expands to more") as caught:
            ArtifactData(BytesReader(stored), codec).pour(Sink(file.fileno(), limit_bytes=10 * MIB))
        assert "decompressed-size" in caught.value.hint
        sink = Sink(file.fileno(), limit_bytes=10 * MIB, present_bytes=len(plain))
        assert ArtifactData(BytesReader(stored), codec).pour(sink) == len(plain)
        with pytest.raises(SizeError, match="expands to more"):
            ArtifactData(BytesReader(stored), codec).pour(sink._replace(present_bytes=len(plain) - 1))
