"""Images with chunk tables, made by ``swagent make`` and signed here."""

from pathlib import Path
from tempfile import TemporaryDirectory

from swagent.crypto.cipher import AesKey
from swagent.stream import Archive, read_all
from swagent.swu.make import make
from tests.stream.sources import file_source

from .images import AES_IV, AES_KEY, CRC, Image, Member, signed

WAYS = {
    "plain": "",
    "zlib": 'compressed = "zlib";',
    "zstd": 'compressed = "zstd";',
    "xz": 'compressed = "xz";',
    "aes": "encrypted = true;",
    "aes and zlib": 'compressed = "zlib"; encrypted = true;',
    "aes and zstd": 'compressed = "zstd"; encrypted = true;',
}


def chunked_image(
    root: str, plain: bytes, *, way: str = "plain", more: str = "", version: str = "2.0"
) -> Image:
    """An image for the second copy, which the boot environment then names.

    Args:
        root: of the device.
        plain: what the copy is to hold.
        way: how it is stored.
        more: further attributes of the entry.
        version: of the release.
    """
    text = (
        f'software = {{ version = "{version}"; hardware-compatibility = [ "1.0" ]; images = ( {{ '
        f'filename = "rootfs.img"; type = "raw"; device = "{root}/slot-b.img"; installed-directly = true; '
        f'properties = {{ chunk-table = "rootfs.img.chunks"; }}; {WAYS[way]} {more} }} ); '
        'bootenv = ( { name = "slot"; value = "b"; } ); };'
    )
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "sw-description").write_text(text)
        (path / "rootfs.img").write_bytes(plain)
        make(
            str(path / "sw-description"),
            output=str(path / "made.swu"),
            encryption=AesKey(AES_KEY, AES_IV),
        )
        with file_source((path / "made.swu").read_bytes()) as source:
            archive = Archive(source)
            found = [
                Member(m.name, read_all(archive.open(m, verify_sum=True), 1 << 30, what=m.name))
                for m in archive.members()
            ]
    members = signed(found[0].data, *found[1:])
    return Image(
        "chunked", CRC, members, frozenset({"rootfs.img"}), holds={"slot-b.img": plain}, env={"slot": "b"}
    )
