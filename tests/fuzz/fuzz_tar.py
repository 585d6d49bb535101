"""Any bytes as a tar archive: unpacked inside its destination or refused, and nothing outside ever changes."""

import atexit
import gzip
import os
import shutil
import stat
import tempfile
from pathlib import Path

from swagent.errors import SwagentError
from swagent.handlers.archive import Archive
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData
from tests.handlers.tarbytes import BLOCK, END, gnu_long, header, member, padded, pax

_TOP = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
_VICTIM = _TOP / "victim"
atexit.register(shutil.rmtree, _TOP, ignore_errors=True)


def seeds() -> list[bytes]:
    """Archives of every form that is read, and of every trick that is refused."""
    ordinary = (
        header(b"./", kind=b"5")
        + header(b"d/", kind=b"5", mode=b"0000500\0")
        + member(b"d/f", b"data" * 200)
        + header(b"d/h", kind=b"1", link=b"d/f")
        + header(b"d/s", kind=b"2", link=b"../d")
    )
    return [
        ordinary + END,
        gzip.compress(ordinary + END),
        gnu_long(b"n" * 120)
        + member(b"n", b"1")
        + gnu_long(b"t" * 120, b"K")
        + header(b"l", kind=b"2")
        + END,
        pax((b"path", b"p/q"), (b"size", b"3"), (b"mtime", b"1.5")) + header() + padded(b"abc") + END,
        pax((b"SCHILY.xattr.user.a", b"b"), (b"SCHILY.acl.access", b"user::rw-,group::r--,other::---"))
        + member(b"x", b"y")
        + END,
        pax((b"uid", b"7"), kind=b"g") + member(b"a") + member(b"a", b"again") + END,
        header(b"out", kind=b"2", link=b"../victim") + member(b"out/evil", b"x") + END,
        header(b"out", kind=b"2", link=b"../victim") + header(b"out/", kind=b"5", mode=b"0000777\0") + END,
        header(b"d/e/", kind=b"5")
        + header(b"d/e", kind=b"2", link=b"../../victim")
        + member(b"d/e/evil")
        + END,
        header(b"h", kind=b"1", link=b"../victim/safe") + member(b"h", b"x") + END,
        member(b"../victim/safe", b"x") + member(b"a", b"", prefix=b"..") + END,
        header(b"node", kind=b"3", device=b"0000001\0" + b"0000003\0") + header(b"p", kind=b"6") + END,
        header(b"big", size=b"\x80" + bytes(8) + b"\x01\0\0") + END,
    ]


def one_input(data: bytes) -> None:
    """Unpack it, as it is and with its checksums put right."""
    for number, archive in enumerate((data, repaired(data))):
        _unpack(archive, keep=number == 1 and os.geteuid() == 0)


def _unpack(data: bytes, *, keep: bool) -> None:
    shutil.rmtree(_TOP, ignore_errors=True)
    _VICTIM.mkdir(parents=True)
    (_VICTIM / "safe").write_bytes(b"safe")
    dst = _TOP / "dst"
    dst.mkdir()
    before = _outside()
    ctx = FakeContext(str(_TOP))
    art = Artifact(Kind.IMAGE, "archive", filename="fuzz", path=str(dst), preserve_attributes=keep)
    try:
        Archive().install(art, Archive.Options(), FakeData(data), ctx)
    except SwagentError:
        pass
    finally:
        ctx.sync.discard()
    assert _outside() == before, "something outside of the destination changed"


def _outside() -> list[tuple[str, int, int, int, bytes]]:
    """All there is beside the destination."""
    found = []
    for path in (_TOP, _VICTIM, *_VICTIM.rglob("*")):
        status = path.lstat()
        data = (
            path.read_bytes()
            if stat.S_ISREG(status.st_mode)
            else b" ".join(sorted(map(os.fsencode, os.listdir(path))))
        )
        found.append(
            (str(path), status.st_mode, status.st_uid, status.st_nlink if data == b"safe" else 0, data)
        )
    return found


def repaired(data: bytes) -> bytes:
    """The same with right checksums wherever a reader would look for a header."""
    blocks = bytearray(data)
    pos = 0
    while pos + BLOCK <= len(blocks):
        block = blocks[pos : pos + BLOCK]
        if not any(block):
            break
        block[148:156] = b" " * 8
        blocks[pos + 148 : pos + 156] = b"%06o\0 " % sum(block)
        digits = bytes(block[124:136]).rstrip(b"\0 ")
        size = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else 0
        pos += BLOCK + size + (-size % BLOCK)
    return bytes(blocks)
