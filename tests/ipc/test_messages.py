"""Layouts, byte by byte, as the compiler of a 64-bit machine makes them (runtime interfaces §2.2, §3.2)."""

import struct
import sys

import pytest

from swagent.ipc import messages as m

pytestmark = pytest.mark.skipif(
    struct.calcsize("P") != 8 or sys.byteorder != "little", reason="the numbers are of LP64, little-endian"
)


def at(body: bytes, offset: int, size: int) -> bytes:
    """A field, by its offset in the whole message."""
    return body[offset - 8 : offset - 8 + size]


def text(value: str, size: int) -> bytes:
    return value.encode().ljust(size, b"\0")


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def test_sizes() -> None:
    assert (m.MESSAGE_BYTES, m.PROGRESS_BYTES, m.PROGRESS_2022_BYTES) == (3120, 2408, 2416)
    assert m.PROGRESS_ACK.hex(" ") == "00 00 02 00 41 43 4b 00"


def test_the_head() -> None:
    data = m.Message(m.Type.GET_STATUS).pack()
    assert data[:8] == b"\x01\x20\x05\x14" + number(3)
    assert len(data) == 3120
    assert not any(data[8:])
    assert m.unpack(data) == m.Message(3, bytes(3112))


def test_the_request() -> None:
    request = m.Request(2, 1, "info", "stable", "copy1", 1 << 33, 1, True)
    body = request.pack()
    assert len(body) == 1056
    assert at(body, 8, 12) == number(1) + number(2) + number(1)
    assert at(body, 24, 8) == number(1 << 33, 8)
    assert at(body, 32, 512) == text("info", 512)
    assert at(body, 544, 256) == text("stable", 256)
    assert at(body, 800, 256) == text("copy1", 256)
    assert at(body, 1056, 8) == number(1, 8)
    assert m.Request.unpack(body) == request
    assert body == struct.pack("<IIIxxxxQ512s256s256sB7x", 1, 2, 1, 1 << 33, b"info", b"stable", b"copy1", 1)


FIELDS: list[tuple[bytes, list[tuple[int, bytes]]]] = [
    (m.StatusReply(1, 3, 7, "line").pack(),
     [(8, number(1)), (12, number(3)), (16, number(7)), (20, text("line", 2048))]),
    (m.Notification(4, 1, 2, "x").pack(), [(8, number(4)), (12, number(1)), (16, number(2)), (20, text("x", 2048))]),
    (m.Command(2, 3, b"{}", 10).pack(),
     [(8, number(2)), (12, number(3)), (16, number(10)), (20, number(2)), (24, text("{}", 2048))]),
    (m.AesKeyText("ab" * 32, "cd" * 16).pack(), [(8, text("ab" * 32, 65)), (73, text("cd" * 16, 33))]),
    (m.VersionsRange("1", "2", "3", "app").pack(),
     [(8, text("1", 256)), (264, text("2", 256)), (520, text("3", 256)), (776, text("app", 256))]),
    (m.Revisions("board", "1.0").pack(), [(8, text("board", 256)), (264, text("1.0", 256))]),
    (m.Variable("ns", "name", "value").pack(),
     [(8, text("ns", 256)), (264, text("name", 256)), (520, text("value", 256))]),
    (m.DeltaUrl("f.zck", "http://x").pack(), [(8, text("f.zck", 256)), (264, text("http://x", 1024))]),
    (m.text_body("no"), [(8, text("no", 128))]),
    (m.pack_state("2"), [(8, number(ord("2")))]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "fields"), FIELDS)
def test_the_other_unions(body: bytes, fields: list[tuple[int, bytes]]) -> None:
    for offset, expected in fields:
        assert at(body, offset, len(expected)) == expected
    assert len(body) == sum(len(expected) for _, expected in fields)


@pytest.mark.parametrize(
    "value",
    [
        m.StatusReply(1, 3, 7, "line"),
        m.Notification(4, 1, 2, "x"),
        m.Command(2, 3, b"{}", 10, 2),
        m.AesKeyText("ab", "cd"),
        m.VersionsRange("1", "2", "3", "app"),
        m.Revisions("board", "1.0"),
        m.Variable("ns", "name", "value"),
        m.DeltaUrl("f.zck", "http://x"),
    ],
)
def test_what_is_packed_can_be_read(value: m.StatusReply) -> None:
    assert type(value).unpack(value.pack().ljust(3112, b"\0")) == value


@pytest.mark.parametrize(("old", "offsets"), [
    (False, {"total": 12, "steps": 20, "image": 32, "handler": 288, "origin": 352, "info": 360}),
    (True, {"total": 16, "steps": 24, "image": 36, "handler": 292, "origin": 356, "info": 364}),
])  # fmt: skip
def test_progress(old: bool, offsets: dict[str, int]) -> None:
    progress = m.Progress(8, 50, 1 << 33, 3, 2, 70, "rootfs", "raw", 1, "{}")
    data = progress.pack(old=old)
    assert len(data) == (2416 if old else 2408)
    assert data[:12] == number(0 if old else 0x20000) + number(8) + number(50)
    at_total, at_steps = offsets["total"], offsets["steps"]
    assert data[at_total : at_total + 8] == number(1 << 33, 8)
    assert data[at_steps : at_steps + 12] == number(3) + number(2) + number(70)
    assert data[offsets["image"] :].startswith(b"rootfs\0")
    assert data[offsets["handler"] :].startswith(b"raw\0")
    assert data[offsets["origin"] : offsets["origin"] + 8] == number(1) + number(2)
    assert data[offsets["info"] : offsets["info"] + 2048] == text("{}", 2048)
    assert m.unpack_progress(data) == progress


def test_texts_are_cut_between_characters_and_always_end() -> None:
    body = m.text_body("a" * 126 + "é")
    assert body == text("a" * 126, 128)
    assert m.Revisions.unpack(m.Revisions("x" * 300, "a\0b").pack()) == m.Revisions("x" * 255, "a")


@pytest.mark.parametrize(("raw", "state"), [
    (ord("0"), "0"), (ord("7"), "7"), (ord("8"), None), (7, None), (ord("1") | 1 << 8, None),
])  # fmt: skip
def test_states(raw: int, state: str | None) -> None:
    assert m.unpack_state(number(raw).ljust(3112, b"\0")) == state


def test_ours() -> None:
    assert m.unpack_ours(m.pack_ours(b"{}").ljust(3112, b"\0")) == b"{}"
    assert m.unpack_ours(number(m.OURS_BYTES_MAX + 1).ljust(3112, b"\0")) is None
    with pytest.raises(ValueError, match="more than"):
        m.pack_ours(bytes(m.OURS_BYTES_MAX + 1))
