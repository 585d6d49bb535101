"""Archives as we write them, read back by our reader and by cpio."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, SizeError
from swagent.stream import Archive, FileSource, read_all
from swagent.swu.writer import FORMATS, NAME_BYTES_MAX, ArchiveWriter, Format

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="/"),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in (".", "..", "TRAILER!!!"))
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=6, unique_by=lambda member: member[0])


def build(members: list[tuple[str, bytes]], archive_format: Format = "crc", mtime_s: int = 0) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, archive_format, mtime_s=mtime_s)
    for name, data in members:
        writer.add_bytes(name, data)
    writer.finish()
    return file.getvalue()


def need_cpio() -> None:
    if shutil.which("cpio") is None:
        pytest.skip("needs cpio: apt-get install cpio")


@given(members=MEMBERS, archive_format=st.sampled_from(FORMATS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_our_reader_reads_it_back(
    tmp_path: Path, members: list[tuple[str, bytes]], archive_format: Format
) -> None:
    path = tmp_path / "a.swu"
    path.write_bytes(build(members, archive_format))
    assert path.stat().st_size % 512 == 0
    with path.open("rb") as file:
        archive = Archive(FileSource(file.fileno(), "a.swu"))
        read = [
            (m.name, read_all(archive.open(m, verify_sum=True), 4000, what=m.name)) for m in archive.index()
        ]
        sums = {m.checksum for m in archive.index()}
    assert read == members
    assert (sums == {None}) == (archive_format == "newc") or not members


@pytest.mark.parametrize("archive_format", FORMATS)
def test_cpio_reads_it_back(tmp_path: Path, archive_format: Format) -> None:
    need_cpio()
    members = [("sw-description", b"version"), ("empty", b""), ("odd.bin", bytes(range(256)) * 41 + b"x")]
    image = build(members, archive_format)
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=image, capture_output=True, check=True)
    assert listed.stdout.decode().split() == [name for name, _ in members]
    assert listed.stderr == b""
    subprocess.run(["cpio", "-i", "--quiet"], input=image, cwd=tmp_path, check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict(members)


def test_cpio_finds_the_sums_right(tmp_path: Path) -> None:
    need_cpio()
    source = tmp_path / "big"
    source.write_bytes(os.urandom(3_000_001))
    path = tmp_path / "a.swu"
    with path.open("w+b") as file:
        writer = ArchiveWriter(file)
        writer.add_file("big", str(source), 3_000_001)
        writer.finish()
    good = subprocess.run(
        ["cpio", "--only-verify-crc", "-i", "--quiet"], input=path.read_bytes(), capture_output=True
    )
    assert (good.returncode, good.stderr) == (0, b"")
    image = bytearray(path.read_bytes())
    image[2_000_000] ^= 1
    bad = subprocess.run(["cpio", "--only-verify-crc", "-i", "--quiet"], input=image, capture_output=True)
    assert b"checksum error" in bad.stderr


def test_cpio_writes_the_same_but_for_its_clock(tmp_path: Path) -> None:
    need_cpio()
    (tmp_path / "sw-description").write_bytes(b"hello")
    os.chmod(tmp_path / "sw-description", 0o644)
    os.utime(tmp_path / "sw-description", (1234, 1234))
    theirs = subprocess.run(
        ["cpio", "-o", "-H", "crc", "--quiet", "--reproducible", "-R", "0:0"],
        input=b"sw-description\n", capture_output=True, cwd=tmp_path, check=True,
    ).stdout  # fmt: skip
    ours = build([("sw-description", b"hello")], mtime_s=1234)
    inode = slice(6, 14)
    assert ours[:6] + ours[14:] == theirs[:6] + theirs[14:]
    assert ours[inode] == b"00000001"


def test_a_file_and_bytes_give_the_same_archive(tmp_path: Path) -> None:
    data = os.urandom(1024 * 1024 + 7)
    source = tmp_path / "member"
    source.write_bytes(data)
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_file("member", str(source), len(data))
    writer.finish()
    assert file.getvalue() == build([("member", data)])


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_that_changed_its_length_is_refused(tmp_path: Path, difference: int) -> None:
    source = tmp_path / "member"
    source.write_bytes(b"12345")
    with pytest.raises(SizeError, match="shorter" if difference == 1 else "longer"):
        ArchiveWriter(io.BytesIO()).add_file("member", str(source), 5 + difference)


def test_a_member_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "huge"
    with source.open("wb") as file:
        file.truncate(2**32)
    with pytest.raises(SizeError, match="4294967295"):
        ArchiveWriter(io.BytesIO()).add_file("huge", str(source), 2**32)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "../a", "TRAILER!!!", "a\0b", "a\nb", "x" * 255, "\udcff"]
)
def test_a_name_that_no_installer_takes_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        ArchiveWriter(io.BytesIO()).add_bytes(name, b"")


def test_the_longest_name_fits() -> None:
    assert NAME_BYTES_MAX == 254
    assert b"x" * 254 + b"\0" in build([("x" * 254, b"")])


def test_a_name_is_taken_once() -> None:
    writer = ArchiveWriter(io.BytesIO())
    writer.add_bytes("a", b"")
    with pytest.raises(ArchiveError, match="two members"):
        writer.add_bytes("a", b"")
