"""Block maps: which blocks of an image hold data, with their checksums (bmap-tools, versions 1.3 to 2.0)."""

import hashlib
import hmac
import os
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

from swagent.errors import ArchiveError, FormatError, HashError
from swagent.model import Compression
from swagent.stream.decompress import Decompressor

FILE_BYTES_MAX = 64 * 1024 * 1024
PIECE_BYTES = 1 << 20
_BLOCK_BYTES_MAX = 1 << 24
_BLOCKS_MAX = 1 << 40
_RANGE = re.compile(r"\s*([0-9]{1,13})\s*(?:-\s*([0-9]{1,13})\s*)?\Z")
_SUMS = {"sha1": 40, "sha256": 64}
_OLD_SUM = "sha1"
_MAGICS = (
    (b"\x1f\x8b", Compression.ZLIB),
    (b"\xfd7zXZ\0", Compression.XZ),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
)


class Range(NamedTuple):
    """Bytes that hold data; ``digest`` is of them, "" when nobody says."""

    start: int
    end: int
    digest: str = ""


class BlockMap(NamedTuple):
    """What a block map says.

    Attributes:
        image_bytes: the size of the whole image.
        ranges: in order, apart from each other.
        algorithm: of the digests.
    """

    image_bytes: int
    ranges: tuple[Range, ...]
    algorithm: str = "sha256"

    @property
    def mapped_bytes(self) -> int:
        """How many bytes are written."""
        return sum(one.end - one.start for one in self.ranges)


def find_map(image: str) -> str | None:
    """The block map of an image: beside it, ``image.img.gz.bmap``, ``image.img.bmap`` or ``image.bmap``."""
    name = image
    while True:
        if os.path.exists(f"{name}.bmap"):
            return f"{name}.bmap"
        name, extension = os.path.splitext(name)
        if not extension:
            return None


def read_map(data: bytes) -> BlockMap:
    """Read a block map.

    Raises:
        FormatError: it is none.
        HashError: it is damaged: its own checksum is not right.
    """
    if len(data) > FILE_BYTES_MAX:
        raise FormatError(f"the block map has more than {FILE_BYTES_MAX} bytes")
    if re.search(rb"<!(?!--)", data):  # no document type, and so no entities
        raise FormatError("this is no block map: it declares things")
    try:
        top = fromstring(data)  # noqa: S314 - it has no entities
    except (ParseError, ValueError, LookupError) as exc:
        raise FormatError(f"this is no block map: {exc}") from exc
    major = (top.get("version") or "").partition(".")[0]
    if top.tag != "bmap" or major not in ("1", "2"):
        raise FormatError("this is no block map of version 1 or 2")
    algorithm = (_text(top, "ChecksumType") or _OLD_SUM).lower() if major == "2" else _OLD_SUM
    if algorithm not in _SUMS:
        raise FormatError(
            f"the block map has checksums of kind {algorithm[:20]!r}", hint="known are sha1 and sha256"
        )
    _check(data, _text(top, "BmapFileChecksum") or _text(top, "BmapFileSHA1"), algorithm)
    block_bytes = _number(top, "BlockSize", 1, _BLOCK_BYTES_MAX)
    image_bytes = _number(top, "ImageSize", 0, _BLOCKS_MAX * block_bytes)
    found = top.find("BlockMap")
    if found is None:
        raise FormatError("the block map has no BlockMap")
    ranges: list[Range] = []
    for one in found.iter("Range"):
        ranges.append(_range(one, block_bytes, image_bytes, ranges[-1].end if ranges else 0, algorithm))
    return BlockMap(image_bytes, tuple(ranges), algorithm)


