"""Headers of the real zck are read as its own tool reads them, chunks cut where it cuts; the rest is refused."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import ArchiveError
from swagent.handlers.buzhash import CHUNK_MAX_BYTES, chunk_bytes
from swagent.handlers.zchunk import CHUNK_BYTES_MAX, read_header
from tests.programs import run

from .zckfile import integer, zck, zck_header

DICE = random.Random(18)
TWO = [(b"one" * 3000, b"stored"), (b"two" * 3000, b"otherwise")]
ROW = re.compile(r" +\d+ ([0-9a-f]{64}) ([0-9a-f]{64}) +(\d+) +(\d+) +(\d+)")


def image(n_bytes: int) -> bytes:
    """Random bytes, text and zeros, as in an image."""
    whole = bytearray()
    while len(whole) < n_bytes:
        whole += DICE.choice(
            [
                DICE.randbytes(70_000),
                bytes(200_000),
                b"".join(b"line %d\n" % DICE.randrange(9999) for _ in range(9000)),
            ]
        )
    return bytes(whole[:n_bytes])


@pytest.mark.parametrize(
    "words", [("-u", "-h", "sha256"), ("-u",), ("-u", "-h", "sha256", "--compression-format", "none")]
)
def test_a_real_header(tmp_path: Path, words: tuple[str, ...]) -> None:
    data = image(1_500_000)
    front, whole = zck(tmp_path, data, *words)
    header = read_header(front, "header")
    told = ROW.findall(run(["zck_read_header", "-c", "zck-file"], cwd=tmp_path).text)[1:]
    assert [
        (
            chunk.stored_sha256.hex(),
            chunk.plain_sha256.hex(),
            chunk.offset,
            chunk.stored_bytes,
            chunk.plain_bytes,
        )
        for chunk in (header[index] for index in range(len(header)))
    ] == [(stored, plain, int(start), int(n), int(size)) for stored, plain, start, n, size in told]
    assert (header.plain_bytes, header.file_bytes, header.size_bytes) == (len(data), len(whole), len(front))
    assert header.compressed == (len(words) < 5)
    assert len(header) > 20


def test_cuts_where_zck_cuts(tmp_path: Path) -> None:
    data = image(3_000_000)
    header = read_header(zck(tmp_path, data)[0], "header")
    cuts, at = [], 0
    while at < len(data):
        cuts.append((at, chunk_bytes(data[at : at + CHUNK_MAX_BYTES])))
        at += cuts[-1][1]
    assert cuts == [header.plain_span(index) for index in range(len(header))]
    assert CHUNK_MAX_BYTES in dict(cuts).values(), "zeros have no cut"


@pytest.mark.parametrize("n_bytes", [0, 1, 47, 48, 8191, 8192, 8193])
def test_the_last_chunk_is_what_is_left(n_bytes: int) -> None:
    assert chunk_bytes(bytes(n_bytes)) == n_bytes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-h", "sha256"), "no digests of the plain chunks"),
        (("-u", "-h", "sha512"), "by SHA-512, not SHA-256"),
        (("-u", "-h", "sha512_128"), "by SHA-512/128, not SHA-256"),
        (("-u", "-h", "sha256", "-D", "zck-dict"), "has a dictionary"),
    ],
)
def test_real_headers_that_are_of_no_use(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "zck-dict").write_bytes(b"line 1\nline 2\n" * 500)
    front, _ = zck(tmp_path, image(300_000), *words)
    with pytest.raises(ArchiveError, match=says) as caught:
        read_header(front, "header")
    assert caught.value.hint


def test_headers_with_everything_that_may_be_there() -> None:
    for more in (
        {},
        {"magic": b"\0ZHR1"},
        {"flags": 6, "optional": b"\x82\x85\x83abc\x80\x80"},
        {"signatures": b"\x81\x80\x84sign"},
    ):
        header = read_header(zck_header(TWO, **more), "header")
        assert [header[index].plain_bytes for index in range(len(header))] == [9000, 9000]
        assert header[1].offset == header.size_bytes + len(b"stored")
    assert len(read_header(zck_header([(b"", b""), *TWO]), "header")) == 2, "empty chunks are left out"
    assert read_header(zck_header([]), "header").plain_bytes == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"magic": b"\0ZCK2"}, "is no header"),
        ({"kind": 0}, "by SHA-1, not SHA-256"),
        ({"chunk_kind": 7}, "by type 7"),
        ({"checksum": bytes(32)}, "damaged"),
        ({"flags": 12}, "flags that nobody knows"),
        ({"flags": 5}, "several streams"),
        ({"compression": 3}, "neither none"),
        ({"count": 0}, "no room for 0 chunks"),
        ({"count": 2**60}, "no room for"),
        ({"count": 2}, "not as long as it says|cut short|malformed"),
        ({"index_bytes": 5}, "not as long as it says"),
        ({"sizes": (CHUNK_BYTES_MAX + 1, 5)}, "more than"),
        ({"sizes": (5, CHUNK_BYTES_MAX + 1)}, "more than"),
        ({"sizes": (0, 5)}, "stored in 0"),
        ({"sizes": (4, 5), "compression": 0}, "stored in 4"),
        ({"dictionary": (1, 1)}, "dictionary"),
        ({"behind": b"x"}, "something follows"),
        ({"signatures": b"\x81\x80" + integer(2**62)}, "cut short"),
        ({"optional": b"\xff" * 2, "flags": 6}, "cut short|malformed|flags|no room"),
        ({"signatures": b"\0" * 12}, "63 bits"),
        ({"signatures": b"\x7f" * 9 + b"\x81"}, "63 bits"),
    ],
    ids=str,
)  # fmt: skip
def test_malformed_headers(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchiveError, match=says):
        read_header(zck_header(TWO, **more), "header")


def test_every_cut_and_every_flipped_byte_is_noticed() -> None:
    front = zck_header(TWO)
    for size in range(len(front)):
        with pytest.raises(ArchiveError):
            read_header(front[:size], "header")
    for at in range(len(front)):
        with pytest.raises(ArchiveError):
            read_header(front[:at] + bytes([front[at] ^ 1]) + front[at + 1 :], "header")
    with pytest.raises(ArchiveError, match="bytes, its header says"):
        read_header(front + b"\0", "header")
