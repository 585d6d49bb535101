"""Unpacking: what real programs write, what hostile ones might, and what the destination has in store."""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.errors import (
    ArchiveError,
    Cancelled,
    DeviceError,
    HashError,
    PreflightRefused,
    SizeError,
    SwagentError,
)
from swagent.handlers.archive import Archive
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, FakeHardware

from .tarbytes import BLOCK, END, gnu_long, header, member, padded, pax

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def unpack(
    data: bytes | FakeData, where: Path, *, keep: bool = False, chunk_bytes: int = 1 << 20
) -> FakeContext:
    dst = where / "dst"
    dst.mkdir(exist_ok=True)
    ctx = FakeContext(str(where))
    art = Artifact(Kind.IMAGE, "archive", filename="a.tar", path=str(dst), preserve_attributes=keep)
    source = FakeData(data, chunk_bytes=chunk_bytes) if isinstance(data, bytes) else data
    try:
        Archive().install(art, Archive.Options(), source, ctx)
        assert source.ended
        ctx.sync.flush()
    finally:
        ctx.sync.discard()
    return ctx


def names(where: Path) -> list[str]:
    """What is there outside of the destination; it must never change."""
    return sorted(p.name for p in where.iterdir() if p.name != "dst")


# -- what real programs write


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree with a bit of everything."""
    top = tmp_path_factory.mktemp("rootfs")
    (top / "bin").mkdir(mode=0o755)
    (top / "bin" / "tool").write_bytes(os.urandom(700_000))
    (top / "bin" / "tool").chmod(0o755)
    (top / "bin" / "alias").hardlink_to(top / "bin" / "tool")
    (top / "bin" / "sh").symlink_to("tool")
    (top / "etc").mkdir(mode=0o750)
    (top / "etc" / "mtab").symlink_to("/proc/self/mounts")
    (top / "etc" / "empty").write_bytes(b"")
    deep = top / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_text("long")
    (deep / "link").symlink_to("x" * 180)
    (top / "umlaut-ä").write_text("utf-8")
    Path(os.fsdecode(bytes(top) + b"/latin-\xe4")).write_text("latin-1")
    for number in range(40):
        (top / "etc" / f"conf{number}").write_bytes(b"c" * (number * 37))
    os.utime(top / "etc" / "conf3", ns=(10**18, 10**18 + 123_456_700))
    return top


def listing(top: Path, *, times: bool) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what: object = ""
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = path.read_bytes()
        facts: tuple[object, ...] = (stat.filemode(status.st_mode), what)
        if times:
            facts += (status.st_uid, status.st_gid, status.st_mtime_ns, status.st_nlink)
        found[str(path.relative_to(top))] = facts
    return found


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "posix"])
@pytest.mark.parametrize("keep", [False, True])
def test_what_gnu_tar_writes(rootfs: Path, tmp_path: Path, form: str, *, keep: bool) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs tar: apt-get install tar")
    if keep and os.geteuid() != 0:
        pytest.skip("needs root")
    image = tmp_path / "a.tar"
    exclude = ["--exclude=" + "f" * 200, "--exclude=link"] if form == "ustar" else []
    subprocess.run(["tar", f"--format={form}", *exclude, "-cf", image, "-C", rootfs, "."], check=True)
    unpack(image.read_bytes(), tmp_path, keep=keep, chunk_bytes=10_000)
    reference = tmp_path / "reference"
    reference.mkdir()
    subprocess.run(
        ["tar", "-xf", image, "-C", reference, "--numeric-owner", *(["-p"] if keep else [])], check=True
    )
    same_owner = keep
    assert listing(tmp_path / "dst", times=same_owner) == listing(reference, times=same_owner)


@root_only
def test_attributes_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file = source / "file"
    file.write_text("x")
    os.chown(file, 1234, 5678)
    file.chmod(0o4755)
    (source / "dir").mkdir()
    (source / "dir").chmod(0o2775)
    (source / "link").symlink_to("file")
    os.chown(source / "link", 1234, 5678, follow_symlinks=False)
    try:
        os.setxattr(file, "user.note", b"value\0with nul")
        os.setxattr(file, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    except OSError as exc:
        pytest.skip(f"needs extended attributes: {exc}")
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    image = tmp_path / "a.tar"
    command: list[str | Path] = [
        "tar",
        "--format=pax",
        "--xattrs",
        "--xattrs-include=*",
        "-cf",
        image,
        "-C",
        source,
        ".",
    ]
    subprocess.run(command, check=True)
    with pytest.raises(ArchiveError, match="device node"):
        unpack(image.read_bytes(), tmp_path)
    shutil.rmtree(tmp_path / "dst")
    unpack(image.read_bytes(), tmp_path, keep=True)
    dst = tmp_path / "dst"
    assert listing(dst, times=True) == listing(source, times=True)
    assert os.getxattr(dst / "file", "user.note") == b"value\0with nul"
    assert os.getxattr(dst / "file", "security.capability") == os.getxattr(file, "security.capability")
    assert (dst / "null").stat().st_rdev == os.makedev(1, 3)
    assert dst.stat().st_mtime_ns == source.stat().st_mtime_ns


@root_only
def test_acl_text_becomes_an_acl(tmp_path: Path) -> None:
    text = b"user::rw-,user:4711:r--:4711,group::r--,group:root:-w-,mask::rw-,other::---"
    data = pax((b"SCHILY.acl.access", text)) + member(b"file", b"x", mode=b"0000660\0") + END
    try:
        unpack(data, tmp_path, keep=True)
    except DeviceError as exc:
        pytest.skip(f"needs ACLs: {exc}")
    raw = os.getxattr(tmp_path / "dst" / "file", "system.posix_acl_access")
    entries = [raw[at : at + 8].hex() for at in range(4, len(raw), 8)]
    assert entries == [
        "01000600ffffffff",
        "0200040067120000",
        "04000400ffffffff",
        "0800020000000000",
        "10000600ffffffff",
        "20000000ffffffff",
    ]


@pytest.mark.parametrize(
    "text", [b"user:nobody-of-that-name:rwx", b"user::rwz", b"mask:1:rwx", b"x", b"\xff::rwx"]
)
def test_bad_acl(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ArchiveError, match="ACL"):
        unpack(pax((b"SCHILY.acl.access", text)) + member(b"file") + END, tmp_path, keep=True)


def test_long_names_and_old_forms(tmp_path: Path) -> None:
    data = (
        gnu_long(b"a" * 150)
        + member(b"a" * 100, b"gnu")
        + member(b"name", b"prefix", prefix=b"p" * 120)
        + member(b"v7dir/", magic=bytes(8))
        + member(b"v7dir/v7", b"old", kind=b"\0", magic=bytes(8))
        + member(b"contiguous", b"7", kind=b"7")
        + header(b"volume", kind=b"V")
        + pax((b"comment", b"for all"), kind=b"g")
        + pax((b"path", b"named by pax"), (b"size", b"3"))
        + header(b"other", size=0)
        + padded(b"pax")
        + gnu_long(b"t" * 140, b"K")
        + header(b"link", kind=b"2", link=b"t" * 100)
        + header(b"binary size", size=b"\x80" + bytes(10) + b"\x02")
        + padded(b"hi")
    )
    unpack(data + END, tmp_path)
    dst = tmp_path / "dst"
    assert (dst / ("a" * 150)).read_text() == "gnu"
    assert (dst / ("p" * 120) / "name").read_text() == "prefix"
    assert (dst / "v7dir" / "v7").read_text() == "old"
    assert (dst / "contiguous").read_text() == "7"
    assert (dst / "named by pax").read_text() == "pax"
    assert os.readlink(dst / "link") == "t" * 140
    assert (dst / "binary size").read_text() == "hi"


@pytest.mark.parametrize("squeeze", [gzip.compress, lzma.compress])
def test_compressed_on_top(tmp_path: Path, squeeze: object) -> None:
    assert callable(squeeze)
    data = squeeze(member(b"file", b"x" * 600_000) + END)
    unpack(data, tmp_path, chunk_bytes=777)
    assert (tmp_path / "dst" / "file").stat().st_size == 600_000
    with pytest.raises(ArchiveError):
        unpack(data[:-20], tmp_path)


def test_zstd_on_top(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    unpack(zstd.compress(member(b"file", b"x" * 600_000) + END), tmp_path)
    assert (tmp_path / "dst" / "file").stat().st_size == 600_000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(600), "zip"),
        (bz2.compress(b"x"), "bzip2"),
        (b"#!/bin/sh\n" + b"x" * 600, "no tar archive"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(ArchiveError, match=text):
        unpack(data, tmp_path)


# -- what hostile ones might write


@pytest.mark.parametrize(
    "name",
    [b"../evil", b"a/../../evil", b"..", b"./../evil", b"a/..", b"/evil", b"//evil", b"./a/./../../evil"],
)
@pytest.mark.parametrize("kind", [b"0", b"5", b"2", b"1"])
def test_names_that_lead_out(tmp_path: Path, name: bytes, kind: bytes) -> None:
    before = names(tmp_path)
    data = member(b"ok", b"1") + header(name, kind=kind, link=b"ok" if kind in b"12" else b"")
    for hostile in (data, member(b"ok", b"1") + pax((b"path", name)) + header(b"x", kind=kind, link=b"ok")):
        with pytest.raises(ArchiveError, match=r"leads out|absolute"):
            unpack(hostile + END, tmp_path)
    assert names(tmp_path) == before
    assert not Path("/evil").exists()


@pytest.mark.parametrize("target", [b"..", b"../victim", b"{}/victim", b"a/../../victim", b"self"])
@pytest.mark.parametrize("keep", [False, pytest.param(True, marks=root_only)])
def test_links_are_not_walked_through(tmp_path: Path, target: bytes, *, keep: bool) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    victim.chmod(0o711)
    target = target.replace(b"{}", os.fsencode(tmp_path))
    link = member(b"a/x") + header(b"self", kind=b"2", link=target)
    for hostile in (
        member(b"self/evil", b"x"),
        header(b"self/evil", kind=b"5"),
        header(b"self/", kind=b"5", mode=b"0000777\0"),
        header(b"self/evil", kind=b"2", link=b"x"),
        header(b"hard", kind=b"1", link=b"self/secret"),
        header(b"self/evil", kind=b"1", link=b"a/x"),
    ):
        with pytest.raises(DeviceError):
            unpack(link + hostile + END, tmp_path, keep=keep)
        assert list(victim.iterdir()) == []
        assert names(tmp_path) == ["victim"]
        assert stat.S_IMODE(victim.stat().st_mode) == 0o711


def test_file_over_a_link_replaces_the_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("safe")
    unpack(header(b"l", kind=b"2", link=b"../victim") + member(b"l", b"new") + END, tmp_path)
    assert (tmp_path / "victim").read_text() == "safe"
    assert (tmp_path / "dst" / "l").read_text() == "new"


@root_only
def test_attributes_do_not_go_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    victim.chmod(0o600)
    link = header(b"l", kind=b"2", link=b"../victim", mode=b"0000777\0", uid=b"0000017\0")
    unpack(link + END, tmp_path, keep=True)
    assert (stat.S_IMODE(victim.stat().st_mode), victim.stat().st_uid) == (0o600, os.geteuid())
    assert (tmp_path / "dst" / "l").lstat().st_uid == 0o17


@pytest.mark.parametrize("link", [b"../victim", b"/etc/passwd", b"a/../../victim", b"", b"."])
def test_hard_links_to_outside(tmp_path: Path, link: bytes) -> None:
    (tmp_path / "victim").write_text("safe")
    with pytest.raises(ArchiveError):
        unpack(header(b"h", kind=b"1", link=link) + END, tmp_path)
    assert (tmp_path / "victim").stat().st_nlink == 1


def test_hard_link_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="No such file"):
        unpack(header(b"h", kind=b"1", link=b"nothing") + END, tmp_path)


def test_new_file_does_not_write_through_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()
    (tmp_path / "other").write_text("safe")
    (tmp_path / "dst" / "f").hardlink_to(tmp_path / "other")
    unpack(member(b"f", b"new") + END, tmp_path)
    assert (tmp_path / "other").read_text() == "safe"


def test_folder_swapped_for_a_link_in_the_archive(tmp_path: Path) -> None:
    """The folder is known and open; once it is replaced, its descriptor must not be trusted."""
    (tmp_path / "victim").mkdir()
    data = (
        header(b"d/", kind=b"5")
        + header(b"d/sub/", kind=b"5")
        + header(b"d/sub/deep/", kind=b"5")
        + header(b"d/sub/deep", kind=b"2", link=b"../../../victim")
        + member(b"d/sub/deep/evil", b"x")
    )
    with pytest.raises(DeviceError):
        unpack(data + END, tmp_path)
    assert list((tmp_path / "victim").iterdir()) == []


def test_folder_that_was_known_is_made_again(tmp_path: Path) -> None:
    folder = header(b"d/e/", kind=b"5")
    unpack(folder * 2 + member(b"d/e", b"file") + folder + member(b"d/e/f", b"x") + END, tmp_path)
    assert (tmp_path / "dst" / "d" / "e" / "f").read_text() == "x"


def test_folder_swapped_while_we_work(tmp_path: Path) -> None:
    """Somebody else replaces folders by links the whole time; whatever happens, nothing gets out."""
    dst, victim = tmp_path / "dst", tmp_path / "victim"
    dst.mkdir()
    victim.mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                os.rename(dst / "d", dst / "e")
                os.symlink("../victim", dst / "d")
                os.unlink(dst / "d")
                os.rename(dst / "e", dst / "d")
            except OSError:
                continue

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        data = b"".join(member(b"d/f%d" % n, b"x") + header(b"q%d/" % n, kind=b"5") for n in range(300))
        for _ in range(3):
            try:
                unpack(data + END, tmp_path)
            except SwagentError:
                continue
    finally:
        stop.set()
        thread.join()
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_special_files_need_preserve_attributes(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(ArchiveError, match="device node or FIFO"):
        unpack(header(b"node", kind=kind) + END, tmp_path)
    assert list((tmp_path / "dst").iterdir()) == []


def test_set_id_bits_are_dropped(tmp_path: Path) -> None:
    unpack(
        member(b"su", b"x", mode=b"0006755\0") + header(b"d", kind=b"5", mode=b"0007777\0") + END, tmp_path
    )
    assert not (tmp_path / "dst" / "su").stat().st_mode & 0o7000
    assert not (tmp_path / "dst" / "d").stat().st_mode & 0o7000


BAD = [
    ("checksum", header(checksum=b"000000\0 ")),
    ("checksum of nonsense", header(checksum=b"zzzzzz\0 ")),
    ("huge size", header(size=b"\x80\xff" + b"\xff" * 10)),
    ("huge octal size", header(size=b"7" * 12)),
    ("negative size", header(size=b"\xff" * 11 + b"\xfe")),
    ("size with a sign", header(size=b"-0000000001\0")),
    ("size with underscores", header(size=b"0_0000000_1\0")),
    ("digits 8 and 9", header(size=b"00000000089\0")),
    ("negative mode", header(mode=b"\xff" * 8)),
    ("name of 5000", gnu_long(b"n" * 5000) + header()),
    ("pax name of 5000", pax((b"path", b"n" * 5000)) + header()),
    ("component of 300", gnu_long(b"n" * 300) + header()),
    ("depth of 2000", gnu_long(b"/".join([b"d"] * 2000)) + header()),
    ("no name", header(b"")),
    ("the destination as a file", member(b"./", b"x", kind=b"0")[:0] + header(b".", kind=b"2", link=b"x")),
    ("NUL in a pax name", pax((b"path", b"a\0b")) + header()),
    ("pax length too long", header(kind=b"x", size=9) + padded(b"99 a=b\n\n\n") + header()),
    ("pax length zero", header(kind=b"x", size=6) + padded(b"0 a=b\n") + header()),
    ("pax length none", header(kind=b"x", size=6) + padded(b"xx=b\n\n") + header()),
    ("pax length huge", header(kind=b"x", size=30) + padded(b"9" * 20 + b" a=b\n") + header()),
    ("pax without =", header(kind=b"x", size=6) + padded(b"6 abc\n") + header()),
    ("pax bomb", header(kind=b"x", size=2**32) + bytes(BLOCK)),
    ("pax size negative", pax((b"size", b"-1")) + header()),
    ("pax size huge", pax((b"size", b"9" * 30)) + header()),
    ("pax keys without end", pax(*((b"k%d" % n, b"v") for n in range(1001))) + header()),
    ("extended headers without end", pax((b"a", b"b")) * 20 + header()),
    ("extended header at the end", pax((b"a", b"b")) + END),
    ("GNU sparse", header(kind=b"S")),
    ("pax sparse", pax((b"GNU.sparse.major", b"1")) + header()),
    ("multi-volume", header(kind=b"M")),
    ("unknown type", header(kind=b"Z")),
    ("empty link", header(kind=b"2")),
    ("no end mark", b""),
    ("cut in data", header(size=600) + bytes(100)),
    ("cut in a header", header()[:100]),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD])
@pytest.mark.parametrize("keep", [False, pytest.param(True, marks=root_only)])
def test_malformed(tmp_path: Path, data: bytes, *, keep: bool) -> None:
    end = b"" if len(data) % BLOCK or not data or data[124:136] == b"00000001130\0" else END
    with pytest.raises(SwagentError) as caught:
        unpack(member(b"first", b"1") + data + end, tmp_path, keep=keep)
    assert isinstance(caught.value, ArchiveError | DeviceError | SizeError)
    assert names(tmp_path) == []
    assert caught.value.message.isprintable()


@root_only
@pytest.mark.parametrize(
    "data",
    [
        header(uid=b"\x80\0\0\0\xff\xff\xff\xff"),
        header(uid=b"\xff" * 8),
        pax((b"uid", b"-1")) + header(),
        pax((b"gid", b"4294967295")) + header(),
        pax((b"mtime", b"nan")) + header(),
        pax((b"mtime", b"9" * 17)) + header(),
        header(mtime=b"\x80" + b"\x7f" * 11),
        pax((b"SCHILY.xattr.", b"x")) + header(),
        pax((b"SCHILY.xattr.a\0b", b"x")) + header(),
        pax((b"SCHILY.xattr.user." + b"n" * 300, b"x")) + header(),
        pax((b"SCHILY.xattr.nonsense", b"x")) + header(),
        header(kind=b"3", device=b"\x80\0\0\0\0\1\0\0" * 2),
    ],
)
def test_impossible_attributes(tmp_path: Path, data: bytes) -> None:
    with pytest.raises((ArchiveError, DeviceError)):
        unpack(data + END, tmp_path, keep=True)


@root_only
def test_times_before_1970(tmp_path: Path) -> None:
    data = pax((b"mtime", b"-1.5")) + header(b"a") + header(b"b", mtime=b"\xff" * 12) + END
    unpack(data, tmp_path, keep=True)
    assert (tmp_path / "dst" / "a").stat().st_mtime_ns == -1_500_000_000
    assert (tmp_path / "dst" / "b").stat().st_mtime_ns == -1_000_000_000


def test_extended_headers_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="extended header of 300000 bytes"):
        unpack(header(kind=b"x", size=300_000) + bytes(300_032) + header() + END, tmp_path)


def test_global_keys_are_bounded(tmp_path: Path) -> None:
    data = b"".join(pax(*((b"k%d-%d" % (n, m), b"v") for m in range(300)), kind=b"g") for n in range(4))
    with pytest.raises(ArchiveError, match="global"):
        unpack(data + header() + END, tmp_path)


def test_more_than_there_is_room_for(tmp_path: Path) -> None:
    data = FakeData(header(b"huge", size=b"\x80" + (2**61).to_bytes(11, "big")), size_bytes=None)
    with pytest.raises(SizeError, match="free"):
        unpack(data, tmp_path)
    assert list((tmp_path / "dst").iterdir()) == []


def test_endless_padding(tmp_path: Path) -> None:
    bomb = gzip.compress(member(b"f") + END + bytes(70 * 1024 * 1024), 1)
    with pytest.raises(ArchiveError, match="end mark"):
        unpack(bomb, tmp_path)


def test_raw_names_are_kept(tmp_path: Path) -> None:
    names_in = [b"\xff\xfe", b"new\nline", b"\x1b[31mred", "ä".encode(), b"spa ce "]
    unpack(b"".join(member(name, b"x") for name in names_in) + END, tmp_path)
    assert sorted(os.listdir(os.fsencode(tmp_path / "dst"))) == sorted(names_in)


def test_a_wrong_digest_is_a_better_explanation(tmp_path: Path) -> None:
    data = FakeData(member(b"f") + b"damage" * 200, verdict=HashError("wrong digest"))
    with pytest.raises(HashError):
        unpack(data, tmp_path)


def test_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()

    def cancel() -> None:
        raise Cancelled("stop")

    ctx = FakeContext(str(tmp_path), before_checkpoint=cancel)
    art = Artifact(Kind.IMAGE, "archive", filename="a", path=str(tmp_path / "dst"))
    data = FakeData(b"".join(member(b"%d" % n) for n in range(1000)) + END)
    with pytest.raises(Cancelled):
        Archive().install(art, Archive.Options(), data, ctx)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60),
            st.binary(max_size=2000),
        ),
        max_size=8,
    ),
    st.integers(1, 5000),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, files: list[tuple[str, bytes]], chunk_bytes: int) -> None:
    import io

    files = [(name, data) for name, data in files if name not in (".", "..") and len(name.encode()) < 255]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(f"sub/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    shutil.rmtree(tmp_path / "dst", ignore_errors=True)
    unpack(out.getvalue(), tmp_path, chunk_bytes=chunk_bytes)
    for name, data in dict(files).items():
        assert (tmp_path / "dst" / "sub" / name).read_bytes() == data


# -- where it goes


def test_mounted_device(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "real").mkdir(parents=True)
    (volume / "app").symlink_to("/real")  # absolute links mean the mounted filesystem
    hw = FakeHardware(volumes={"/dev/mmcblk0p3": str(volume)})
    ctx = FakeContext(str(tmp_path), hw=hw)
    art = Artifact(
        Kind.IMAGE, "archive", filename="a", device="/dev/mmcblk0p3", filesystem="ext4", path="/app/v2"
    )
    Archive().install(art, Archive.Options(create_destination=True), FakeData(member(b"f", b"x") + END), ctx)
    assert (volume / "real" / "v2" / "f").read_text() == "x"
    with pytest.raises(DeviceError):
        missing = Artifact(Kind.IMAGE, "archive", device="/dev/mmcblk0p3", filesystem="ext4", path="/none")
        Archive().install(missing, Archive.Options(), FakeData(END), ctx)


def test_mounted_path_cannot_climb(tmp_path: Path) -> None:
    art = Artifact(Kind.IMAGE, "archive", device="/dev/x", filesystem="ext4", path="/../etc")
    with pytest.raises(PreflightRefused, match="lead out"):
        Archive().preflight(art, Archive.Options(), FakeContext(str(tmp_path)))
