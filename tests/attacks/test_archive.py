"""Rows 4 and 26: the archive of metadata that a Primary hands on."""

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from swagent.errors import EndlessDataError
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane.rules import STANDARD
from swagent.uptane_client.bundle import ENTRIES_MAX, pack, unpack
from tests.uptane_client.world import TCU, World

from .scenes import honest_again, kept, refuses

CAPS = STANDARD.caps


def archive(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, raw in entries:
            made.writestr(name, raw, compress_type=method)
    return out.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


TARGETS_NAME = "director/metadata/targets.json"
ESCAPES = [
    "../evil.json",
    "director/metadata/../../../evil.json",
    "director/metadata/../targets.json",
    "/etc/evil.json",
    "/director/metadata/targets.json",
    "director\\metadata\\..\\evil.json",
    "C:/director/metadata/targets.json",
    "director//metadata/targets.json",
    "director/./metadata/targets.json",
    "./director/metadata/targets.json",
    "director/metadata/deep/targets.json",
    "director/targets.json",
    "other/metadata/targets.json",
    "director/metadata/targets.exe",
    "director/metadata/tar\x01gets.json",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_elsewhere(name: str) -> None:
    with pytest.raises(InvalidMetadata):
        unpack(archive((name, b"{}")), "json", CAPS)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices(kind: int) -> None:
    with pytest.raises(InvalidMetadata, match="link or a device"):
        unpack(archive((special(TARGETS_NAME, kind), b"/etc/passwd")), "json", CAPS)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice() -> None:
    with pytest.raises(InvalidMetadata, match="twice"):
        unpack(archive((TARGETS_NAME, b"{}"), (TARGETS_NAME, b"{}")), "json", CAPS)


def test_two_names_of_one_file() -> None:
    with pytest.raises(InvalidMetadata):
        unpack(archive((TARGETS_NAME, b"{}"), ("director/metadata/./targets.json", b"{}")), "json", CAPS)


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "supplier", "7.root"])
def test_a_bomb(role: str) -> None:
    most = getattr(CAPS, role.rpartition(".")[2], CAPS.targets)
    good = unpack(archive((f"director/metadata/{role}.json", bytes(most))), "json", CAPS)
    assert len(good["director"][f"{role}.json"]) == most
    with pytest.raises(EndlessDataError):
        unpack(archive((f"director/metadata/{role}.json", bytes(most + 1))), "json", CAPS)


def test_a_bomb_that_lies_about_its_size() -> None:
    raw = bytearray(archive((TARGETS_NAME, bytes(CAPS.targets * 4))))
    size = (CAPS.targets * 4).to_bytes(4, "little")
    assert raw.count(size) == 2
    with pytest.raises((InvalidMetadata, EndlessDataError)):
        unpack(bytes(raw.replace(size, (10).to_bytes(4, "little"))), "json", CAPS)


def test_too_many_entries() -> None:
    entries = tuple((f"director/metadata/r{number}.json", b"{}") for number in range(ENTRIES_MAX + 1))
    with pytest.raises(EndlessDataError):
        unpack(archive(*entries), "json", CAPS)
    assert len(unpack(archive(*entries[:-1]), "json", CAPS)["director"]) == ENTRIES_MAX


def test_an_archive_that_is_too_long() -> None:
    with pytest.raises(EndlessDataError):
        unpack(bytes(32 * 1024 * 1024 + 1), "json", CAPS)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression(method: int) -> None:
    with pytest.raises(InvalidMetadata):
        unpack(archive((TARGETS_NAME, b"{}" * 99), method=method), "json", CAPS)


def encrypted(raw: bytearray) -> None:
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1


def other_crc(raw: bytearray) -> None:
    raw[raw.index(b"PK\x01\x02") + 16] ^= 1


def damaged(raw: bytearray) -> None:
    raw[30 + len(TARGETS_NAME) + 2] ^= 0x55


def cut(raw: bytearray) -> None:
    del raw[len(raw) // 2 :]


def beyond_the_end(raw: bytearray) -> None:
    at = raw.index(b"PK\x01\x02") + 42
    raw[at : at + 4] = (10**6).to_bytes(4, "little")


@pytest.mark.parametrize("damage", [encrypted, other_crc, damaged, cut, beyond_the_end])
def test_damage(damage: Callable[[bytearray], None]) -> None:
    raw = bytearray(archive((TARGETS_NAME, bytes(range(256)) * 9)))
    damage(raw)
    with pytest.raises(InvalidMetadata):
        unpack(bytes(raw), "json", CAPS)


def test_what_is_passed_over() -> None:
    found = unpack(
        archive(
            ("__MACOSX/director/metadata/._targets.json", b"x"),
            ("director/metadata/.DS_Store", b"x"),
            (TARGETS_NAME, b"{}"),
        ),
        "json",
        CAPS,
    )
    assert found == {"director": {"targets.json": b"{}"}, "image": {}}


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "db" not in path.parts}


@pytest.mark.parametrize(
    "make",
    [
        lambda world: archive(("../../evil." + world.codec.extension, b"evil")),
        lambda world: archive(
            (special(f"director/metadata/x.{world.codec.extension}", stat.S_IFLNK), b"/etc")
        ),
        lambda world: archive((f"director/metadata/targets.{world.codec.extension}", bytes(20_000_000))),
        lambda world: pack({"director": {f"targets.{world.codec.extension}": b"rubbish"}})[:-9],
    ],
    ids=["escape", "link", "bomb", "cut"],
)
def test_at_a_secondary(world: World, make: Callable[[World], bytes]) -> None:
    world.order(TCU)
    world.primary().cycle()
    there = everything(world.folder)
    world.link.lies["metadata"] = make(world)
    with kept(world):
        refuses(world.secondary().cycle, InvalidMetadata, EndlessDataError)
    assert everything(world.folder) == there, "nothing is written anywhere"
    honest_again(world)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("repository", ["director", "image"])
def test_a_file_over_its_cap(world: World, repository: str, role: str) -> None:
    """Row 4, at both ECUs."""
    if world.dialect == "ak" and repository == "director" and role != "targets":
        pytest.skip("this Director has no such role")
    world.order(TCU)
    sim = getattr(world, repository)
    sim.files[role] = b"{" * (getattr(world.rules.caps, role) + 1)
    with kept(world, repository):
        refuses(world.primary().cycle, EndlessDataError)
    with kept(world, repository):
        refuses(world.secondary().cycle, EndlessDataError)
    honest_again(world)
