"""An archive, read as a file and as a stream: the same members or a refusal by both, nothing outside of the archive."""

import os

from swagent.errors import SwagentError
from swagent.stream import Archive, read_all
from swagent.stream.source import FileSource, StreamSource
from tests.faults.images import CRC, NEWC, Member, archive

_PIPE_BYTES = 60_000
"""What a pipe takes without a reader."""


def one_input(data: bytes) -> None:
    """The whole is an archive."""
    data = data[:_PIPE_BYTES]
    assert _from_file(data) == _from_stream(data)


def _from_file(data: bytes) -> list[tuple[str, bytes]] | None:
    fd = os.memfd_create("fuzz")
    try:
        os.pwrite(fd, data, 0)
        source = FileSource(fd, "fuzz")
        found = _contents(Archive(source))
        # a file's headers are judged before any member is given out
        for member in Archive(FileSource(fd, "fuzz")).index() if found is not None else ():
            assert 0 <= member.offset <= member.offset + member.size_bytes <= len(data)
        return found
    finally:
        os.close(fd)


def _from_stream(data: bytes) -> list[tuple[str, bytes]] | None:
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        return _contents(Archive(StreamSource(reading, "fuzz")))
    finally:
        os.close(reading)


def _contents(reader: Archive) -> list[tuple[str, bytes]] | None:
    found = []
    try:
        for member in reader.members():
            assert member.name not in ("", ".", "..") and "/" not in member.name and "\0" not in member.name
            content = read_all(reader.open(member, verify_sum=True), 1 << 20, what=member.name)
            assert len(content) == member.size_bytes
            found.append((member.name, content))
    except SwagentError:
        return None
    return found


def seeds() -> list[bytes]:
    """Both formats, no member, odd ones, a wrong sum, a cut."""
    members = [
        Member("sw-description", b"software = {};\n"),
        Member("rootfs.img", bytes(range(200))),
        Member("e", b""),
    ]
    crc = archive(members, CRC)
    return [
        crc,
        archive(members, NEWC),
        archive([], NEWC),
        archive([Member("../x", b"1")], CRC),
        archive([Member("n" * 254, b"1")], CRC),
        archive([Member("big", b"1", size=0xFFFFFFFF)], NEWC),
        crc.replace(b"software", b"hardware"),
        crc[:300],
        crc + b"x",
    ]