def mapped(file: BinaryIO, found: BlockMap, name: str) -> Iterator[tuple[int, bytes]]:
    """The pieces of an image that hold data, and where each goes; a compressed image is decompressed.

    Args:
        file: the image, from its beginning; gzip, xz and zstd are known by their first bytes.
        found: its block map.
        name: of the image, for messages.

    Raises:
        ArchiveError: it is shorter than its map says, or its compression is damaged.
        HashError: a range has not the digest that the map says; it has been given out then.
        RegistrationError: the library that decompresses it is not installed.
    """
    plain = _Plain(file, name)
    at = 0
    for one in found.ranges:
        plain.skip(one.start - at)
        digest = hashlib.new(found.algorithm)
        for start in range(one.start, one.end, PIECE_BYTES):
            piece = plain.take(min(PIECE_BYTES, one.end - start))
            digest.update(piece)
            yield start, piece
        at = one.end
        if one.digest and not hmac.compare_digest(digest.hexdigest(), one.digest):
            raise HashError(
                f"{name}: bytes {one.start} to {one.end} are not those of the block map",
                hint="what was written is not to be used; get both files again",
            )


class _Plain:
    """An image as it would be uncompressed, read in order."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        first = file.read(6)
        kind = next((kind for magic, kind in _MAGICS if first.startswith(magic)), None)
        self._blocks = self._raw(file, first) if kind is None else self._unpacked(file, first, kind)
        self._have = bytearray()

    def skip(self, n_bytes: int) -> None:
        """Pass over bytes."""
        while n_bytes:
            self._fill(1)
            done = min(n_bytes, len(self._have))
            del self._have[:done]
            n_bytes -= done

    def take(self, n_bytes: int) -> bytes:
        """Exactly so many."""
        self._fill(n_bytes)
        found = bytes(self._have[:n_bytes])
        del self._have[:n_bytes]
        return found

    def _fill(self, n_bytes: int) -> None:
        while len(self._have) < n_bytes:
            block = next(self._blocks, None)
            if block is None:
                raise ArchiveError(f"{self._name} is shorter than its block map says", artifact=self._name)
            self._have += block

    def _raw(self, file: BinaryIO, first: bytes) -> Iterator[bytes]:
        yield first
        while block := file.read(PIECE_BYTES):
            yield block

    def _unpacked(self, file: BinaryIO, first: bytes, kind: Compression) -> Iterator[bytes]:
        engine = Decompressor(kind, self._name)
        yield from engine.push(memoryview(first))
        while block := file.read(PIECE_BYTES):
            yield from engine.push(memoryview(block))
        engine.finish()


def _check(data: bytes, told: str, algorithm: str) -> None:
    """The map's own checksum is made with zeroes in its place."""
    if not told:
        raise FormatError("the block map has no checksum of its own")
    if len(told) != _SUMS[algorithm] or data.count(told.encode()) != 1:
        raise FormatError("the block map's own checksum has a wrong length, or stands there twice")
    made = hashlib.new(algorithm, data.replace(told.encode(), b"0" * len(told))).hexdigest()
    if not hmac.compare_digest(made, told.lower()):
        raise HashError("the block map is damaged: its own checksum is not right")


def _range(one: Element, block_bytes: int, image_bytes: int, after: int, algorithm: str) -> Range:
    text = one.text or ""
    found = _RANGE.match(text)
    if found is None:
        raise FormatError(f"{text[:40]!r} is no range of blocks")
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    start, end = first * block_bytes, min((last + 1) * block_bytes, image_bytes)
    if (
        last < first
        or start < after
        or start >= image_bytes
        or (last + 1) * block_bytes - image_bytes >= block_bytes
    ):
        raise FormatError(f"the range {text.strip()[:40]} is beyond the image, or not behind the one before")
    digest = (one.get("chksum") or one.get("sha1") or "").lower()
    if digest and not re.fullmatch(f"[0-9a-f]{{{_SUMS[algorithm]}}}", digest):
        raise FormatError(f"the range {text.strip()[:40]} has a checksum that is none")
    return Range(start, end, digest)


def _text(top: Element, name: str) -> str:
    return (top.findtext(name) or "").strip()


def _number(top: Element, name: str, least: int, most: int) -> int:
    text = _text(top, name)
    if not re.fullmatch(r"[0-9]{1,20}", text) or not least <= int(text) <= most:
        raise FormatError(f"{name} of the block map is {text[:40]!r}")
    return int(text)
