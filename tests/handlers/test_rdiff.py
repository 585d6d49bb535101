"""rdiff_image, rdiff_file: deltas of the real rdiff give what they are made for; bad ones leave the old file alone."""

import os
import random
import struct
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, Cancelled, DeviceError, HashError, PreflightRefused, SizeError
from swagent.handlers.basefile import open_source
from swagent.handlers.rdiffstream import BUFFER_BYTES, PatchedReader
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, FakeHardware, install

from .rdifftool import rdiff_delta

MAGIC = struct.pack(">I", 0x72730236)
DICE = random.Random(20)
OLD = DICE.randbytes(300_000)
NEW = OLD[:70_000] + DICE.randbytes(5000) + OLD[60_000:200_001] + b"tail"


def literal(data: bytes) -> bytes:
    return b"\x44" + struct.pack(">Q", len(data)) + data


def copy(offset: int, n_bytes: int) -> bytes:
    return b"\x54" + struct.pack(">QQ", offset, n_bytes)


def patched(
    folder: Path, delta: bytes, old: bytes = OLD, *, piece_bytes: int = 65_536, chunk_bytes: int = 1 << 20
) -> bytes:
    """All that a delta makes of ``old``."""
    base_path = folder / "base"
    base_path.write_bytes(old)
    whole = bytearray()
    buffer = memoryview(bytearray(piece_bytes))
    data = FakeData(delta, chunk_bytes=chunk_bytes)
    with open_source(str(base_path)) as base:
        reader = PatchedReader(data, base, len(old), "delta")
        while n := reader.readinto(buffer):
            whole += buffer[:n]
        assert reader.readinto(buffer) == 0
    assert data.ended
    return bytes(whole)


def image(folder: Path, **more: object) -> Artifact:
    (folder / "a").write_bytes(OLD)
    (folder / "b").write_bytes(b"what was in the other slot")
    return Artifact(
        Kind.IMAGE, "rdiff_image", filename="delta", device=str(folder / "b"),
        properties={"rdiffbase": (str(folder / "a"),)}, **more,  # type: ignore[arg-type]  # by key
    )  # fmt: skip


def file(folder: Path, **more: object) -> Artifact:
    (folder / "file").write_bytes(OLD)
    return Artifact(Kind.FILE, "rdiff_file", filename="delta", path=str(folder / "file"), **more)  # type: ignore[arg-type]  # by key


# -- the stream


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("piece_bytes", [1, 4096, 1 << 20])
def test_a_real_delta_however_it_is_read(tmp_path: Path, piece_bytes: int, chunk_bytes: int) -> None:
    old, new = OLD[:20_000], OLD[5000:9000] + b"between" + OLD[:3000]
    delta = rdiff_delta(tmp_path, old, new, block_bytes=64)
    assert len(delta) < len(new) // 10
    assert patched(tmp_path, delta, old, piece_bytes=piece_bytes, chunk_bytes=chunk_bytes) == new


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, 20_000), st.integers(1, 3000)).map(
            lambda cut: OLD[cut[0] : cut[0] + cut[1]]
        ),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=PIECES, new=PIECES)
def test_round_trips(tmp_path: Path, old: bytes, new: bytes) -> None:
    assert patched(tmp_path, rdiff_delta(tmp_path, old, new, block_bytes=64), old) == new


def test_every_width_of_a_command(tmp_path: Path) -> None:
    delta, expected = MAGIC, b""
    for width, form in enumerate("BHIQ"):
        delta += bytes([0x41 + width]) + struct.pack(">" + form, 3) + b"abc"
        expected += b"abc"
        for length_width, length_form in enumerate("BHIQ"):
            delta += bytes([0x45 + 4 * width + length_width]) + struct.pack(">" + form + length_form, 7, 5)
            expected += OLD[7:12]
    for n_bytes in (1, 64):
        delta += bytes([n_bytes]) + OLD[:n_bytes]
        expected += OLD[:n_bytes]
    assert patched(tmp_path, delta + b"\0") == expected


