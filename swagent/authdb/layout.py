"""The structures of ``UniAuth.db`` as C compilers lay them out, and nothing else (authorization db §2).

The format is a C struct with ``size_t`` and ``off_t`` in it, so there are two of it: LP64 and ILP32, little-endian,
with natural alignment. ``header_size`` tells them apart: 64 or 44.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from swagent.errors import MetadataError

MAGIC = b"UNI\0"
MAJOR, MINOR = 1, 1
CRC_POLYNOMIAL = 0xA001
NAME_BYTES = 16
SECTIONS_MAX = 1024
RECORD_BYTES_MAX = 4096
"""How long a stored record may be; serial numbers have tens of bytes, RSA signatures at most two thousand."""
SIGNATURE = "signature"
"""Name of the section that is no list."""

_ALLOW = 1
_KIND_SHIFT = 1
_FLAGS_MAX = 0b111


class Matching(IntEnum):
    """How a record is compared; the numbers are those of bits 1 and 2 of ``flags``."""

    RAW = 0
    GLOB = 1
    REGULAR = 2


class Abi(NamedTuple):
    """One layout.

    Attributes:
        header: ``security_header``.
        section: ``section_header``.
        crc_offset: where ``content_crc`` is in the header.
        offset_max: the largest ``off_t``.
        size_max: the largest ``size_t``.
    """

    name: str
    header: Struct
    section: Struct
    crc_offset: int
    offset_max: int
    size_max: int


LP64 = Abi("lp64", Struct("<4s16shhQqQQHH4x"), Struct("<16s16sI4xQQq"), 58, (1 << 63) - 1, (1 << 64) - 1)
ILP32 = Abi("ilp32", Struct("<4s16shhIiIIHH"), Struct("<16s16sIIIi"), 42, (1 << 31) - 1, (1 << 32) - 1)
ABIS = {abi.name: abi for abi in (LP64, ILP32)}
_HEADER_SIZE_OFFSET = 24  # in both


class Header(NamedTuple):
    """``security_header``, without what every file has."""

    project: str
    major: int
    minor: int
    section_entry: int
    sections: int
    content_crc: int


class Section(NamedTuple):
    """``section_header``: one list, or the signature.

    Attributes:
        alg: name of the record cipher, or of the signature's algorithm.
        allow: an allow list, else a deny list.
        entity_size: bytes of one stored record.
        entry: file offset of the first one.
    """

    name: str
    alg: str
    allow: bool
    matching: Matching
    entities: int
    entity_size: int
    entry: int

    @property
    def size_bytes(self) -> int:
        """Bytes of all stored records."""
        return self.entities * self.entity_size

    @property
    def flags(self) -> int:
        """As in the file."""
        return (_ALLOW if self.allow else 0) | self.matching << _KIND_SHIFT

    @property
    def effect(self) -> str:
        """``allow`` or ``deny``."""
        return "allow" if self.allow else "deny"

    def __str__(self) -> str:
        return f"the {self.effect} list {self.name}"


def abi_of(head: bytes) -> Abi:
    """The layout of a file by its first bytes, at most ``LP64.header.size`` of them.

    Raises:
        MetadataError: it is no such file, or of an unknown layout, or cut short.
    """
    if head[: len(MAGIC)] != MAGIC:
        raise MetadataError("it does not begin with UNI and a NUL", hint="is this a UniAuth.db?")
    size = int.from_bytes(head[_HEADER_SIZE_OFFSET : _HEADER_SIZE_OFFSET + 4], "little")
    for abi in ABIS.values():
        if size == abi.header.size:
            if len(head) < size:
                raise MetadataError(f"it has {len(head)} bytes, its header {size}")
            return abi
    raise MetadataError(f"header_size is {size}, neither {LP64.header.size} nor {ILP32.header.size}")


def read_header(abi: Abi, head: bytes) -> Header:
    """The header of a file.

    Raises:
        MetadataError: a field has a value that it cannot have.
    """
    _, project, major, minor, header_size, entry, sections, section_size, polynomial, crc = (
        abi.header.unpack_from(head)
    )
    for field, value, right in (
        ("major_ver", major, MAJOR),
        ("header_size", header_size, abi.header.size),
        ("section_size", section_size, abi.section.size),
        ("crc_polynomial", polynomial, CRC_POLYNOMIAL),
    ):
        if value != right:
            raise MetadataError(f"{field} is {value}, not {right}")
    return Header(_text(project, "project", empty=True), major, minor, entry, sections, crc)


def read_section(abi: Abi, table: bytes, number: int) -> Section:
    """One section header of the table.

    Raises:
        MetadataError: a field has a value that it cannot have.
    """
    name, alg, flags, entities, entity_size, entry = abi.section.unpack_from(table, number * abi.section.size)
    where = f"section {number}: "
    if flags > _FLAGS_MAX or flags >> _KIND_SHIFT not in Matching._value2member_map_:
        raise MetadataError(f"{where}flags 0x{flags:x} mean nothing")
    return Section(
        _text(name, f"{where}name"),
        _text(alg, f"{where}alg"),
        bool(flags & _ALLOW),
        Matching(flags >> _KIND_SHIFT),
        entities,
        entity_size,
        entry,
    )


def pack_header(abi: Abi, header: Header) -> bytes:
    """The header's bytes."""
    return abi.header.pack(
        MAGIC,
        header.project.encode(),
        header.major,
        header.minor,
        abi.header.size,
        header.section_entry,
        header.sections,
        abi.section.size,
        CRC_POLYNOMIAL,
        header.content_crc,
    )


def pack_section(abi: Abi, section: Section) -> bytes:
    """The section header's bytes.

    Raises:
        MetadataError: a number is too large for this layout.
    """
    end = section.entry + section.size_bytes
    if end > abi.offset_max or max(section.entities, section.entity_size) > abi.size_max:
        raise MetadataError(
            f"{section} ends at byte {end}, more than {abi.name} can say", hint="write it as lp64"
        )
    return abi.section.pack(
        section.name.encode(),
        section.alg.encode(),
        section.flags,
        section.entities,
        section.entity_size,
        section.entry,
    )


def check_name(text: str, what: str) -> str:
    """A name that fits into 16 bytes.

    Raises:
        MetadataError: it does not, or is empty, or has characters that do not belong into a name.
    """
    if not text or not text.isprintable() or len(text.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        raise MetadataError(f"{what} {text[:40]!r} must have 1 to {NAME_BYTES} bytes of plain text")
    return text


def _text(field: bytes, what: str, *, empty: bool = False) -> str:
    """A field up to its first NUL; what a C compiler left behind that means nothing."""
    raw = field.partition(b"\0")[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise MetadataError(f"{what} is no UTF-8") from exc
    return text if empty and not text else check_name(text, what)
