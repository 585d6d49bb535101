"""The container: cpio as it comes, and cpio as it must not come (swu format §1 and §7)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import Case, check, files, images, params, software, to_device, to_file

A, B = b"content of a\n", b"content of b\n"
AB = {"a": A, "b": B}
BOTH = software(files(to_file("a"), to_file("b")))
DIRECT = software(files(to_file("a", installed_directly=True)))
HEAD = ("sw-description", "sw-description.sig")
HEADER_BYTES = 110


def header_of(archive: bytes, name: str) -> int:
    """Where the header of a member starts."""
    return archive.index(name.encode() + b"\0") - HEADER_BYTES


def field(number: int, value: bytes, member: str) -> Callable[[bytes], bytes]:
    """Overwrites one of the 13 header fields (from 0) of a member."""

    def mangle(archive: bytes) -> bytes:
        at = header_of(archive, member) + 6 + 8 * number
        return archive[:at] + value + archive[at + 8 :]

    return mangle


def magic(value: bytes, member: str) -> Callable[[bytes], bytes]:
    def mangle(archive: bytes) -> bytes:
        at = header_of(archive, member)
        return archive[:at] + value + archive[at + 6 :]

    return mangle


def renamed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Another name of the same length, in the header only."""
    assert len(old) == len(new)

    def mangle(archive: bytes) -> bytes:
        at = header_of(archive, old.decode()) + HEADER_BYTES
        return archive[:at] + new + archive[at + len(new) :]

    return mangle


