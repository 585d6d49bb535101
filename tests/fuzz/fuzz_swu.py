"""An image of any bytes, looked into on a host: judged, or one of our errors."""

import io
import os
import tempfile
from contextlib import suppress

from swagent.crypto.cipher import AesKey
from swagent.errors import SwagentError
from swagent.swu.extract import contents_of
from swagent.swu.verify import verify
from swagent.swu.writer import ArchiveWriter, Format

KEY = AesKey(bytes(32), bytes(16))
TEXT = b"""software = { version = "1"; images: (
  { filename = "a"; device = "/dev/a"; size = 5;
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"; },
  { filename = "b"; device = "/dev/b"; compressed = "zlib"; encrypted = true; ivt = "000102030405060708090a0b0c0d0e0f";
    properties: { decompressed-size = "4K"; }; } ); };"""


def one_input(data: bytes) -> None:
    """Judge ``data`` as an image; it is a file here, as on a build host."""
    with tempfile.NamedTemporaryFile(prefix="swagent-fuzz-") as file:
        os.write(file.fileno(), data)
        with suppress(SwagentError):
            contents_of(file.name, aes_key=KEY)
        with suppress(SwagentError):
            verify(file.name, trust=None, aes_key=KEY)


def seeds() -> list[bytes]:
    """Images in both formats, with a description in clear and one that looks encrypted."""
    members = {"a": b"hello", "b": bytes(32)}
    return [_image("crc", TEXT, members), _image("newc", TEXT, members), _image("crc", bytes(range(96)), {})]


def _image(kind: Format, description: bytes, members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, kind)
    writer.add_bytes("sw-description", description)
    for name, data in members.items():
        writer.add_bytes(name, data)
    writer.finish()
    return file.getvalue()
