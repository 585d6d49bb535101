"""Which members a description asks for, and how each is stored; for all boards, sets and modes at once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from swagent.errors import DescriptionError
from swagent.model import Compression

DEPTH_MAX = 64
JOINED = "joined"
"""The type of entries with several members."""

_HEX = re.compile(r"[0-9A-Fa-f]+\Z")


@dataclass(frozen=True)
class Entry:
    """A group with a ``filename``, and what it says of the member.

    Attributes:
        group: the group itself, part of the tree.
        where: how messages call it.
        cipher: "" for plain, ``aes-cbc`` or ``aes-cbc-128`` and so on.
        aes_key: the entry's own key, None for that of the key file.
        ivt: initialisation vector, None when the entry names none.
        sha256: of the member as stored, None when the entry has none, or none yet.
        streamed: whether it is installed directly.
        table_name: member that is its chunk table, "" for none.
        table_sha256: of the table, None when the entry has none, or none yet.
        parts: all members of a joined entry, of which this is one as it is stored; () when there is only this one.
    """

    group: dict[str, Any]
    where: str
    filename: str
    compression: Compression
    cipher: str
    aes_key: bytes | None
    ivt: bytes | None
    sha256: bytes | None
    streamed: bool
    table_name: str
    table_sha256: bytes | None
    parts: tuple[str, ...] = ()


def entries(tree: dict[str, Any]) -> Iterator[Entry]:
    """All entries with a member, in the order of the text, those behind ``ref`` included.

    Raises:
        DescriptionError: an attribute that says how the member is stored makes no sense.
    """
    for path, group in _groups(tree, ()):
        if "filename" in group:
            found = _entry(group, ".".join(path))
            yield from _joined(found) if group.get("type") == JOINED else (found,)


def _groups(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if len(path) > DEPTH_MAX:
        raise DescriptionError(f"the description is nested more than {DEPTH_MAX} deep")
    if isinstance(node, dict):
        yield path, node
        for name, value in node.items():
            # properties are the handler's own: a "filename" in there is no member
            if name != "properties":
                yield from _groups(value, (*path, str(name)))
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _groups(item, (*path, str(index)))


def _entry(group: dict[str, Any], where: str) -> Entry:
    filename = group["filename"]
    if not isinstance(filename, str) or not filename:
        raise DescriptionError(f"{where}: filename is {filename!r}, not a name")
    where = f"{where} ({filename})"
    return Entry(
        group=group,
        where=where,
        filename=filename,
        compression=_compression(group.get("compressed"), where, filename),
        cipher=_cipher(group.get("encrypted"), where, filename),
        aes_key=_hex(group, "aes-key", (16, 24, 32), where, filename),
        ivt=_hex(group, "ivt", (16,), where, filename),
        sha256=_sha256(group.get("sha256")),
        streamed=group.get("installed-directly") is True,
        table_name=_property(group, "chunk-table"),
        table_sha256=_sha256(_property(group, "chunk-table-sha256")),
    )


def _joined(entry: Entry) -> Iterator[Entry]:
    """One entry for each part: what is inside can only be seen when they are joined."""
    properties = entry.group.get("properties")
    values = properties if isinstance(properties, dict) else {}
    names, digests = (values.get(name) for name in ("parts", "parts-sha256"))
    names, digests = ((v,) if isinstance(v, str) else v for v in (names, digests))
    if (
        not isinstance(names, (list, tuple))
        or not isinstance(digests, (list, tuple))
        or len(names) != len(digests)
        or not all(isinstance(name, str) and name for name in names)
        or any(_sha256(digest) is None for digest in digests)
    ):
        raise DescriptionError(
            f"{entry.where}: parts and parts-sha256 are no lists of members and their digests",
            artifact=entry.filename,
        )
    for name, digest in zip(names, digests, strict=True):
        yield replace(
            entry,
            filename=name,
            compression=Compression.NONE,
            cipher="",
            sha256=_sha256(digest),
            parts=tuple(names),
        )


def _property(group: dict[str, Any], name: str) -> str:
    """A property with one value, "" if it is absent."""
    properties = group.get("properties")
    value = properties.get(name) if isinstance(properties, dict) else None
    return value if isinstance(value, str) else ""


def _compression(value: Any, where: str, filename: str) -> Compression:
    if value is None or value is False:
        return Compression.NONE
    if value is True:
        return Compression.ZLIB
    try:
        found = Compression(value)
    except ValueError:
        found = Compression.NONE
    if found is Compression.NONE:
        raise DescriptionError(
            f"{where}: compressed = {value!r} is none of zlib, xz, zstd", artifact=filename
        )
    return found


def _cipher(value: Any, where: str, filename: str) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "aes-cbc"
    if value in ("aes-cbc", "aes-cbc-128", "aes-cbc-192", "aes-cbc-256"):
        return str(value)
    raise DescriptionError(
        f"{where}: encrypted = {value!r} is not supported",
        artifact=filename,
        hint='write encrypted = "aes-cbc"',
    )


def _hex(
    group: dict[str, Any], name: str, lengths_bytes: tuple[int, ...], where: str, filename: str
) -> bytes | None:
    value = group.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and _HEX.match(value) and len(value) in [2 * n for n in lengths_bytes]:
        return bytes.fromhex(value)
    digits = " or ".join(str(2 * n) for n in lengths_bytes)
    raise DescriptionError(f"{where}: {name} is not {digits} hex digits", artifact=filename)


def _sha256(value: Any) -> bytes | None:
    """What is no digest yet (``@file``, ``$swupdate_get_sha256(file)``) is a place for one."""
    if isinstance(value, str) and len(value) == 64 and _HEX.match(value):
        return bytes.fromhex(value)
    return None
