"""What one entry can say: where to, how large, packed how, what for."""

import gzip
import io
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from swagent.model import Compression
from tests.conftest import AES_IV, AES_KEY, KeyRing
from tests.stream.tables import chunked

from .bench import Case, check, entry, files, images, params, software, to_device, to_file

A, B = b"content of a\n", b"content of b\n"
DISK = b"\xa5" * 0x3000
IMAGE = bytes(range(256)) * 8


def encrypted(data: bytes, key: bytes = AES_KEY, iv: bytes = AES_IV) -> bytes:
    padder = PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(padder.update(data) + padder.finalize()) + cipher.finalize()


def tar(*members: tuple[tarfile.TarInfo, bytes], archive_format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=archive_format) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, mode: int = 0o644, **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def patched(offset: int, data: bytes = IMAGE) -> dict[str, bytes]:
    return {"disk": DISK[:offset] + data + DISK[offset + len(data) :]}


def offset(name: str, given: object, at: int, **more: object) -> Case:
    return Case(
        name=f"offset-{name}",
        description=software(images(to_device("a", offset=given))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds=patched(at),
        **more,  # type: ignore[arg-type]  # fields of Case
    )


def file_case(
    name: str, text: str, a: bytes, *, holds: dict[str, bytes] | None = None, **more: object
) -> Case:
    return Case(
        name=name,
        description=text,
        members={"a": a},
        holds={"a": A} if holds is None else holds,
        **more,  # type: ignore[arg-type]  # fields of Case
    )


# content of a, in two zstd frames of raw blocks (RFC 8878)
ZSTD_FRAMES = b"".join(
    b"\x28\xb5\x2f\xfd\x20" + bytes([len(part)]) + (len(part) << 3 | 1).to_bytes(3, "little") + part
    for part in (A[:6], A[6:])
)
TREE = tar(
    member("dir", kind=tarfile.DIRTYPE, mode=0o750),
    member("dir/plain", A, mode=0o640),
    member("dir/program", B, mode=0o755),
    member("link", kind=tarfile.SYMTYPE, linkname="dir/plain"),
    member("dir/again", kind=tarfile.LNKTYPE, linkname="dir/plain"),
)
TREE_HOLDS = {"dir/plain": A, "dir/program": B, "dir/again": A, "link": b"-> dir/plain"}
OWNED = tar(member("owned", A, mode=0o4755, uid=1234, gid=4321, mtime=1_000_000_000))


def archive(name: str, data: bytes, **more: object) -> Case:
    attributes = {"type": "archive", "path": "@ROOT@", **more.pop("attributes", {})}  # type: ignore[dict-item]  # a dict
    return Case(
        name=f"archive-{name}",
        description=software(files(entry("a.tar", **attributes))),
        members={"a.tar": data},
        **more,  # type: ignore[arg-type]  # fields of Case
    )


def by_chunks(name: str, compression: Compression, *, cipher: bool = False, quick: bool = False) -> Case:
    """An image with a chunk table, which SWUpdate passes over."""
    stored, table = chunked(IMAGE * 5, compression, encrypted if cipher else None)
    digest = sha256(table).hexdigest()
    return Case(
        name=f"chunks-{name}",
        description=software(
            images(
                to_device(
                    "a",
                    installed_directly=True,
                    compressed=compression.value or None,
                    encrypted=True if cipher else None,
                    properties={"chunk-table": "a.chunks", "chunk-table-sha256": digest},
                )
            )
        ),
        members={"a.chunks": table, "a": stored},
        words=("-K", "@AES@") if cipher else (),
        device={"disk": DISK},
        holds=patched(0, IMAGE * 5),
        quick=quick,
    )


CASES = [
    by_chunks("plain", Compression.NONE, quick=True),
    by_chunks("zlib", Compression.ZLIB, quick=True),
    by_chunks("zstd", Compression.ZSTD, quick=True),
    by_chunks("aes", Compression.NONE, cipher=True),
    by_chunks("aes-zlib", Compression.ZLIB, cipher=True, quick=True),
    by_chunks("aes-zstd", Compression.ZSTD, cipher=True, quick=True),
    Case(
        name="joined",
        description=software(
            images(
                to_device(
                    "a",
                    type="joined",
                    installed_directly=True,
                    properties={
                        "chain": "raw",
                        "parts": ["a", "b"],
                        "parts-sha256": ["@SHA:a@", "@SHA:b@"],
                        "parts-size": ["@SIZE:a@", "@SIZE:b@"],
                    },
                )
            )
        ),
        members={"a": IMAGE, "b": IMAGE},
        device={"disk": DISK},
        ok=False,
        ours=patched(0, IMAGE * 2),
        differs="images of several members",
    ),
    Case(
        name="raw",
        description=software(images(to_device("a"))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds=patched(0),
        quick=True,
    ),
    Case(
        name="raw-direct",
        description=software(images(to_device("a", installed_directly=True))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds=patched(0),
        quick=True,
    ),
    Case(
        name="raw-explicit-type",
        description=software(images(to_device("a", type="raw"))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds=patched(0),
    ),
    Case(
        name="raw-no-device",
        description=software(images(to_device("a"))),
        members={"a": IMAGE},
        ok=False,
        exit=41,
    ),
    offset("number", 256, 256),
    offset("text", "256", 256),
    offset("hex", "0x100", 256),
    offset("octal", "0400", 256, quick=True),
    offset("K", "2K", 2048, quick=True),
    offset("k-lower", "2k", 2048),
    offset("KiB", "2KiB", 2048),
    Case(
        name="offset-M",
        description=software(images(to_device("a", offset="1M"))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds={"disk": DISK.ljust(1 << 20, b"\0") + IMAGE},
    ),
    Case(
        name="offset-beyond",
        description=software(images(to_device("a", offset="0x4000"))),
        members={"a": IMAGE},
        device={"disk": DISK},
        holds={"disk": DISK.ljust(0x4000, b"\0") + IMAGE},
    ),
    offset("junk", "2Kx", 2048, exit=11, ours={"disk": DISK}, differs="malformed values"),
    Case(
        name="offset-letters",
        description=software(images(to_device("a", offset="abc"))),
        members={"a": IMAGE},
        device={"disk": DISK},
        ok=False,
        exit=11,
    ),
    Case(
        name="size-right",
        description=software(files(to_file("a", size=len(A)))),
        members={"a": A},
        holds={"a": A},
    ),
    Case(
        name="size-zero", description=software(files(to_file("a", size=0))), members={"a": A}, holds={"a": A}
    ),
    Case(
        name="size-wrong",
        description=software(files(to_file("a", size=5))),
        members={"a": A},
        holds={"a": A},
        exit=23,
        ours={},
        differs="size",
        quick=True,
    ),
    Case(
        name="size-text",
        description=software(files(to_file("a", size="5"))),
        members={"a": A},
        holds={"a": A},
        exit=11,
        ours={},
        differs="malformed values",
    ),
    file_case("zlib", software(files(to_file("a", compressed="zlib"))), gzip.compress(A)),
    file_case("compressed-true", software(files(to_file("a", compressed=True))), gzip.compress(A)),
    file_case("compressed-false", software(files(to_file("a", compressed=False))), A),
    file_case(
        "compressed-word", software(files(to_file("a", compressed="lzw"))), A, ok=False, exit=11, holds={}
    ),
    file_case(
        "gzip-name",
        software(files(to_file("a", compressed="gzip"))),
        gzip.compress(A),
        ok=False,
        exit=11,
        holds={},
    ),
    file_case(
        "zlib-two-members",
        software(files(to_file("a", compressed="zlib"))),
        gzip.compress(A[:6]) + gzip.compress(A[6:]),
        holds={"a": A[:6]},
        ours={"a": A},
        differs="several gzip members",
    ),
    file_case(
        "zlib-cut",
        software(files(to_file("a", compressed="zlib"))),
        gzip.compress(A)[:-6],
        exit=10,
        ours={},
        differs="cut compressed data",
        quick=True,
    ),
    file_case(
        "zlib-damaged",
        software(files(to_file("a", compressed="zlib"))),
        gzip.compress(A)[:12] + b"\xff\xff" + gzip.compress(A)[14:],
        ok=False,
        exit=10,
        holds={"a": b""},
        ours={},
        differs="failed files",
        quick=True,
    ),
    file_case(
        "zlib-not",
        software(files(to_file("a", compressed="zlib"))),
        A,
        ok=False,
        exit=10,
        holds={"a": b""},
        ours={},
        differs="failed files",
    ),
    file_case(
        "encrypted-true", software(files(to_file("a", encrypted=True))), encrypted(A), words=("-K", "@AES@")
    ),
    file_case(
        "encrypted-word",
        software(files(to_file("a", encrypted="aes-cbc"))),
        encrypted(A),
        words=("-K", "@AES@"),
        holds={"a": encrypted(A)},
        ours={"a": A},
        differs="encrypted by name",
    ),
    file_case("encrypted-false", software(files(to_file("a", encrypted=False))), A, words=("-K", "@AES@")),
    file_case(
        "encrypted-unknown-word",
        software(files(to_file("a", encrypted="aes-gcm"))),
        encrypted(A),
        words=("-K", "@AES@"),
        holds={"a": encrypted(A)},
        exit=11,
        ours={},
        differs="malformed values",
    ),
    file_case(
        "aes-key-128",
        software(files(to_file("a", encrypted="aes-cbc-128", aes_key="11" * 16, ivt="ab" * 16))),
        encrypted(A, b"\x11" * 16, b"\xab" * 16),
        holds={"a": encrypted(A, b"\x11" * 16, b"\xab" * 16)},
        ours={"a": A},
        differs="encrypted by name",
    ),
    file_case("zstd-two-frames", software(files(to_file("a", compressed="zstd"))), ZSTD_FRAMES),
    file_case(
        "zstd-cut",
        software(files(to_file("a", compressed="zstd"))),
        ZSTD_FRAMES[:-3],
        holds={"a": A[:-3]},
        exit=10,
        ours={},
        differs="cut compressed data",
    ),
    file_case(
        "encrypted-ivt",
        software(files(to_file("a", encrypted=True, ivt="ab" * 16))),
        encrypted(A, iv=b"\xab" * 16),
        words=("-K", "@AES@"),
        quick=True,
    ),
    file_case(
        "encrypted-zlib",
        software(files(to_file("a", encrypted=True, compressed="zlib"))),
        encrypted(gzip.compress(A)),
        words=("-K", "@AES@"),
        quick=True,
    ),
    file_case(
        "encrypted-no-key",
        software(files(to_file("a", encrypted=True))),
        encrypted(A),
        ok=False,
        exit=22,
        holds={"a": b""},
        ours={},
        differs="failed files",
    ),
    file_case(
        "encrypted-wrong-key",
        software(files(to_file("a", encrypted=True))),
        encrypted(A),
        words=("-K", "@AES_OTHER@"),
        ok=False,
        exit=22,
        holds={"a": b""},
        ours={},
        differs="failed files",
        quick=True,
    ),
    file_case(
        "encrypted-bad-padding",
        software(files(to_file("a", encrypted=True))),
        encrypted(A)[:-16] or b"0" * 16,
        words=("-K", "@AES@"),
        ok=False,
        exit=22,
        holds={"a": b""},
        ours={},
        differs="failed files",
    ),
    file_case(
        "aes-key",
        software(files(to_file("a", encrypted="aes-cbc-256", aes_key="11" * 32, ivt="ab" * 16))),
        encrypted(A, b"\x11" * 32, b"\xab" * 16),
        holds={"a": encrypted(A, b"\x11" * 32, b"\xab" * 16)},
        ours={"a": A},
        differs="encrypted by name",
    ),
    file_case(
        "ivt-short",
        software(files(to_file("a", encrypted=True, ivt="abcd"))),
        encrypted(A),
        words=("-K", "@AES@"),
        exit=11,
        ours={},
        differs="malformed values",
    ),
    file_case("file-mode", software(files(to_file("a"))), A, modes={"a": 0o600}),
    file_case(
        "file-over-old", software(files(to_file("a"))), A, device={"a": b"longer than the new content\n" * 3}
    ),
    file_case(
        "file-atomic",
        software(files(to_file("a", properties={"atomic-install": "true"}))),
        A,
        device={"a": b"old"},
        modes={"a": 0o600},
        our_modes={"a": 0o644},
        differs="atomic-install",
        quick=True,
    ),
    file_case("file-no-folder", software(files(to_file("a", "x/y/a"))), A, ok=False, exit=41, holds={}),
    file_case(
        "file-create-destination",
        software(files(to_file("a", "x/y/a", properties={"create-destination": "true"}))),
        A,
        holds={"x/y/a": A},
        quick=True,
    ),
    file_case("file-direct", software(files(to_file("a", installed_directly=True))), A),
    file_case(
        "property-number",
        software(files(to_file("a", "x/a", properties={"create-destination": 1}))),
        A,
        ok=False,
        exit=11,
        holds={},
    ),
    file_case(
        "property-list",
        software(files(to_file("a", "x/a", properties={"create-destination": ["false", "true"]}))),
        A,
        holds={"x/a": A},
    ),
    file_case("unknown-attribute", software(files(to_file("a", colour="blue"))), A),
    file_case("unknown-property", software(files(to_file("a", properties={"colour": "blue"}))), A),
    file_case(
        "flag-as-text",
        software(files(to_file("a", installed_directly="true"))),
        A,
        exit=11,
        ours={},
        differs="malformed values",
    ),
    file_case("image-to-rawfile", software(images(to_file("a", type="rawfile"))), A),
    file_case(
        "file-to-raw", software(files(to_device("a", "a", type="raw"))), A, device={"a": b"x" * len(A)}
    ),
    archive(
        "plain",
        TREE,
        holds=TREE_HOLDS,
        modes={"dir/plain": 0o640, "dir/program": 0o755, "dir": 0o750},
        quick=True,
    ),
    archive("gzip-inside", gzip.compress(TREE), holds=TREE_HOLDS),
    archive("zlib", gzip.compress(TREE), attributes={"compressed": "zlib"}, holds=TREE_HOLDS),
    archive("type-tar", TREE, attributes={"type": "tar"}, holds=TREE_HOLDS),
    archive("ustar", tar(member("x", A), archive_format=tarfile.USTAR_FORMAT), holds={"x": A}),
    archive("no-owner", OWNED, holds={"owned": A}, modes={"owned": 0o755}),
    archive(
        "preserve",
        OWNED,
        attributes={"preserve_attributes": True},
        holds={"owned": A},
        modes={"owned": 0o4755},
        times={"owned": 1_000_000_000},
        quick=True,
    ),
    archive(
        "dot-dot",
        tar(member("../escaped", A), member("x", A)),
        holds={"x": A},
        exit=10,
        ours={},
        differs="paths in archives",
        quick=True,
    ),
    archive(
        "create-destination",
        TREE,
        attributes={"path": "@ROOT@/x/y", "properties": {"create-destination": "true"}},
        holds={f"x/y/{name}": data for name, data in TREE_HOLDS.items()},
    ),
    archive("no-destination", TREE, attributes={"path": "@ROOT@/x/y"}, ok=False, exit=41),
    archive("direct", TREE, attributes={"installed_directly": True}, holds=TREE_HOLDS),
    archive("not-an-archive", A * 100, ok=False, exit=10),
    archive("cut", TREE[:700], ok=False, exit=10, holds={"dir/": b""}),
    archive("over-old", tar(member("x", A)), device={"x": b"older and longer " * 5}, holds={"x": A}),
]


@pytest.mark.parametrize("case", params(CASES))
def test_entries(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