@pytest.mark.parametrize(
    ("delta", "says"),
    [
        (b"", "cut short"),
        (MAGIC[:3], "cut short"),
        (b"rs\x01\x36\0", "no delta"),  # a signature
        (MAGIC, "cut short"),
        (MAGIC + literal(b"x"), "cut short"),
        (MAGIC + literal(b"x" * 100)[:-1], "cut short"),
        (MAGIC + copy(0, 1)[:-1], "cut short"),
        (MAGIC + b"\0\0", "behind its end"),
        (MAGIC + b"\x55", "no command 0x55"),
        (MAGIC + b"\xff", "no command 0xff"),
        (MAGIC + b"\x41\0\0", "literal of no bytes"),
        (MAGIC + copy(0, 0), "copies 0 bytes"),
        (MAGIC + copy(len(OLD), 1), "made for another base|copies 1 bytes"),
        (MAGIC + copy(1, len(OLD)), "copies"),
        (MAGIC + copy(2**64 - 1, 2**64 - 1), "copies"),
        (MAGIC + copy(2**63, 1), "copies"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_delta(tmp_path: Path, delta: bytes, says: str) -> None:
    with pytest.raises(ArchiveError, match=says):
        patched(tmp_path, delta)


def test_a_promise_of_exabytes_takes_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cut short"):
        patched(tmp_path, MAGIC + b"\x44" + b"\x7f" + b"\xff" * 7 + b"x")


def test_a_damaged_delta_is_told_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(OLD)
    with open_source(str(tmp_path / "base")) as base:
        data = FakeData(MAGIC + b"\xff" + bytes(3 * BUFFER_BYTES), verdict=HashError("not what was promised"))
        with pytest.raises(HashError):
            PatchedReader(data, base, len(OLD), "delta").readinto(memoryview(bytearray(10)))
    assert data.ended


# -- the handlers


def test_an_image_goes_to_the_other_slot(tmp_path: Path) -> None:
    delta = rdiff_delta(tmp_path, OLD, NEW)
    assert len(delta) < 10_000
    ctx = FakeContext(str(tmp_path))
    install(image(tmp_path), FakeData(delta), ctx)
    assert (tmp_path / "b").read_bytes() == NEW
    assert (tmp_path / "a").read_bytes() == OLD
    assert [target.state for target in ctx.hw.targets] == ["closed"]


def test_a_verdict_against_the_delta_abandons_the_target(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path))
    with pytest.raises(HashError):
        install(image(tmp_path), FakeData(rdiff_delta(tmp_path, OLD, NEW), verdict=HashError("no")), ctx)
    assert [target.state for target in ctx.hw.targets] == ["abandoned"]


def test_what_comes_out_must_be_what_was_promised(tmp_path: Path) -> None:
    """Another base of the same length: only the digest of the result tells."""
    delta = rdiff_delta(tmp_path, OLD, NEW)
    other = bytes([OLD[0] ^ 1]) + OLD[1:]
    for old, right in ((OLD, True), (other, False)):
        art = file(tmp_path, properties={"result-sha256": (sha256(NEW).hexdigest(),)})
        (tmp_path / "file").write_bytes(old)
        ctx = FakeContext(str(tmp_path))
        if right:
            install(art, FakeData(delta), ctx)
            ctx.sync.flush()
            assert (tmp_path / "file").read_bytes() == NEW
            continue
        with pytest.raises(HashError, match="makes another file"):
            install(art, FakeData(delta), ctx)
        assert (tmp_path / "file").read_bytes() == old
    art = image(tmp_path)
    art = art._replace(properties={**art.properties, "result-sha256": ("00" * 32,)})
    ctx = FakeContext(str(tmp_path))
    with pytest.raises(HashError):
        install(art, FakeData(delta), ctx)
    assert [target.state for target in ctx.hw.targets] == ["abandoned"]
    with pytest.raises(PreflightRefused, match="no SHA-256"):
        install(file(tmp_path, properties={"result-sha256": ("beef",)}), FakeData(delta), ctx)


def test_a_target_that_is_too_small(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(capacities={str(tmp_path / "b"): 100_000}))
    with pytest.raises(SizeError, match="100000"):
        install(image(tmp_path), FakeData(rdiff_delta(tmp_path, OLD, NEW)), ctx)
    assert [target.state for target in ctx.hw.targets] == ["abandoned"]


def test_a_base_that_is_there_too_late(tmp_path: Path) -> None:
    art = image(tmp_path)
    (tmp_path / "a").unlink()
    ctx = FakeContext(str(tmp_path))
    with pytest.raises(DeviceError, match="cannot read"):
        install(art, FakeData(MAGIC + b"\0"), ctx)
    assert any("must be there when delta is installed" in line for _, line in ctx.logged)
    assert not ctx.hw.targets


def test_a_base_that_shrinks_meanwhile(tmp_path: Path) -> None:
    art = image(tmp_path)
    ctx = FakeContext(str(tmp_path))
    data = FakeData(MAGIC + literal(bytes(BUFFER_BYTES)) + copy(0, len(OLD)) + b"\0")
    size_bytes = os.stat(tmp_path / "a").st_size
    ctx.before_checkpoint = None

    class Shrinking(FakeData):
        def readinto(self, buffer: memoryview) -> int:
            n = super().readinto(buffer)
            os.truncate(tmp_path / "a", size_bytes // 2)
            return n

    with pytest.raises(SizeError, match="became shorter"):
        install(art, Shrinking(data), ctx)
    assert [target.state for target in ctx.hw.targets] == ["abandoned"]


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    art = image(tmp_path)._replace(installed_directly=True)
    (tmp_path / "b").unlink()
    with pytest.raises(PreflightRefused, match="cannot find"):
        install(art, FakeData(MAGIC + b"\0"), FakeContext(str(tmp_path)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    art = file(tmp_path)
    (tmp_path / "file").unlink()
    with pytest.raises(DeviceError, match="cannot"):
        install(art, FakeData(MAGIC + literal(b"new") + b"\0"), FakeContext(str(tmp_path)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("target", "says"), [("b", "cannot open"), ("/dev/full", "cannot write")])
def test_a_target_that_cannot_be_written(tmp_path: Path, target: str, says: str) -> None:
    art = image(tmp_path)
    art = art._replace(device=str(tmp_path / target))
    ctx = FakeContext(str(tmp_path))
    if target == "b":
        ctx.hw.read_only.add(art.device)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(DeviceError, match=says):
        install(art, FakeData(MAGIC + literal(b"new") + b"\0"), ctx)
    assert os.listdir("/proc/self/fd") == before
    assert {found.state for found in ctx.hw.targets} <= {"abandoned"}
    assert (tmp_path / "b").read_bytes() == b"what was in the other slot"


def test_a_target_that_is_in_use(tmp_path: Path) -> None:
    hw = FakeHardware(busy={str(tmp_path / "b"): "it is mounted"})
    with pytest.raises(PreflightRefused, match="it is mounted"):
        install(image(tmp_path), FakeData(MAGIC + b"\0"), FakeContext(str(tmp_path), hw=hw))


def test_a_file_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    art = file(tmp_path)
    path = tmp_path / "file"
    path.chmod(0o751)
    os.setxattr(path, "user.label", b"kept")
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    before = path.stat()
    ctx = FakeContext(str(tmp_path))
    install(art, FakeData(rdiff_delta(tmp_path, OLD, NEW)), ctx)
    assert path.read_bytes() == OLD, "the name is switched with the others of its phase"
    ctx.sync.flush()
    after = path.stat()
    assert path.read_bytes() == NEW
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    assert os.getxattr(path, "user.label") == b"kept"
    assert sorted(os.listdir(tmp_path)) == ["file", "rdiff-delta", "rdiff-new", "rdiff-old", "rdiff-sig"]


def test_a_file_on_a_device_that_is_mounted(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "etc").mkdir(parents=True)
    (volume / "etc" / "file").write_bytes(OLD)
    hw = FakeHardware(volumes={"/dev/data": str(volume)}, capacities={"/dev/data": 1 << 20})
    art = Artifact(
        Kind.FILE, "rdiff_file", filename="delta", path="/etc/file", device="/dev/data", filesystem="ext4"
    )
    install(art, FakeData(rdiff_delta(tmp_path, OLD, NEW)), FakeContext(str(tmp_path), hw=hw))
    assert (volume / "etc" / "file").read_bytes() == NEW
    assert os.listdir(volume / "etc") == ["file"]


@pytest.mark.parametrize(
    "error", [HashError("no"), Cancelled("stop")], ids=lambda error: type(error).__name__
)
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: HashError | Cancelled) -> None:
    ctx = FakeContext(str(tmp_path))
    art = file(tmp_path)
    with pytest.raises(type(error)):
        install(art, FakeData(MAGIC + literal(b"new") + b"\0", verdict=error), ctx)
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_beyond_4_gib(tmp_path: Path) -> None:
    """Sparse, so that it costs nothing: offsets of 64 bits, and a copy from the far end."""
    base = tmp_path / "file"
    end = 5 << 30
    with base.open("wb") as sparse:
        sparse.seek(end)
        sparse.write(OLD)
    ctx = FakeContext(str(tmp_path))
    art = Artifact(Kind.FILE, "rdiff_file", filename="delta", path=str(base))
    install(art, FakeData(MAGIC + copy(end, len(OLD)) + copy(end - 2, 3) + b"\0"), ctx)
    ctx.sync.flush()
    assert base.read_bytes() == OLD + b"\0\0" + OLD[:1]


@pytest.mark.slow
def test_a_result_beyond_2_gib(tmp_path: Path) -> None:
    """SWUpdate's single sendfile would end at 2 GiB."""
    size = (2 << 30) + 4097
    path = tmp_path / "file"
    with path.open("wb") as sparse:
        sparse.truncate(size)
    ctx = FakeContext(str(tmp_path))
    art = Artifact(Kind.FILE, "rdiff_file", filename="delta", path=str(path))
    install(art, FakeData(MAGIC + copy(0, size) + literal(b"end") + b"\0"), ctx)
    ctx.sync.flush()
    assert path.stat().st_size == size + 3
    with path.open("rb") as new:
        new.seek(size)
        assert new.read() == b"end"