def content(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    assert len(old) == len(new)
    return lambda archive: archive.replace(old, new)


def until(member: str, more: int = 0) -> Callable[[bytes], bytes]:
    """Cuts the archive before a member."""
    return lambda archive: archive[: header_of(archive, member) + more]


def case(name: str, mangle: Callable[[bytes], bytes] = lambda archive: archive, **more: object) -> Case:
    facts: dict[str, object] = {"description": BOTH, "members": AB}
    if more.get("ok", True):
        facts["holds"] = AB
    return Case(name=name, mangle=mangle, **{**facts, **more})  # type: ignore[arg-type]  # fields of Case


LONG = "n" * 200

CASES = [
    case("crc"),
    case("newc", archive_format="newc", quick=True),
    case("other-order", names=(*HEAD, "b", "a")),
    case("unused-member", description=software(files(to_file("a"))), holds={"a": A}, quick=True),
    case("unused-member-first", description=software(files(to_file("b"))), holds={"b": B}),
    case("bytes-behind-the-trailer", lambda archive: archive + b"\0" * 1024),
    case(
        "junk-behind-the-trailer",
        lambda archive: archive + b"junk" * 256,
        exit=10,
        ours={},
        differs="bytes behind the end mark",
    ),
    case("no-padding-behind-the-trailer", lambda archive: archive[: archive.index(b"TRAILER!!!") + 14]),
    case("no-trailer", until("TRAILER!!!"), ok=False, exit=10, holds={}, quick=True),
    case("cut-in-a-header", until("b", 50), ok=False, exit=10, holds={}),
    case("cut-in-a-member", until("b", 115), ok=False, exit=10, holds={}, quick=True),
    case("cut-in-description", lambda archive: archive[:200], ok=False, exit=10),
    case("empty", lambda archive: b"", ok=False, exit=10),
    case("not-an-archive", lambda archive: b"\x7fELF" + bytes(2000), ok=False, exit=10),
    case("odc", archive_format="odc", ok=False, exit=10),
    case("binary", archive_format="bin", ok=False, exit=10),
    case("magic-of-a-member", magic(b"070707", "b"), ok=False, exit=10, holds={}),
    case("hex-digit", field(6, b"0000000g", "b"), ok=False, exit=10, holds={}),
    case("hex-blanks", field(4, b"       1", "b"), exit=10, ours={}, differs="header fields"),
    case(
        "name-too-long",
        description=software(files(to_file("a"))),
        members={"a": A, LONG + "x" * 55: B},
        ok=False,
        exit=10,
    ),
    case("name-long", description=software(files(to_file("a"))), members={"a": A, LONG: B}, holds={"a": A}),
    case("namesize-zero", field(11, b"00000000", "b"), ok=False, exit=10, holds={}),
    case("namesize-huge", field(11, b"ffffffff", "b"), ok=False, exit=10, holds={}),
    case("size-huge", field(6, b"fffffff0", "b"), ok=False, exit=10, holds={}),
    case("description-size-huge", field(6, b"7fffffff", "sw-description"), ok=False, exit=10),
    case("wrong-first", names=("a", *HEAD, "b"), ok=False, exit=10, quick=True),
    case("signature-missing", names=("sw-description", "a", "b"), ok=False, exit=20, quick=True),
    case("signature-late", names=("sw-description", "a", "sw-description.sig", "b"), ok=False, exit=20),
    case(
        "description-twice",
        names=(*HEAD, "sw-description", "a", "b"),
        exit=10,
        ours={},
        differs="repeated members",
    ),
    case("absolute-name", renamed(b"b", b"/"), ok=False, exit=10),
    case(
        "absolute-name-unwanted",
        renamed(b"bbbb", b"/etc"),
        description=software(files(to_file("a"))),
        members={"a": A, "bbbb": B},
        holds={"a": A},
        exit=10,
        ours={},
        differs="member names",
        quick=True,
    ),
    case(
        "dot-dot-name",
        renamed(b"bbbb", b"../b"),
        description=software(files(to_file("a"))),
        members={"a": A, "bbbb": B},
        holds={"a": A},
        exit=10,
        ours={},
        differs="member names",
    ),
    case(
        "folder-in-name",
        renamed(b"bbbb", b"bb/b"),
        description=software(files(to_file("a"))),
        members={"a": A, "bbbb": B},
        holds={"a": A},
        exit=10,
        ours={},
        differs="member names",
    ),
    case(
        "sum-staged",
        field(12, b"00000001", "a"),
        ok=False,
        exit=0,
        ours=AB,
        differs="cpio checksums",
        quick=True,
    ),
    case(
        "sum-unwanted",
        field(12, b"00000001", "b"),
        description=software(files(to_file("a"))),
        ok=False,
        exit=10,
        quick=True,
    ),
    case("sum-description", field(12, b"00000001", "sw-description"), ok=False, exit=10),
    case("sum-signature", field(12, b"00000001", "sw-description.sig"), ok=False, exit=10),
    case("sum-direct", field(12, b"00000001", "a"), description=DIRECT, holds={"a": A}),
    case("newc-sum-ignored", field(12, b"00000001", "a"), archive_format="newc"),
    case("hash-staged", content(A, A.upper()), ok=False, exit=21, archive_format="newc", quick=True),
    case(
        "hash-direct",
        content(A, A.upper()),
        description=DIRECT,
        ok=False,
        exit=21,
        archive_format="newc",
        holds={"a": A.upper()},
        ours={},
        differs="failed files",
    ),
    case(
        "hash-direct-into-device",
        content(A, A.upper()),
        description=software(images(to_device("a", installed_directly=True))),
        ok=False,
        exit=21,
        archive_format="newc",
        device={"disk": b"\xa5" * 20},
        holds={"disk": A.upper() + b"\xa5" * 7},
        quick=True,
    ),
    case("hash-second-member", content(B, B.upper()), ok=False, exit=21, archive_format="newc"),
    case("missing-member", names=(*HEAD, "a"), ok=False, exit=10, quick=True),
    case(
        "missing-member-after-direct",
        description=software(files(to_file("a", installed_directly=True), to_file("b"))),
        names=(*HEAD, "a"),
        ok=False,
        exit=10,
        holds={"a": A},
        ours={},
        differs="missing members",
    ),
    case(
        "missing-member-of-a-skipped-entry",
        description=software(
            files(to_file("a"), to_file("b", install_if_different=True, name="app", version="1"))
        ),
        names=(*HEAD, "a"),
        settings='globals: { loglevel = 5; };\nversions: ( { name = "app"; version = "1"; } );\n',
        holds={"a": A},
    ),
    case(
        "one-member-for-two-entries",
        description=software(files(to_file("a"), to_file("a", "again"))),
        holds={"a": A, "again": A},
    ),
    case(
        "one-member-for-two-direct-first",
        description=software(files(to_file("a", installed_directly=True), to_file("a", "again"))),
        ok=False,
        exit=0,
        ours={"a": A, "again": A},
        differs="one member for several entries",
    ),
    case(
        "member-twice", names=(*HEAD, "a", "b", "a"), exit=10, ours={}, differs="repeated members", quick=True
    ),
    case(
        "description-changed",
        content(b'version = "1.0"', b'version = "1.1"'),
        ok=False,
        exit=20,
        archive_format="newc",
        quick=True,
    ),
    case(
        "signature-changed",
        lambda archive: archive.replace(
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
        ),
        ok=False,
        exit=20,
        archive_format="newc",
    ),
    case(
        "description-limit",
        settings="globals: { loglevel = 5; sw-description-max-size = 100; };\n",
        exit=10,
        ours={},
        differs="sw-description-max-size",
    ),
]


@pytest.mark.parametrize("case", params(CASES))
def test_archives(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
