"""What is in an image, member by member: how each is stored, and its bytes, judged as they are read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swagent.crypto.digest import sha256
from swagent.errors import DecryptError, DescriptionError, HashError, SizeError
from swagent.handlers.options import plain_size_property
from swagent.model import Compression, Reader
from swagent.sizes import parse_size
from swagent.stream import ArtifactData, Codec, Member, read_all
from swagent.stream.chunks import TABLE_BYTES_MAX, ChunkReader, ChunkTable
from swagent.stream.parts import OpenPart, PartsReader
from swagent.stream.pipeline import Decoder, fill

from .entries import Entry
from .opened import DESCRIPTION, SIGNATURE, OpenedImage

if TYPE_CHECKING:
    from swagent.crypto.uri import BlockKey


@dataclass(frozen=True)
class Content:
    """A member and what the description says of it.

    Attributes:
        member: in the archive.
        compression: of what is inside.
        cipher: "" for plain.
        sha256: of the member as stored; None when the description has none.
        used: whether any entry names it; sw-description and its signature count as used.
        table_name: member that is its chunk table, "" for none.
    """

    member: Member
    compression: Compression
    cipher: str
    sha256: bytes | None
    used: bool
    table_name: str = ""


class Contents:
    """The members of an open image.

    Args:
        image: its description must be readable.

    Raises:
        DescriptionError: the description makes no sense.
        DecryptError: it is encrypted, and there is no key.
    """

    def __init__(self, image: OpenedImage) -> None:
        self._image = image
        self._uses = image.uses()
        self._tables = {
            use.table_name: use for group in self._uses.values() for use in group if use.table_name
        }

    def all(self) -> tuple[Content, ...]:
        """In the order of the archive."""
        return tuple(self._content(member) for member in self._image.members)

    def missing(self) -> tuple[str, ...]:
        """Names that entries mention and the archive does not have."""
        present = {member.name for member in self._image.members}
        return tuple(name for name in (*self._uses, *self._tables) if name not in present)

    def check_sizes(self) -> None:
        """Compare the entries' ``size`` with what is stored.

        Raises:
            SizeError: one is wrong.
        """
        for member in self._image.members:
            for use in self._uses.get(member.name, ()):
                size = use.group.get("size")
                if isinstance(size, int) and size and size != member.size_bytes:
                    raise SizeError(
                        f"{member.name} has {member.size_bytes} bytes, sw-description promises {size}",
                        artifact=member.name,
                    )

    def open(self, content: Content, *, plain: bool) -> Reader:
        """The bytes of a member; the last read judges its digest, or its checksum where there is no digest.

        Args:
            content: which.
            plain: decrypted and decompressed; else as stored.

        Raises:
            DecryptError: it is encrypted, and there is no key.
            DescriptionError: a size in its properties is no number.
        """
        member = content.member
        stored = self._image.archive.open(member, verify_sum=content.sha256 is None)
        if not plain:
            return ArtifactData(stored, Codec(member.name, member.size_bytes, content.sha256))
        return ArtifactData(stored, self._codec(content))

    def _codec(self, content: Content) -> Codec:
        uses = self._uses.get(content.member.name, [])
        return Codec(
            name=content.member.name,
            stored_bytes=content.member.size_bytes,
            sha256=content.sha256,
            compression=content.compression,
            decryptor=self._decryptor(uses[0]) if content.cipher else None,
            plain_bytes=_plain_bytes(content, uses),
        )

    def judge_table(self, content: Content) -> None:
        """Whether a member's chunk table says the truth about its stored bytes, and, if there is a key, its plain ones.

        Raises:
            ArchiveError, SizeError: the table makes no sense or is not for this member.
            HashError: a chunk is another than the table says.
        """
        name = content.member.name
        wanted = next(member for member in self._image.members if member.name == content.table_name)
        raw = read_all(self.open(self._content(wanted), plain=False), TABLE_BYTES_MAX, what=wanted.name)
        table = ChunkTable(raw, wanted.name)
        parts = self._uses[name][0].parts
        if parts:
            self._judge_parts(table, parts)
            return
        stored = self._image.archive.open(content.member, verify_sum=False)
        if not table.chunk_bytes or not self.can_open_plain(content):
            table.judge_fit(content.member.size_bytes, None, name)
            for _ in ChunkReader(stored, table, name).blocks():
                pass
            return
        codec = self._codec(content)
        table.judge_fit(content.member.size_bytes, codec.plain_bytes, name)
        data = ArtifactData(stored, codec._replace(chunks=table, plain_bytes=table.plain_bytes))
        buffer = memoryview(bytearray(table.chunk_bytes))
        for number in range(len(table)):
            if sha256(buffer[: fill(data, buffer)]).digest() != table[number].plain_sha256:
                raise HashError(
                    f"{name}: the plain bytes of chunk {number} are not those that {wanted.name} promises",
                    artifact=name,
                    hint="build the image again",
                )
        drain(data)

    def _judge_parts(self, table: ChunkTable, names: tuple[str, ...]) -> None:
        """Whether the table of a joined entry says the truth about what is stored; what is inside is not looked at."""
        members = {member.name: member for member in self._image.members}
        parts = [members[name] for name in names]
        table.judge_fit(sum(part.size_bytes for part in parts), None, names[0])
        opened = (
            OpenPart(part.name, self._image.archive.open(part, verify_sum=False), part.size_bytes, None)
            for part in parts
        )
        for _ in ChunkReader(PartsReader(opened), table, names[0]).blocks():
            pass

    def can_open_plain(self, content: Content) -> bool:
        """Whether there is a key for it, should it need one."""
        if not content.cipher:
            return True
        use = self._uses[content.member.name][0]
        key = self._image.aes_key
        return (use.aes_key is not None or key is not None) and (use.ivt is not None or key is not None)

    def _content(self, member: Member) -> Content:
        uses = self._uses.get(member.name, [])
        packed = [use.compression for use in uses if use.compression is not Compression.NONE]
        if len(set(packed)) > 1:
            raise DescriptionError(
                f"entries disagree about how {member.name} is compressed", artifact=member.name
            )
        table_of = self._tables.get(member.name)
        if table_of is not None:
            return Content(member, Compression.NONE, "", table_of.table_sha256, used=True)
        return Content(
            member=member,
            compression=packed[0] if packed else Compression.NONE,
            cipher=uses[0].cipher if uses else "",
            sha256=uses[0].sha256 if uses else None,
            used=bool(uses) or member.name in (DESCRIPTION, SIGNATURE),
            # of parts, one stands for all
            table_name=uses[0].table_name if uses and uses[0].parts[:1] in ((), (member.name,)) else "",
        )

    def _decryptor(self, use: Entry) -> "_NewDecoder":
        default = self._image.aes_key
        key = use.aes_key or (default.key if default else None)
        iv = use.ivt or (default.iv if default else None)
        if key is None or iv is None:
            raise DecryptError(
                f"{use.filename} is encrypted, and there is no key",
                artifact=use.filename,
                hint="name the AES key file with -K",
            )
        return _NewDecoder(key, iv)


class _NewDecoder:
    """Makes a decoder when called."""

    def __init__(self, key: "bytes | BlockKey", iv: bytes) -> None:
        self._key, self._iv = key, iv

    def __call__(self, vector: bytes) -> Decoder:
        from swagent.stream.decrypt import Decryptor

        return Decryptor(self._key, vector or self._iv)


def _plain_bytes(content: Content, uses: list[Entry]) -> int | None:
    """What the entries promise, None when they do not."""
    name = plain_size_property(content.compression, content.cipher)
    if not name:
        return None
    for use in uses:
        properties = use.group.get("properties")
        text = properties.get(name) if isinstance(properties, dict) else None
        if isinstance(text, str):
            try:
                return parse_size(text)
            except ValueError as exc:
                raise DescriptionError(
                    f"{use.where}: property {name} is no size: {text!r}", artifact=use.filename
                ) from exc
    return None


def drain(reader: Reader) -> int:
    """Read everything for the verdict's sake; returns the number of bytes."""
    buffer = memoryview(bytearray(1024 * 1024))
    total = 0
    while n := reader.readinto(buffer):
        total += n
    return total
