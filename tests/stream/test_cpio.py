"""The archive reader against the cpio program, and against what an archive must not be."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import ArchiveError, SwagentError
from swagent.stream import Archive, read_all
from swagent.stream.cpio import MEMBERS_MAX, PADDING_BYTES_MAX
from tests.faults.images import CRC, NEWC, TRAILER, Member, archive, regions
from tests.programs import need

from .sources import file_source, stream_source

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", "..", TRAILER))
MEMBERS = st.lists(
    st.builds(Member, NAMES, st.binary(max_size=200)), max_size=5, unique_by=lambda member: member.name
)
MAGICS = st.sampled_from([NEWC, CRC])


def contents(raw: bytes, *, seekable: bool) -> list[tuple[str, bytes]]:
    """Every member, read with its sum."""
    with file_source(raw) if seekable else stream_source(raw) as origin:
        reader = Archive(origin)
        found = []
        for member in reader.members():
            data = read_all(reader.open(member, verify_sum=True), 1 << 20, what=member.name)
            assert len(data) == member.size_bytes
            found.append((member.name, data))
        return found


@settings(deadline=None)  # other work on the machine must not fail a test
@given(MEMBERS, MAGICS, st.booleans())
def test_round_trip(members: list[Member], magic: bytes, seekable: bool) -> None:
    raw = archive(members, magic)
    assert contents(raw, seekable=seekable) == [(member.name, member.data) for member in members]


@settings(deadline=None)  # other work on the machine must not fail a test
@given(MEMBERS, MAGICS, st.data())
def test_members_may_be_left_unread(members: list[Member], magic: bytes, data: st.DataObject) -> None:
    """In part or wholly: the next one is found all the same."""
    with stream_source(archive(members, magic)) as origin:
        reader = Archive(origin)
        names = []
        for member in reader.members():
            names.append(member.name)
            n_bytes = data.draw(st.integers(0, member.size_bytes))
            reader.open(member, verify_sum=False).readinto(memoryview(bytearray(n_bytes)))
        assert names == [member.name for member in members]


def test_members_of_a_file_may_be_read_in_any_order() -> None:
    members = [Member(str(index), bytes([index]) * 1000) for index in range(5)]
    with file_source(archive(members)) as origin:
        reader = Archive(origin)
        index = reader.index()
        for member in reversed(index):
            assert (
                read_all(reader.open(member, verify_sum=True), 1000, what="it")
                == members[int(member.name)].data
            )
        assert reader.index() is index


@pytest.mark.parametrize("kind", ["newc", "crc"])
def test_what_cpio_writes(tmp_path: Path, kind: str) -> None:
    need("cpio")
    files = {"sw-description": b"software = {};\n", "empty": b"", "large.bin": bytes(range(256)) * 1000}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    names = "".join(f"{name}\n" for name in files).encode()
    for options in ([], ["-C", "4096"], ["-B"], ["--renumber-inodes"]):
        argv = ["cpio", "--quiet", "-o", "-H", kind, *options]
        raw = subprocess.run(argv, cwd=tmp_path, input=names, capture_output=True, check=True).stdout
        for seekable in (False, True):
            assert contents(raw, seekable=seekable) == list(files.items())


@settings(deadline=None)  # other work on the machine must not fail a test
@given(MEMBERS.filter(bool), MAGICS, st.booleans(), st.data())
def test_cut_anywhere(members: list[Member], magic: bytes, seekable: bool, data: st.DataObject) -> None:
    raw = archive(members, magic)
    stretches = regions(members)
    end = stretches[-1].start if stretches[-1].what == "end" else len(raw)
    at = data.draw(st.integers(0, end - 1))
    with pytest.raises(ArchiveError):
        contents(raw[:at], seekable=seekable)


def test_a_damaged_file_gives_out_no_member() -> None:
    raw = archive([Member("one", b"1"), Member("two", b"2")])[:240]
    with file_source(raw) as origin, pytest.raises(ArchiveError):
        next(Archive(origin).members())
    with file_source(raw[:236]) as origin, pytest.raises(ArchiveError, match="its member two would end at"):
        next(Archive(origin).members())
    with stream_source(raw) as origin:
        assert next(Archive(origin).members()).name == "one"


def header(**changes: bytes) -> bytes:
    """The header of a member ``ab`` of 3 bytes, with some fields replaced."""
    raw = bytearray(archive([Member("ab", b"abc")], NEWC))
    for region in regions([Member("ab", b"abc")]):
        if region.member == "ab" and region.what in changes:
            assert len(changes[region.what]) == region.end - region.start
            raw[region.start : region.end] = changes[region.what]
    return bytes(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": b"070707"}, "no cpio header"),
        ({"magic": b"\xc7\x71\0\0\0\0"}, "no cpio header"),
        ({"size": b"      03"}, "no cpio header"),
        ({"size": b"0000000G"}, "no cpio header"),
        ({"size": b"+0000003"}, "no cpio header"),
        ({"size": b"0x000003"}, "no cpio header"),
        ({"mtime": b"-0000001"}, "no cpio header"),
        ({"namesize": b"00000000"}, "a name of 0 bytes"),
        ({"namesize": b"00000001"}, "a name of 1 bytes"),
        ({"namesize": b"00000100"}, "a name of 256 bytes"),
        ({"namesize": b"FFFFFFFF"}, "a name of 4294967295 bytes"),
        ({"namesize": b"00000002"}, "not one NUL-terminated"),
        ({"namesize": b"00000004"}, "not one NUL-terminated"),
        ({"name": b"a\0\0"}, "not one NUL-terminated"),
        ({"name": b"abc"}, "not one NUL-terminated"),
        ({"name": b"a/\0"}, "not a plain file name"),
        ({"name": b"/a\0"}, "not a plain file name"),
        ({"name": b"..\0"}, "not a plain file name"),
        ({"name": b"\xff\xfe\0"}, "not UTF-8"),
        ({"size": b"FFFFFFFF"}, "would end at byte|ends"),
    ],
)
@pytest.mark.parametrize("seekable", [False, True])
def test_headers_that_are_refused(changes: dict[str, bytes], message: str, seekable: bool) -> None:
    assert contents(header(), seekable=seekable) == [("ab", b"abc")]
    with pytest.raises(ArchiveError, match=message):
        contents(header(**changes), seekable=seekable)


def test_fields_without_meaning_are_not_read() -> None:
    raw = header(mode=b"0000A1FF", uid=b"ffffffff", nlink=b"00000009", check=b"DEADBEEF", size=b"00000003")
    assert contents(raw, seekable=True) == [("ab", b"abc")]


@pytest.mark.parametrize("seekable", [False, True])
def test_what_follows_the_end_mark(seekable: bool) -> None:
    raw = archive([Member("ab", b"abc")])
    for tail in (b"", bytes(1), bytes(PADDING_BYTES_MAX - 512)):
        assert contents(raw + tail, seekable=seekable) == [("ab", b"abc")]
    for tail in (b"x", bytes(1000) + b"\1", raw, bytes(PADDING_BYTES_MAX + 1)):
        with pytest.raises(ArchiveError, match="behind the archive's end mark"):
            contents(raw + tail, seekable=seekable)


def test_an_end_mark_with_data() -> None:
    raw = archive([Member(TRAILER, b"data")], trailer=False) + bytes(512)
    with pytest.raises(ArchiveError, match="claims to have data"):
        contents(raw, seekable=True)


def test_too_many_members() -> None:
    raw = b"".join(Member(f"{index:x}", b"").encode(NEWC) for index in range(MEMBERS_MAX + 1))
    with file_source(raw) as origin, pytest.raises(ArchiveError, match="more than"):
        Archive(origin).index()


MUTATIONS: list[Callable[[bytearray, int, int], object]] = [
    lambda raw, at, value: raw.__setitem__(at, value),
    lambda raw, at, value: raw.insert(at, value),
    lambda raw, at, value: raw.__delitem__(slice(at, at + value)),
]


@settings(deadline=None)  # other work on the machine must not fail a test
@given(
    MEMBERS,
    MAGICS,
    st.lists(st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 4000), st.integers(0, 255))),
)
def test_file_and_stream_agree_on_damage(
    members: list[Member],
    magic: bytes,
    damage: list[tuple[Callable[[bytearray, int, int], object], int, int]],
) -> None:
    """Either both give the same members, or both refuse; whatever else is raised fails the test."""
    raw = bytearray(archive(members, magic))
    for mutate, at, value in damage:
        if raw:
            mutate(raw, at % len(raw), value)
    verdicts: list[object] = []
    for seekable in (False, True):
        try:
            verdicts.append(contents(bytes(raw), seekable=seekable))
        except SwagentError as exc:
            verdicts.append(type(exc))
    assert verdicts[0] == verdicts[1]
