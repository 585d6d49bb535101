"""Chunk tables in an install: what is wrong with them is refused before it is written."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.faults.chunked import chunked_image
from tests.faults.device import OLD_ENV, Device
from tests.faults.images import Image, Member, archive, half_noise, signed

CHUNK = 1 << 20
PLAIN = half_noise(2 * CHUNK + 5000, 3)
OLD = b"old second copy\n" * 100


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "unit")


def changed(image: Image, change: Callable[[bytes], bytes], *, table: bytes | None = None) -> bytes:
    """The image with another description, signed again, and perhaps another table."""
    members = [
        replace(member, data=table) if table is not None and member.name.endswith(".chunks") else member
        for member in image.members[2:]
    ]
    return archive(signed(change(image.members[0].data), *members), image.magic)


def table_of(image: Image) -> bytes:
    return next(member.data for member in image.members if member.name.endswith(".chunks"))


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("way", ["plain", "zstd"])
def test_installs(device: Device, way: str, pipe: bool) -> None:
    image = chunked_image(str(device.root), PLAIN, way=way)
    outcome = device.install(image.raw, image, pipe=pipe)
    assert outcome.code == 0, outcome
    assert (device.root / "slot-b.img").read_bytes() == PLAIN
    assert device.env()["slot"] == "b"
    assert device.install(image.raw, image, pipe=pipe, more=("-n",)).code == 0


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("tampered", 21),
        ("no digest", 11),
        ("no name", 11),
        ("no hex", 11),
        ("missing", 10),
        ("of something else", 23),
        ("malformed", 10),
        ("behind", 10),
    ],
)
def test_a_table_that_is_wrong(device: Device, fault: str, code: int, pipe: bool) -> None:
    image = chunked_image(str(device.root), PLAIN)
    table = table_of(image)
    digest = sha256(table).hexdigest().encode()
    other = table_of(chunked_image(str(device.root), PLAIN + b"more"))

    def with_table(new: bytes) -> bytes:
        wanted = sha256(new).hexdigest().encode()
        return changed(image, lambda text: text.replace(digest, wanted), table=new)

    raw = {
        "tampered": lambda: image.with_members(
            lambda members: [
                replace(m, data=m.data[:-1] + b"?") if m.name.endswith(".chunks") else m for m in members
            ]
        ),
        "no digest": lambda: changed(image, lambda text: text.replace(b"chunk-table-sha256", b"other")),
        "no name": lambda: changed(image, lambda text: text.replace(b"chunk-table =", b"other =")),
        "no hex": lambda: changed(image, lambda text: text.replace(digest, b"x" * 64)),
        "missing": lambda: image.with_members(
            lambda members: [m for m in members if not m.name.endswith(".chunks")]
        ),
        "of something else": lambda: with_table(other),
        "malformed": lambda: with_table(table + b"?"),
        "behind": lambda: image.with_members(lambda members: [*members[:2], members[3], members[2]]),
    }[fault]()
    outcome = device.install(raw, image, pipe=pipe)
    if fault == "behind" and not pipe:
        assert outcome.code == 0, outcome  # a file can be read anywhere
        return
    assert outcome.code == code, outcome
    assert (device.root / "slot-b.img").read_bytes() == OLD
    assert device.env() == OLD_ENV


@pytest.mark.parametrize("pipe", [False, True])
def test_a_wrong_chunk_is_not_written(device: Device, pipe: bool) -> None:
    image = chunked_image(str(device.root), PLAIN)
    at = CHUNK + 77

    def damage(member: Member) -> Member:
        if member.name != "rootfs.img":
            return member
        return replace(member, data=member.data[:at] + bytes([member.data[at] ^ 1]) + member.data[at + 1 :])

    raw = image.with_members(lambda members: [damage(member) for member in members])
    outcome = device.install(raw, image, pipe=pipe)
    assert outcome.code == 21, outcome
    assert "chunk 1 of 3" in " ".join((outcome.stdout + outcome.stderr).split())
    assert (device.root / "slot-b.img").read_bytes() in (OLD, PLAIN[: len(OLD)])  # it had grown
    assert device.env()["slot"] == OLD_ENV["slot"]
