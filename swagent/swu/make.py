"""Building an image from a description and the files it names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swagent.errors import DescriptionError, DeviceError, HashError, UsageError
from swagent.model import Compression

from .encrypt import bare_key, encrypt_description
from .entries import JOINED, Entry, entries
from .notation import dump, is_json
from .opened import DESCRIPTION, SIGNATURE
from .selfcheck import check
from .sign import SigningSpec, make_signature
from .staging import PART_BYTES, Sources, Staged, Staging
from .template import expand, fill_digests
from .writer import ArchiveWriter, Format

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey

TEMPLATE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Made:
    """A finished image.

    Attributes:
        path: where it is.
        size_bytes: of the whole.
        description: sw-description as it stands in the image, before encryption.
        members: in their order, the description and its signature apart.
        signed: whether there is a signature.
        encrypted_description: whether sw-description is.
        warnings: what is worth telling about the description although it is no error.
    """

    path: str
    size_bytes: int
    description: bytes
    members: tuple[Staged, ...]
    signed: bool
    encrypted_description: bool
    warnings: tuple[str, ...]


def make(
    description_path: str,
    *,
    output: str,
    search: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    signing: SigningSpec | None = None,
    encryption: "AesKey | None" = None,
    encrypted_description: bool = False,
    archive_format: Format = "crc",
    mtime_s: int = 0,
    chunk_tables: bool = False,
    part_bytes: int = PART_BYTES,
) -> Made:
    """Build an image. The same input gives the same bytes, but for signature schemes that need randomness.

    Every entry with a ``filename`` gets its ``sha256``, in all boards, sets and modes; ``compressed`` and ``encrypted``
    are done here unless the file is compressed already; of a zchunk file for ``delta`` the header is stored; ``size``
    is put right where the description has one. Comments and layout of the template are not kept.

    Args:
        description_path: the template, libconfig or JSON.
        output: the image; it is replaced whole or stays as it was.
        search: folders of the members, the first one first; the description's own folder comes last.
        variables: for ``@@NAME@@``.
        signing: how to sign; None leaves the image unsigned.
        encryption: key for entries that are ``encrypted``, and for the description.
        encrypted_description: encrypt sw-description too.
        archive_format: ``crc`` or ``newc``.
        mtime_s: time of all members, seconds since 1970.
        chunk_tables: give what is installed directly chunk tables; the property ``chunk-table``, which names one, does
            so for a single entry.
        part_bytes: what is longer as stored becomes several members, and its entry ``joined``.

    Raises:
        DescriptionError: the description makes no sense, or a file is missing.
        ArchiveError: a member cannot be called so, or is compressed and damaged.
        SizeError: a member is too large for the format.
        HashError: a file changed while the image was built.
        SettingsError: a key is missing or cannot be used.
        DeviceError: a file cannot be read or written.
    """
    if encrypted_description and encryption is None:
        raise UsageError("encrypting sw-description needs a key", hint="name the AES key file with -K")
    aes_key = bare_key(encryption) if encryption is not None else None
    folder = os.path.dirname(description_path) or "."
    sources = Sources([*search, folder])
    text = expand(_read(description_path), variables or {}, sources.size_bytes, where=description_path)
    json = is_json(text)
    tree = _parse(text, json=json, where=description_path)
    uses = _by_name(tree)
    if not encrypted_description:
        _refuse_bare_keys(uses)
    staging = Staging(
        sources, os.path.dirname(output) or ".", aes_key, tables=chunk_tables, part_bytes=part_bytes
    )
    try:
        members = tuple(staging.stage(group) for group in uses.values())
        for member in members:
            _fill(member, uses[member.name])
        digests = {name: digest for member in members for name, digest in member.digests.items()}
        tree = _fill_functions(tree, digests, sources)
        description = dump(tree, json=json)
        warnings = check(description, digests)
        signature = make_signature(description, signing) if signing is not None else None
        stored = description
        if encrypted_description and encryption is not None:
            stored = encrypt_description(description, encryption)
        size_bytes = _write(output, stored, signature, members, staging, archive_format, mtime_s)
    finally:
        staging.close()
    return Made(
        path=output,
        size_bytes=size_bytes,
        description=description,
        members=members,
        signed=signing is not None,
        encrypted_description=encrypted_description,
        warnings=warnings,
    )


def _read(path: str) -> str:
    from swagent.parser.text import decode

    try:
        with open(path, "rb") as file:
            raw = file.read(TEMPLATE_BYTES_MAX + 1)
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if len(raw) > TEMPLATE_BYTES_MAX:
        raise DescriptionError(f"{path} is longer than {TEMPLATE_BYTES_MAX} bytes")
    return decode(raw, where=path)


def _parse(text: str, *, json: bool, where: str) -> dict[str, Any]:
    if json:
        from swagent.parser.jsonlang import read
    else:
        from swagent.parser.libconfig import read
    return read(text.encode(), where=where)


def _by_name(tree: dict[str, Any]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries(tree):
        if entry.filename in (DESCRIPTION, SIGNATURE):
            raise DescriptionError(
                f"{entry.where}: a member of this name is made here", artifact=entry.filename
            )
        if entry.parts:
            raise DescriptionError(
                f"{entry.where}: name the whole file and its own handler; it is split here",
                artifact=entry.filename,
            )
        found.setdefault(entry.filename, []).append(entry)
    return found


def _refuse_bare_keys(uses: dict[str, list[Entry]]) -> None:
    for group in uses.values():
        for entry in group:
            if entry.aes_key is not None:
                raise DescriptionError(
                    f"{entry.where}: aes-key would stand readable in the image",
                    artifact=entry.filename,
                    hint="encrypt the description too (--encrypt-description), or use the key file's key",
                )


def _fill(member: Staged, uses: list[Entry]) -> None:
    """Write into the entries what is known of the member now."""
    for entry in uses:
        group = entry.group
        group["sha256"] = member.sha256.hex()
        if "size" in group:
            group["size"] = member.stored_bytes
        if entry.compression is not Compression.NONE:
            _set_property(entry, "decompressed-size", str(member.plain_bytes))
        if member.ivt is not None:
            group["ivt"] = member.ivt.hex()
            _set_property(entry, "decrypted-size", str(member.packed_bytes))
        if member.table_name:
            from hashlib import sha256

            _set_property(entry, "chunk-table", member.table_name)
            _set_property(entry, "chunk-table-sha256", sha256(member.table).hexdigest())
        if member.parts:
            _join(entry, member)


def _join(entry: Entry, member: Staged) -> None:
    """Make of an entry one of several members; its handler becomes the one that the whole is passed on to."""
    group, first = entry.group, member.parts[0]
    if not isinstance(group.get("type"), str):
        raise DescriptionError(
            f"{entry.where}: it is split into parts, and has no type to pass them on to", artifact=member.name
        )
    _set_property(entry, "chain", group["type"])
    _set_property(entry, "parts", [part.name for part in member.parts])
    _set_property(entry, "parts-sha256", [part.sha256.hex() for part in member.parts])
    _set_property(entry, "parts-size", [str(part.size_bytes) for part in member.parts])
    group["type"] = JOINED
    group["filename"] = first.name
    group["sha256"] = first.sha256.hex()
    if "size" in group:
        group["size"] = first.size_bytes


def _set_property(entry: Entry, name: str, value: str | list[str]) -> None:
    properties = entry.group.setdefault("properties", {})
    if not isinstance(properties, dict):
        raise DescriptionError(f"{entry.where}: properties is not a group", artifact=entry.filename)
    properties[name] = value


def _fill_functions(node: Any, digests: Mapping[str, str], sources: Sources) -> Any:
    """The tree with ``$swupdate_get_sha256(file)`` filled in: of the member as stored, else of the file."""

    def sha256_of(name: str) -> str:
        if name in digests:
            return digests[name]
        from hashlib import file_digest

        path = sources.find(name)
        try:
            with open(path, "rb") as file:
                return file_digest(file, "sha256").hexdigest()
        except OSError as exc:
            raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(filled(item) for item in value)
        return fill_digests(value, sha256_of) if isinstance(value, str) else value

    return filled(node)


def _write(
    output: str,
    description: bytes,
    signature: bytes | None,
    members: Sequence[Staged],
    staging: Staging,
    archive_format: Format,
    mtime_s: int,
) -> int:
    from swagent.store.atomic import open_replacement

    with open_replacement(output) as file:
        writer = ArchiveWriter(file, archive_format, mtime_s=mtime_s)
        writer.add_bytes(DESCRIPTION, description)
        if signature is not None:
            writer.add_bytes(SIGNATURE, signature)
        for member in members:
            if member.table_name:
                writer.add_bytes(member.table_name, member.table)  # a stream must bring it first
            if not staging.write(member, writer):
                raise HashError(
                    f"{member.path} changed while the image was built",
                    artifact=member.name,
                    hint="build again when nobody writes it",
                )
        writer.finish()
        return file.tell()
