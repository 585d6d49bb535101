"""Chunk tables and parts, as ``swagent make`` makes them and ``verify`` and ``extract`` see them."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import DescriptionError, HashError
from swagent.swu.extract import extract
from swagent.swu.make import make
from swagent.swu.opened import OpenedImage
from swagent.swu.verify import verify
from swagent.swu.writer import ArchiveWriter
from tests.faults.images import half_noise

from .test_make import AES


def write(bench: Path, entry: str) -> None:
    text = 'software = { version = "1"; images: ( { ' + entry + " } ); };"
    (bench / "sw-description").write_text(text)


LARGE = half_noise((2 << 20) + 4321, 9)


def made_in_chunks(bench: Path, attributes: str = "", **more: Any) -> OpenedImage:
    (bench / "large.bin").write_bytes(LARGE)
    write(
        bench,
        f'filename = "large.bin"; type = "raw"; device = "/dev/x"; installed-directly = true; {attributes}',
    )
    make(str(bench / "sw-description"), output=str(bench / "o.swu"), encryption=AES, **more)
    return OpenedImage(str(bench / "o.swu"), AES)


@pytest.mark.parametrize(
    "attributes",
    ["", 'compressed = "zlib";', 'compressed = "zstd";', 'compressed = "zstd"; encrypted = true;'],
)
def test_chunk_tables_are_the_same_every_time(bench: Path, attributes: str) -> None:
    with made_in_chunks(bench, attributes, chunk_tables=True) as image:
        assert [member.name for member in image.members] == [
            "sw-description",
            "large.bin.chunks",
            "large.bin",
        ]
    first = (bench / "o.swu").read_bytes()
    made_in_chunks(bench, attributes, chunk_tables=True).__exit__(None, None, None)
    assert (bench / "o.swu").read_bytes() == first
    names = [
        judged.content.member.name for judged in verify(str(bench / "o.swu"), trust=None, aes_key=AES).members
    ]
    assert names == ["large.bin.chunks", "large.bin"]
    found = extract(str(bench / "o.swu"), str(bench / "out"), plain=True, aes_key=AES)
    assert [one.content.member.name for one in found] == ["sw-description", "large.bin.chunks", "large.bin"]
    assert (bench / "out" / "large.bin").read_bytes() == LARGE


def test_only_what_is_streamed_and_large_gets_a_table(bench: Path) -> None:
    write(bench, 'filename = "a.bin"; device = "/dev/x"; installed-directly = true;')
    assert (
        make(str(bench / "sw-description"), output=str(bench / "o.swu"), chunk_tables=True).members[0].table
        == b""
    )
    write(bench, 'filename = "a.bin"; device = "/dev/x"; properties = { chunk-table = "mine"; };')
    assert make(str(bench / "sw-description"), output=str(bench / "o.swu")).members[0].table_name == "mine"


@pytest.mark.parametrize("which", ["stored", "plain"])
def test_a_table_that_lies_is_found(bench: Path, which: str) -> None:
    with made_in_chunks(bench, 'compressed = "zlib";', chunk_tables=True) as image:
        _, table, data = image.members
        raw = (bench / "o.swu").read_bytes()
        lying = bytearray(raw[table.offset : table.offset + table.size_bytes])
        lying[32 + 68 + 4 + (32 if which == "plain" else 0)] ^= 1
        text = image.description().replace(
            sha256(raw[table.offset : table.offset + table.size_bytes]).hexdigest().encode(),
            sha256(lying).hexdigest().encode(),
        )
        stored = raw[data.offset : data.offset + data.size_bytes]
    with (bench / "lying.swu").open("wb") as file:
        writer = ArchiveWriter(file)
        for name, content in (("sw-description", text), (table.name, bytes(lying)), (data.name, stored)):
            writer.add_bytes(name, content)
        writer.finish()
    with pytest.raises(HashError, match="chunk 1"):
        verify(str(bench / "lying.swu"), trust=None)


def test_what_is_too_long_is_split(bench: Path) -> None:
    with made_in_chunks(bench, part_bytes=1 << 20) as image:
        names = [member.name for member in image.members]
    assert names == ["sw-description", "large.bin.chunks", "large.bin.000", "large.bin.001", "large.bin.002"]
    verify(str(bench / "o.swu"), trust=None)
    extract(str(bench / "o.swu"), str(bench / "out"), plain=True)
    assert b"".join((bench / "out" / name).read_bytes() for name in names[2:]) == LARGE
    write(bench, 'filename = "large.bin"; device = "/dev/x";')
    with pytest.raises(DescriptionError, match="no type"):
        make(str(bench / "sw-description"), output=str(bench / "o.swu"), part_bytes=1 << 20)
    write(
        bench,
        'filename = "a.bin"; type = "joined"; properties = { parts = "a.bin"; parts-sha256 = "%s"; };'
        % ("0" * 64),
    )
    with pytest.raises(DescriptionError, match="split here"):
        make(str(bench / "sw-description"), output=str(bench / "o.swu"))
